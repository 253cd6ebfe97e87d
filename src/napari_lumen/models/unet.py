"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015), padded so that output and input have one size.

The slide network of the multi-stage model, and the baseline of every paper's table.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.arguments import check_counts
from napari_lumen.models.initial_weights import draw_convolutions
from napari_lumen.models.padding import pad_to_multiple

_MOST_LEVELS = 12  # no slide's map is larger than 2**12 cells


def _stage(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    """Two times a 3x3 convolution, batch normalisation where wanted, and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """U-Net with same-padded convolutions (Fig. 1 of the paper).

    Parameters
    ----------
    inputs : int
        Channels of the input: 3 of an image, or the features of a slide map.
    classes : int
        Channels of the output: 1 for a sigmoid, or the background and each class for a softmax.
    width : int
        Channels of the first level; each level below has twice as many.
    norm : bool
        Batch normalisation after each 3x3 convolution, which then has no bias. The paper had none.
    levels : int
        Poolings, four in the paper; 12 at most.
    padding : {"reflect", "zero"}
        What is put below and to the right of an input whose sides are no multiples of ``2**levels``:
        its reflection, for images, or zeros, for slide maps, in which zero means empty.

    Notes
    -----
    Input (N, inputs, H, W), any H and W; output (N, classes, H, W) logits.
    With `norm`, training needs more than one value per channel at the bottleneck: two images, or one with
    a side above ``2**levels``. There are no attention maps. Can be exported for fixed H and W.
    """

    task: ClassVar[str] = "segmentation"
    view_count = 1

    def __init__(
        self,
        *,
        inputs: int = 3,
        classes: int = 1,
        width: int = 64,
        norm: bool = True,
        levels: int = 4,
        padding: str = "reflect",
    ) -> None:
        super().__init__()
        check_counts(inputs=inputs, classes=classes, width=width)
        check_counts(most=_MOST_LEVELS, levels=levels)
        if not isinstance(norm, bool):
            raise ValueError(f"norm must be true or false, not {norm!r}")
        if padding not in ("reflect", "zero"):
            raise ValueError(f"padding must be reflect or zero, not {padding!r}")
        self.in_channels = inputs
        self._multiple = 2**levels
        self._padding = padding
        self._normalises = norm
        widths = [width * 2**level for level in range(levels + 1)]
        self.encoder = nn.ModuleList(_stage(a, b, norm) for a, b in pairwise((inputs, *widths[:-1])))
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = _stage(widths[-2], widths[-1], norm)
        upwards = widths[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairwise(upwards))
        self.decoder = nn.ModuleList(_stage(a, b, norm) for a, b in pairwise(upwards))
        self.head = nn.Conv2d(width, classes, 1)
        draw_convolutions(self)  # section 3 of the paper: deviation sqrt(2 / N) for N weights into a unit

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of (N, inputs, H, W)."""
        height, width = x.shape[-2:]
        x = self._padded(x)
        if self.training and self._normalises and x.numel() == x.shape[1] * self._multiple**2:
            raise ValueError(
                "in training, batch normalisation needs more than one value a channel at the bottleneck: "
                f"give two inputs, or one with a side above {self._multiple}, not one of {height} x {width}"
            )
        skips = []
        for stage in self.encoder:
            skips.append(stage(x))
            x = self.pool(skips[-1])
        x = self.bottleneck(x)
        for up, stage in zip(self.up, self.decoder, strict=True):
            x = stage(torch.cat([skips.pop(), up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]

    def _padded(self, x: Tensor) -> Tensor:
        if self._padding == "reflect":
            return pad_to_multiple(x, self._multiple)
        return F.pad(x, (0, -x.shape[-1] % self._multiple, 0, -x.shape[-2] % self._multiple))
