"""Blocks of the decoder of DA-RefineNet (Li et al.): RCU and CRP of RefineNet, SRB, gate and concat fusion.

None of them normalises. Section, equation and figure numbers are those of the DA-RefineNet paper.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(inputs: int, outputs: int, size: int = 1, *, bias: bool = False, branch: bool = False) -> nn.Conv2d:
    """Return a convolution that keeps the size of its input; without bias, as nearly all of the decoder.

    Nothing in the decoder normalises, and its main path is linear: weights are drawn to keep the variance,
    or the encoder of the context would get a gradient 10,000 times weaker than in a classifier. Those of a
    residual `branch` stay as PyTorch draws them, weaker, so that sums do not grow.
    """
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)
    if not branch:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return layer


def to_grid_of(fine: Tensor, x: Tensor) -> Tensor:
    """Resize (N, C, h', w') bilinearly, corners aligned, to the height and width of (N, C, h, w) `fine`."""
    if x.shape[-2:] == fine.shape[-2:]:
        return x
    return F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=True)


class ResidualConvUnit(nn.Module):
    """RCU (section II): x + conv3(relu(conv3(relu(x)))), a residual block without normalisation.

    Input and output (N, width, h, w). The first convolution has a bias, the second none.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv(width, width, 3, bias=True, branch=True)
        self.conv2 = conv(width, width, 3, branch=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and its residual, (N, width, h, w)."""
        residual: Tensor = self.conv2(F.relu(self.conv1(F.relu(x)), inplace=True))
        return residual.add_(x)


class ChainedResidualPooling(nn.Module):
    """CRP (section II): a chain of 5x5 max poolings of stride 1, each with a 1x1 convolution, all summed.

    Input and output (N, width, h, w). RefineNet has 3x3 convolutions here; 1x1 give the published sizes.
    On a CPU the poolings are some ten times faster in channels-last memory.
    """

    def __init__(self, width: int, stages: int = 4) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(width, width, branch=True) for _ in range(stages))

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and what every stage pooled, (N, width, h, w)."""
        pooled = x
        for layer in self.convs:
            pooled = layer(F.max_pool2d(pooled, 5, stride=1, padding=2))
            x = x + pooled
        return x


class SimpleResidualBlock(nn.Module):
    """SRB (section III.C, Fig. 7): 1x1 to `hidden`, a residual pair of 3x3 convolutions, 1x1 to `outputs`.

    Input (N, inputs, h, w); output (N, outputs, h, w). The paper removes batch normalisation and ReLU;
    the ReLU between the pair is kept, as in the release, since the block would be linear without it.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.reduce = conv(inputs, hidden)
        self.conv1 = conv(hidden, hidden, 3, branch=True)
        self.conv2 = conv(hidden, hidden, 3, branch=True)
        self.expand = conv(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h, w)."""
        x = self.reduce(x)
        y: Tensor = self.expand(self.conv2(F.relu(self.conv1(x), inplace=True)).add_(x))
        return y


class ChannelGate(nn.Module):
    """Gate of the attention fusion (equations 10 and 11): w = sigmoid(GAP(conv1x1(concat(X_A, X_B, X)))).

    Parameters
    ----------
    features : int
        How many feature maps are joined.
    width : int
        Channels of each of them and of the gate.
    hidden : bool
        A second layer behind a ReLU, which the release has and the paper has not.

    Notes
    -----
    A 1x1 convolution without bias commutes with the average over all positions. The average comes first,
    so the convolution is a matrix product on one vector per image, and the maps may differ in size.
    """

    def __init__(self, features: int, width: int, *, hidden: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(features * width, width, bias=False)]
        if hidden:
            layers += [nn.ReLU(inplace=True), nn.Linear(width, width, bias=False)]
        self.layers = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, scaled: Tensor, *others: Tensor) -> Tensor:
        """Return the gate (N, width) in (0, 1) of the map that it scales, X_A, seen beside the others."""
        pooled = [F.adaptive_avg_pool2d(x, 1).flatten(1) for x in (scaled, *others)]
        gate: Tensor = self.layers(torch.cat(pooled, dim=1))
        return gate


class ConcatFusion(nn.Module):
    """Concat fusion (Fig. 5, scheme 1): Y = relu(conv1x1(concat(X_A, X_B, X))).

    Parameters
    ----------
    features : int
        How many feature maps are joined.
    width : int
        Channels of each of them and of the output.

    Notes
    -----
    The 1x1 convolution of a concatenation is the sum of those of its parts, and it commutes with bilinear
    resizing: each part is projected on its own grid, the coarser ones before they are enlarged.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.project = conv(features * width, width)

    def forward(self, fine: Tensor, *others: Tensor) -> Tensor:
        """Return (N, width, h, w) on the grid of the first map."""
        first, *rest = self.project.weight.chunk(1 + len(others), dim=1)
        y = F.conv2d(fine, first)
        for x, weight in zip(others, rest, strict=True):
            y = y + to_grid_of(y, F.conv2d(x, weight))
        return F.relu(y, inplace=True)
