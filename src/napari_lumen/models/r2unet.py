"""R2U-Net (Alom, Hasan, Yakopcic, Taha and Asari, 2018): a U-Net of recurrent residual convolutions.

Equation and figure numbers are those of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.arguments import check_counts
from napari_lumen.models.initial_weights import draw_convolutions
from napari_lumen.models.padding import pad_to_multiple

_MOST_STEPS = 16  # the paper has 2 and 3


def _conv(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, bias=False)


class RecurrentConvolution(nn.Module):
    """Recurrent convolutional layer (Eqs. 1 and 2): O(t) = w_f * x + w_r * relu(O(t - 1)) + b.

    The first step has no state yet: a plain convolution, followed by `steps` recurrent ones that share
    their weights. Each step has a batch normalisation of its own, whose shift is b, because the
    statistics of O change from step to step; the paper names no normalisation.

    Input and output (N, channels, h, w).
    """

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.feed_forward = _conv(channels)
        self.recurrent = _conv(channels)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(steps + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the state of the last step, (N, channels, h, w) to the same."""
        driven = self.feed_forward(x)  # the input is the same at each step, so it is convolved once
        first, *later = self.norms
        state: Tensor = F.relu(first(driven), inplace=True)
        for norm in later:
            state = F.relu(norm(self.recurrent(state).add_(driven)), inplace=True)
        return state


class RecurrentResidualUnit(nn.Module):
    """Recurrent residual convolutional unit (Eq. 3, Fig. 4d): x + F(x), F two recurrent layers.

    A 1x1 convolution embeds the input first, for the shortcut needs as many channels as the output.

    Input (N, inputs, h, w); output (N, outputs, h, w).
    """

    def __init__(self, inputs: int, outputs: int, steps: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(inputs, outputs, 1)
        self.residual = nn.Sequential(
            RecurrentConvolution(outputs, steps), RecurrentConvolution(outputs, steps)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h, w)."""
        x = self.embed(x)
        out: Tensor = x + self.residual(x)
        return out


class R2UNet(nn.Module):
    """R2U-Net (Fig. 2 of the paper, with the units of Fig. 4d).

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    classes : int
        Channels of the output: 1 for a sigmoid, or the background and each class for a softmax.
    widths : sequence of int
        Channels of each level, finest first. By default those of the other networks of FocusNet++'s
        Table 2, which prints no size of this one.
    steps : int
        Recurrent steps of each layer: t of the paper, 2 or 3.

    Notes
    -----
    Input (N, in_channels, H, W), any H and W: padded to multiples of 2 for each level below the first and
    cropped back. Output (N, classes, H, W) logits. Training needs more than one value per channel at the
    deepest level. There are no attention maps. Can be exported for a fixed size.
    """

    task: ClassVar[str] = "segmentation"
    view_count: ClassVar[int] = 1

    def __init__(
        self,
        *,
        in_channels: int = 3,
        classes: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        steps: int = 2,
    ) -> None:
        super().__init__()
        check_counts(in_channels=in_channels, classes=classes)
        check_counts(most=_MOST_STEPS, steps=steps)
        self.in_channels = in_channels
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths must be two or more numbers of 1 or more, not {tuple(widths)}")
        self._multiple = 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList(
            RecurrentResidualUnit(a, b, steps) for a, b in pairwise((in_channels, *widths))
        )
        self.pool = nn.MaxPool2d(2)
        upwards = widths[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairwise(upwards))
        self.decoder = nn.ModuleList(RecurrentResidualUnit(2 * b, b, steps) for b in upwards[1:])
        self.head = nn.Conv2d(widths[0], classes, 1)
        draw_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of (N, in_channels, H, W)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self._multiple)
        finest, *deeper = self.encoder
        levels = [finest(x)]
        for unit in deeper:
            levels.append(unit(self.pool(levels[-1])))
        x = levels.pop()
        for up, unit in zip(self.up, self.decoder, strict=True):
            x = unit(torch.cat([levels.pop(), up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]
