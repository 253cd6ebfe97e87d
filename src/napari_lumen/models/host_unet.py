"""The host of NAS-SCAM and its rivals: a U-Net with a place for attention after each of its eight blocks.

Section 3.2 of the NAS-SCAM paper; widths, norms and kernel sizes are those of the authors' release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.arguments import check_counts
from napari_lumen.models.genotype import POSITIONS
from napari_lumen.models.padding import pad_to_multiple

_STRIDE = 16  # four poolings: inputs are padded to a multiple of this
_GROUPS = 4
_DOWN, _UP = POSITIONS[:4], POSITIONS[4:]
_STRIDES = (2, 4, 8, 16, 8, 4, 2, 1)  # at each position: after the pooling, after the enlargement


class DoubleConv(nn.Sequential):
    """Twice a 3x3 convolution, group normalisation and ReLU, with dropout between the two.

    Input (N, inputs, h, w); output (N, outputs, h, w), not negative.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.GroupNorm(_GROUPS, outputs),
            nn.ReLU(inplace=True),
            nn.Dropout(0.2),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.GroupNorm(_GROUPS, outputs),
            nn.ReLU(inplace=True),
        )


class UpBlock(nn.Module):
    """Transposed convolution to twice the size and half the channels, joined with the skip, `DoubleConv`."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs // 2, 4, stride=2, padding=1)
        self.conv = DoubleConv(inputs, inputs // 2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Join (N, C, h, w) with the skip (N, C / 2, 2h, 2w); returns the shape of the skip."""
        y: Tensor = self.conv(torch.cat([skip, self.up(x)], dim=1))
        return y


class HostUNet(nn.Module):
    """U-Net of four down-sampling and four up-sampling blocks, with attention after each if given.

    Parameters
    ----------
    classes : int
        Output channels; each class has its own sigmoid, and the background none.
    width : int
        Channels of the stem, a multiple of 4; doubled by each down-sampling block.
    attention : callable, optional
        Makes the attention module of a position, one of `POSITIONS`, for its number of channels and its
        stride, input pixels per position; the module becomes the attribute of that name.

    Notes
    -----
    Input (N, 3, H, W) in [0, 1], any H and W: padded to multiples of 16 by reflection and cropped back.
    Output (N, classes, H, W) logits. The features that attention sees, after pooling and after ReLU, are
    never negative. The skips are the stem's output and the first three down-sampled features after
    their attention.
    """

    task: ClassVar[str] = "segmentation"
    view_count: ClassVar[int] = 1
    stride: ClassVar[int] = _STRIDE

    def __init__(
        self, classes: int, width: int, attention: Callable[[str, int, int], nn.Module] | None = None
    ) -> None:
        super().__init__()
        check_counts(classes=classes, width=width)
        if width % _GROUPS:
            raise ValueError(f"width must be a positive multiple of {_GROUPS}, not {width}")
        down = [width * 2**level for level in (1, 2, 3, 4)]
        self.stem = DoubleConv(3, width)
        self.down1, self.down2, self.down3, self.down4 = (
            DoubleConv(outputs // 2, outputs) for outputs in down
        )
        self.middle = DoubleConv(down[-1], down[-1])
        self.up1, self.up2, self.up3, self.up4 = (UpBlock(inputs) for inputs in reversed(down))
        self.head = nn.Conv2d(width, classes, 1)
        if attention is not None:
            channels = (*down, *(inputs // 2 for inputs in reversed(down)))
            for position, count, stride in zip(POSITIONS, channels, _STRIDES, strict=True):
                self.add_module(position, attention(position, count, stride))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of images (N, 3, H, W) in [0, 1]."""
        return self._segment(x, self._attend)

    def _attend(self, position: str, features: Tensor) -> Tensor:
        module = self._modules.get(position)
        return features if module is None else module(features)

    def _segment(self, x: Tensor, attend: Callable[[str, Tensor], Tensor]) -> Tensor:
        height, width = x.shape[-2:]
        x = self.stem(pad_to_multiple(x, _STRIDE))
        skips = []
        for position, block in zip(_DOWN, (self.down1, self.down2, self.down3, self.down4), strict=True):
            skips.append(x)
            x = attend(position, F.max_pool2d(block(x), 2))
        x = self.middle(x)
        for position, up in zip(_UP, (self.up1, self.up2, self.up3, self.up4), strict=True):
            x = attend(position, up(x, skips.pop()))
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]
