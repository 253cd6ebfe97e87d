"""GoogLeNet (Szegedy et al., CVPR 2015) with batch normalisation and the state-dict names of torchvision.

The feature extractor of the multi-stage model, and a classifier of its own. Torchvision's port differs
from the paper: its third branches have 3x3 instead of 5x5 kernels, and its convolutions are normalised
and have no bias.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.errors import ModelError
from napari_lumen.models.arguments import check_counts
from napari_lumen.models.initial_weights import draw_convolutions
from napari_lumen.models.padding import pad_to_multiple
from napari_lumen.models.pretrained import PretrainedReport, load_pretrained

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
_SMALLEST = 16  # the poolings need a side of 15


class BasicConv2d(nn.Module):
    """Convolution without bias, batch normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride), sides rounded up."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Inception module (Fig. 2b of the paper): four branches over the same input, joined by channels.

    Parameters
    ----------
    inputs : int
    branch1 : int
        Outputs of the 1x1 branch.
    branch2, branch3 : (int, int)
        Channels after the 1x1 reduction and outputs of the 3x3 branches.
    branch4 : int
        Outputs of the pooling branch.
    """

    def __init__(
        self, inputs: int, branch1: int, branch2: tuple[int, int], branch3: tuple[int, int], branch4: int
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(inputs, branch1, 1)
        self.branch2 = nn.Sequential(BasicConv2d(inputs, branch2[0], 1), BasicConv2d(*branch2, 3))
        self.branch3 = nn.Sequential(BasicConv2d(inputs, branch3[0], 1), BasicConv2d(*branch3, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), BasicConv2d(inputs, branch4, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, sum of the branches' outputs, h, w)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class AuxiliaryHead(nn.Module):
    """Auxiliary classifier on an inner feature map, used only in training (section 5 of the paper)."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv = BasicConv2d(inputs, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of features (N, inputs, h, w)."""
        y = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)
        logits: Tensor = self.fc2(self.dropout(F.relu(self.fc1(y))))
        return logits


class GoogLeNet(nn.Module):
    """GoogLeNet as a feature extractor, and as a classifier when `classes` is given.

    Parameters
    ----------
    classes : int or None
        Outputs of the last layer ``fc``; None leaves it out.
    aux : bool
        Build the two auxiliary heads, for `auxiliary_logits`.
    transform_input : bool
        Take images normalised by ImageNet's mean and deviation and bring them to [-1, 1]. Without it,
        images must be in [-1, 1], in which torchvision's weights were trained.
    dropout : float
        Dropout before ``fc``.
    pretrained : str, path or None
        File or URL of a state dict with torchvision's names; see `load_pretrained`. Its ``fc`` is used
        only when it has as many classes, its auxiliary heads only with `aux`.

    Attributes
    ----------
    width : int
        Channels of the last feature map, 1024.
    pretrained : PretrainedReport or None
        What became of the keys of the file.

    Notes
    -----
    Input (N, 3, H, W), any H and W; where a side is below 16, both are padded to
    multiples of 16.
    Output (N, classes) logits, or (N, 1024) means over the last feature map without `classes`.
    There are no attention maps. Can be exported for fixed H and W.
    """

    task: ClassVar[str] = "classification"
    view_count = 1
    width = 1024

    def __init__(
        self,
        *,
        classes: int | None = None,
        aux: bool = False,
        transform_input: bool = False,
        dropout: float = 0.2,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        check_counts(classes=classes)
        self.conv1 = BasicConv2d(3, 64, 7, stride=2)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = Inception(256, 128, (128, 192), (32, 96), 64)
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = Inception(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = Inception(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = Inception(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = Inception(528, 256, (160, 320), (32, 128), 128)
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = Inception(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = Inception(832, 384, (192, 384), (48, 128), 128)
        self.aux1: AuxiliaryHead | None = None
        self.aux2: AuxiliaryHead | None = None
        if aux:
            if classes is None:
                raise ValueError("aux needs classes: the auxiliary heads classify")
            self.aux1, self.aux2 = AuxiliaryHead(512, classes), AuxiliaryHead(528, classes)
        self.dropout = nn.Dropout(dropout)
        self.fc = None if classes is None else nn.Linear(self.width, classes)
        self._transform_input = transform_input
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self._scale: Tensor
        self._shift: Tensor
        self.register_buffer("_scale", (std / 0.5).view(3, 1, 1), persistent=False)
        self.register_buffer("_shift", ((mean - 0.5) / 0.5).view(3, 1, 1), persistent=False)
        draw_convolutions(self, "fan_out")
        self.pretrained: PretrainedReport | None = None
        if pretrained is not None:
            self.pretrained = load_pretrained(
                self,
                pretrained,
                left_out=() if aux else ("aux1.", "aux2."),
                replaced=("fc.", "aux1.fc2.", "aux2.fc2.") if aux else ("fc.",),
            )

    def _maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs of inception 4a, 4d and 5b, at strides 16, 16 and 32."""
        if min(x.shape[-2:]) < _SMALLEST:
            x = pad_to_multiple(x, _SMALLEST)
        if self._transform_input:
            x = torch.addcmul(self._shift, x, self._scale)
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        inner = self.inception4a(x)
        outer = self.inception4d(self.inception4c(self.inception4b(inner)))
        x = self.maxpool4(self.inception4e(outer))
        return inner, outer, self.inception5b(self.inception5a(x))

    def _classified(self, last: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(last, 1).flatten(1)
        if self.fc is None:
            return pooled
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes), or the mean of the last feature map (N, 1024), of (N, 3, H, W)."""
        return self._classified(self._maps(x)[-1])

    def auxiliary_logits(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits (N, classes) of the network and of its two auxiliary heads, for training.

        Raises
        ------
        ModelError
            When the network was built without `aux`.
        """
        if self.aux1 is None or self.aux2 is None:
            raise ModelError("GoogLeNet was built without auxiliary heads; build it with aux=True.")
        inner, outer, last = self._maps(x)
        return self._classified(last), self.aux1(inner), self.aux2(outer)
