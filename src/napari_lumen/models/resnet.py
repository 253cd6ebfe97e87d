"""ResNet (He et al., CVPR 2016) of 18 to 152 layers, with the state-dict names of torchvision.

The encoder of DA-RefineNet, of gated attention and of DeepLabV3+, and a classifier of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.arguments import check_counts
from napari_lumen.models.initial_weights import draw_convolutions
from napari_lumen.models.pretrained import PretrainedReport, load_pretrained


def _conv3(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the block of ResNet-18 and 34."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _conv3(inputs, width, stride, dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, width, h / stride, w / stride)."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu(y.add_(x if self.downsample is None else self.downsample(x)))
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut: the block of ResNet-50 and more, stride in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3(width, width, stride, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, 4 width, h / stride, w / stride)."""
        y = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        y = self.bn3(self.conv3(y))
        out: Tensor = self.relu(y.add_(x if self.downsample is None else self.downsample(x)))
        return out


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


_DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """ResNet as an encoder of four levels, and as a classifier when `classes` is given.

    Parameters
    ----------
    depth : {18, 34, 50, 101, 152}
    classes : int or None
        Outputs of the last layer ``fc``; None leaves it out.
    pretrained : str, path or None
        File or URL of a state dict with torchvision's names; see `load_pretrained`. Its ``fc`` is used
        only when it has as many classes.
    output_stride : {32, 16, 8}
        Below 32, the last levels keep their size and dilate their convolutions instead (DeepLab).
    width : int
        Channels of the first level's 3x3 convolutions; each further level has twice as many. Less than the
        paper's 64 is for small machines, and takes no published weights.

    Attributes
    ----------
    widths : tuple of int
        Channels of the four levels, at strides 4, 8, 16 and 32.
    pretrained : PretrainedReport or None
        What became of the keys of the file.

    Notes
    -----
    Input (N, 3, H, W), normalised by ImageNet's mean and deviation when pretrained there; any H and W.
    Output (N, classes) logits, or (N, C) means over the last level without `classes`.
    """

    task: ClassVar[str] = "classification"
    view_count = 1

    def __init__(
        self,
        depth: int = 50,
        *,
        classes: int | None = None,
        pretrained: str | Path | None = None,
        output_stride: int = 32,
        width: int = 64,
    ) -> None:
        super().__init__()
        check_counts(classes=classes, depth=depth, width=width)
        if depth not in _DEPTHS:
            raise ValueError(f"depth must be one of {', '.join(map(str, _DEPTHS))}, not {depth}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, not {output_stride}")
        block, counts = _DEPTHS[depth]
        inner = tuple(width * 2**level for level in range(4))
        self.widths = tuple(of_level * block.expansion for of_level in inner)
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs, stride = width, 4
        for level, (of_level, count) in enumerate(zip(inner, counts, strict=True), start=1):
            step = 1 if level == 1 or stride == output_stride else 2
            before = 1 if level == 1 else 2 ** (level + 1) // (stride * 2)
            stride *= step
            after = 2 ** (level + 1) // stride
            blocks = [block(inputs, of_level, step, before if step == 1 else after)]
            inputs = of_level * block.expansion
            blocks += [block(inputs, of_level, 1, after) for _ in range(count - 1)]
            setattr(self, f"layer{level}", nn.Sequential(*blocks))
        self.fc = None if classes is None else nn.Linear(inputs, classes)
        draw_convolutions(self, "fan_out")
        self.pretrained: PretrainedReport | None = None
        if pretrained is not None:
            self.pretrained = load_pretrained(self, pretrained, replaced=("fc.",))

    def levels(self, x: Tensor) -> Sequence[Tensor]:
        """Return the outputs of the four levels of (N, 3, H, W), finest first; sides are rounded up."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        found = []
        for level in range(1, 5):
            x = self.get_submodule(f"layer{level}")(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes), or the mean of the last level (N, C), of (N, 3, H, W)."""
        pooled = F.adaptive_avg_pool2d(self.levels(x)[-1], 1).flatten(1)
        if self.fc is None:
            return pooled
        logits: Tensor = self.fc(pooled)
        return logits
