"""DeepLabV3+: atrous pyramid pooling and a small decoder (Chen, Zhu, Papandreou, Schroff, Adam, ECCV 2018).

Section and table numbers are those of "Encoder-Decoder with Atrous Separable Convolution for Semantic
Image Segmentation".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.arguments import check_counts
from napari_lumen.models.padding import pad_to_multiple
from napari_lumen.models.resnet import ResNet

_WIDTH = 256  # channels of every branch of the pyramid and of the decoder
_LOW_LEVEL = 48  # channels to which the fine features are reduced (Table 1)
_RATES = (6, 12, 18)  # at output stride 16


def _conv_norm_relu(
    inputs: int, outputs: int, size: int = 1, *, dilation: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = dilation * (size // 2)
    return [
        nn.Conv2d(inputs, outputs, size, padding=padding, dilation=dilation, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def _conv3(inputs: int, *, dilation: int = 1, separable: bool) -> nn.Sequential:
    """Return a 3x3 convolution to 256 channels, atrous and depthwise separable (section 3.1) if wanted."""
    if not separable:
        return nn.Sequential(*_conv_norm_relu(inputs, _WIDTH, 3, dilation=dilation))
    return nn.Sequential(
        *_conv_norm_relu(inputs, inputs, 3, dilation=dilation, groups=inputs),
        *_conv_norm_relu(inputs, _WIDTH),
    )


class AtrousSpatialPyramidPooling(nn.Module):
    """ASPP: a 1x1 and three atrous 3x3 convolutions beside the mean of the image, joined by a 1x1.

    Input (N, inputs, h, w); output (N, 256, h, w).
    """

    def __init__(self, inputs: int, rates: Sequence[int], *, separable: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*_conv_norm_relu(inputs, _WIDTH)),
                *(_conv3(inputs, dilation=rate, separable=separable) for rate in rates),
            ]
        )
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv_norm_relu(inputs, _WIDTH))
        self.project = nn.Conv2d(_WIDTH * (len(rates) + 2), _WIDTH, 1, bias=False)
        self.norm = nn.BatchNorm2d(_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return what each rate and the whole image say of every position, (N, 256, h, w)."""
        local = torch.cat([branch(x) for branch in self.branches], dim=1)
        weight = self.project.weight
        # the image's mean is the same everywhere, so it is projected once rather than enlarged and joined
        y = F.conv2d(local, weight[:, :-_WIDTH]) + F.conv2d(self.image(x), weight[:, -_WIDTH:])
        return F.relu(self.norm(y), inplace=True)


class DeepLabV3Plus(nn.Module):
    """DeepLabV3+ with a ResNet encoder.

    Parameters
    ----------
    depth : {18, 34, 50, 101, 152}
        Layers of the encoder; the paper's ResNet rows have 101.
    classes : int
    output_stride : {16, 8, 32}
        Of the encoder; the rates of the pyramid are 6, 12, 18 at 16, and grow as the stride shrinks.
    pretrained : str, path or None
        Weights of the encoder, file or URL, see `load_pretrained`.
    separable : bool
        Depthwise separable 3x3 convolutions in pyramid and decoder, the paper's last and best form
        (Table 5); False is that of its ResNet-101 rows (Tables 1 to 4).
    dropout : float
        After the pyramid, as in the authors' release; the paper does not mention it.

    Notes
    -----
    Input (N, 3, H, W), normalised by ImageNet's mean and deviation when pretrained there; any H and W,
    padded to multiples of the output stride by reflection and cropped back. Output (N, classes, H, W)
    logits. The mean of the image is normalised over the batch, so training needs two images or more.
    It has no attention to record.
    """

    task: ClassVar[str] = "segmentation"
    view_count: ClassVar[int] = 1

    def __init__(
        self,
        depth: int = 50,
        *,
        classes: int = 4,
        output_stride: int = 16,
        pretrained: str | Path | None = None,
        separable: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_counts(classes=classes)
        self.output_stride = output_stride
        self.encoder = ResNet(depth, pretrained=pretrained, output_stride=output_stride)
        rates = [rate * 16 // output_stride for rate in _RATES]
        self.pyramid = AtrousSpatialPyramidPooling(self.encoder.widths[3], rates, separable=separable)
        self.dropout = nn.Dropout(dropout)
        self.low_level = nn.Sequential(*_conv_norm_relu(self.encoder.widths[0], _LOW_LEVEL))
        self.decode = nn.Sequential(
            _conv3(_WIDTH + _LOW_LEVEL, separable=separable), _conv3(_WIDTH, separable=separable)
        )
        self.classify = nn.Conv2d(_WIDTH, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of images (N, 3, H, W)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.output_stride)
        fine, _, _, deep = self.encoder.levels(x)
        context = _enlarge(self.dropout(self.pyramid(deep)), self.output_stride // 4)
        logits: Tensor = self.classify(self.decode(torch.cat([context, self.low_level(fine)], dim=1)))
        return _enlarge(logits, 4)[..., :height, :width]


def _enlarge(x: Tensor, factor: int) -> Tensor:
    # corners not aligned: with a whole factor a position does not depend on the size of the tile
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
