"""FocusNet++: residual group attention (Kaul, Pears and Murray-Smith, ISBI 2021).

An encoder and decoder of residual group attention blocks (Fig. 2 of the paper): the channels of a
block are split into four groups, two of which compute a spatial attention for their right neighbour.
Section numbers in the comments are those of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.attention import mark_attention
from napari_lumen.models.padding import pad_to_multiple

_SLOPE = 0.3  # LeakyReLU of Keras, in which the authors' release is written
_STRIDES = (1, 2, 4, 8)  # of encoder stages 1 to 4
_STRIDE = 16  # four poolings: inputs are padded to a multiple of this

PRESETS: dict[str, dict[str, Sequence[int] | int]] = {
    # widths of the release, the only ones that give the 7.80 million weights of Table 2
    "table": {"stem": 32, "encoder": (48, 96, 156, 256), "bottleneck": 512, "heads": (128, 64, 32, 16)},
    # widths as the text states them
    "text": {"stem": 32, "encoder": (32, 64, 128, 192), "bottleneck": 256, "heads": (128, 64, 32, 16)},
    # section 3.2: the slim network for nuclei, 1.84 million weights in Table 3
    "light": {"stem": 16, "encoder": (24, 48, 76, 128), "bottleneck": 240, "heads": (64, 32, 16, 8)},
}
_BLOCKS = (1, 3, 3, 3)  # residual blocks in encoder stages 1 to 4
_BOTTLENECK_BLOCKS = 2


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)  # Keras default


def _conv(inputs: int, outputs: int, size: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


def _pre_activated(channels: int) -> list[nn.Module]:
    """Two times batch normalisation, LeakyReLU and a 3x3 convolution: delta in the paper's equations."""
    return [
        layer
        for _ in range(2)
        for layer in (_norm(channels), nn.LeakyReLU(_SLOPE, inplace=True), _conv(channels, channels, 3))
    ]


def _enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0)


class SqueezeExcitation(nn.Module):
    """Channel gate: global average, two bias-free layers with a bottleneck of 1/16, sigmoid.

    Input (N, C, h, w); output (N, C), the gate of each channel in (0, 1).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 16)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the gate of each channel, (N, C, h, w) to (N, C)."""
        gate: Tensor = self.gate(x.mean(dim=(2, 3)))
        return gate


class ResidualGroupAttention(nn.Module):
    """Residual group attention block (section 2.1, Fig. 2).

    With the input embedded by a 1x1 convolution and split into groups g0..g3 of d = inputs / 4 channels:
    A_r = sigmoid(W_a delta(g_r)) for r = 0, 2; O_s = g_s + F(g_s) for s = 1, 3; the block joins
    A_0 * O_1 and A_2 * O_3, embeds them, gates the channels and adds its shortcut.

    Input (N, inputs, h, w); output (N, outputs, h, w), or (N, outputs, 2h, 2w) with `enlarge`, which repeats
    the values of the input first. `inputs` must be divisible by 4; `stride` is that of the recorded maps.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, enlarge: bool = False) -> None:
        super().__init__()
        if inputs % 4:
            raise ValueError(f"inputs must be divisible by 4, not {inputs}")
        self.enlarge = enlarge
        width = inputs // 4
        self.embed = _conv(inputs, inputs)
        self.att0 = self._attention(width, "first group attends to the second", stride)
        self.att2 = self._attention(width, "third group attends to the fourth", stride)
        self.residual1 = nn.Sequential(*_pre_activated(width))
        self.residual3 = nn.Sequential(*_pre_activated(width))
        self.expand1 = self._expand(width)
        self.expand3 = self._expand(width)
        self.project = nn.Sequential(_conv(inputs, outputs), _norm(outputs))
        self.se = mark_attention(
            SqueezeExcitation(outputs), "channel", "Squeeze-and-excitation gate of each channel."
        )
        self.shortcut = (
            nn.Identity() if inputs == outputs else nn.Sequential(_conv(inputs, outputs), _norm(outputs))
        )

    @staticmethod
    def _attention(width: int, what: str, stride: int) -> nn.Sequential:
        branch = nn.Sequential(*_pre_activated(width), _conv(width, width), nn.Sigmoid())
        return mark_attention(
            branch, "spatial", f"Group attention, mean over channels: the {what}.", stride=stride
        )

    @staticmethod
    def _expand(width: int) -> nn.Sequential:
        return nn.Sequential(_conv(width, 2 * width), _norm(2 * width), nn.LeakyReLU(_SLOPE, inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Join the two attended groups with the shortcut; (N, inputs, h, w) to (N, outputs, h, w)."""
        # a 1x1 convolution commutes with repeating, so it comes first, on a quarter of the positions
        g0, g1, g2, g3 = (self._apart(group) for group in self.embed(x).chunk(4, dim=1))
        o1 = self.residual1(g1).add_(g1)
        o3 = self.residual3(g3).add_(g3)
        joined = torch.cat([self.expand1(self.att0(g0) * o1), self.expand3(self.att2(g2) * o3)], dim=1)
        y: Tensor = self.project(joined)
        gated = torch.addcmul(self._shortcut(x), y, self.se(y)[:, :, None, None])
        return F.leaky_relu(gated, _SLOPE, inplace=True)

    def _apart(self, group: Tensor) -> Tensor:
        """Return a group in memory of its own: a slice of channels is slow to read in channels-last."""
        return _enlarged(group) if self.enlarge else group.clone()

    def _shortcut(self, x: Tensor) -> Tensor:
        if not self.enlarge:
            direct: Tensor = self.shortcut(x)
            return direct
        if isinstance(self.shortcut, nn.Identity):
            return _enlarged(x)
        convolution, norm = self.shortcut
        enlarged: Tensor = norm(_enlarged(convolution(x)))
        return enlarged


class ScaleHead(nn.Module):
    """Probability map of one decoder scale: 1x1 convolution, norm, LeakyReLU, 1x1 to one channel, sigmoid."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _conv(inputs, hidden),
            _norm(hidden),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _conv(hidden, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the probability of this scale, (N, 1, h, w) in (0, 1)."""
        probability: Tensor = self.layers(x)
        return probability


class FocusNetPP(nn.Module):
    """FocusNet++ for binary segmentation.

    Parameters
    ----------
    preset : {"table", "text", "light"}
        Widths: of the release (7.78 million weights, Table 2), of the text, or slim (1.83 million, Table 3).
    dropout : float
        Dropout after the bottleneck (section 2.1).
    norm_momentum : float
        Share of each batch in the norms' running statistics, in (0, 1]. At Keras's 0.01 these lag a hundred
        steps behind the weights: a training of a few hundred steps needs more.

    Notes
    -----
    Input (N, 3, H, W) in [0, 1], any H and W: padded to multiples of 16 by reflection and cropped back.
    Output (N, 1, H, W) logits; the paper's probability is their sigmoid. Training needs more than one value
    per channel at the bottleneck: two images, or one of more than 16 px.
    Recorded: ``<stage>.<block>.att0`` and ``.att2`` group attention, ``<stage>.<block>.se`` channel
    gates, ``scale4`` (coarsest) to ``scale1`` the probability of each decoder scale, at that scale: what the
    paper shows are these values enlarged to the input by repeating them.
    """

    task: ClassVar[str] = "segmentation"
    view_count = 1

    def __init__(self, preset: str = "table", dropout: float = 0.5, norm_momentum: float = 0.01) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}")
        if not 0 < norm_momentum <= 1:
            raise ValueError(f"norm_momentum must be above 0 and at most 1, not {norm_momentum}")
        widths = PRESETS[preset]
        stem, bottleneck = int(widths["stem"]), int(widths["bottleneck"])  # type: ignore[arg-type]
        encoder, heads = tuple(widths["encoder"]), tuple(widths["heads"])  # type: ignore[arg-type]
        self.stem = _conv(3, stem, 5)
        self.e1, self.e2, self.e3, self.e4 = (
            self._stage(inputs, outputs, blocks, stride)
            for inputs, outputs, blocks, stride in zip(
                (stem, *encoder[:3]), encoder, _BLOCKS, _STRIDES, strict=True
            )
        )
        self.bottleneck = self._stage(encoder[3], bottleneck, _BOTTLENECK_BLOCKS, _STRIDE)
        self.dropout = nn.Dropout(dropout)
        down = (bottleneck, *encoder[::-1])
        self.d4, self.d3, self.d2, self.d1 = (
            nn.Sequential(ResidualGroupAttention(inputs, outputs, stride, enlarge=True))
            for (inputs, outputs), stride in zip(pairwise(down), _STRIDES[::-1], strict=True)
        )
        self.join4, self.join3, self.join2, self.join1 = (_conv(width, width, 3) for width in encoder[::-1])
        self.scale4, self.scale3, self.scale2, self.scale1 = (
            mark_attention(
                ScaleHead(width, hidden), "spatial", f"Probability seen at scale 1/{stride}.", stride=stride
            )
            for width, hidden, stride in zip(encoder[::-1], heads, _STRIDES[::-1], strict=True)
        )
        self.fuse = nn.Sequential(_conv(4, 32), _norm(32), nn.LeakyReLU(_SLOPE, inplace=True), _conv(32, 1))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = norm_momentum
        self._initialise()

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            *(ResidualGroupAttention(inputs if i == 0 else outputs, outputs, stride) for i in range(blocks))
        )

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        heads = (self.scale4, self.scale3, self.scale2, self.scale1, self.fuse)
        for module in (m for head in heads for m in head.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 1, H, W) of images (N, 3, H, W) in [0, 1]."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, _STRIDE)
        size = x.shape[-2:]
        e1 = self.e1(self.stem(x))
        e2 = self.e2(F.max_pool2d(e1, 2))
        e3 = self.e3(F.max_pool2d(e2, 2))
        e4 = self.e4(F.max_pool2d(e3, 2))
        y = self.dropout(self.bottleneck(F.max_pool2d(e4, 2)))
        scales = []
        for stage, skip, join, head in (
            (self.d4, e4, self.join4, self.scale4),
            (self.d3, e3, self.join3, self.scale3),
            (self.d2, e2, self.join2, self.scale2),
            (self.d1, e1, self.join1, self.scale1),
        ):
            y = F.relu(join(stage(y) + skip), inplace=True)
            # the head comes before the upsampling: the same for nearest and 1x1, and cheaper
            scales.append(F.interpolate(head(y), size=size))
        logits: Tensor = self.fuse(torch.cat(scales, dim=1))
        return logits[..., :height, :width]
