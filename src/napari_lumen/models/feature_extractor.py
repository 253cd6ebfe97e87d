"""The first stage of multi-stage classification (Takahama et al., ICCV 2019): a vector for each patch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.googlenet import GoogLeNet
from napari_lumen.models.resnet import ResNet


class FeatureExtractor(nn.Module):
    """Feature extractor model f_1, ..., f_n (section 3.1): an encoder and two fully connected layers.

    Parameters
    ----------
    encoder : {"googlenet", "resnet18"}
        Takes images normalised by ImageNet's mean and deviation.
    features : int or None
        Length of the vector, the output of f_{n-1} after ReLU; None leaves both layers out, and the
        vector is the mean of the encoder's last feature map.
    classes : int or None
        Outputs of f_n; None leaves it out.
    pretrained : str, path or None
        Weights of the encoder, see `load_pretrained`.
    encoder_width : int
        Of ResNet-18, see `ResNet`; GoogLeNet has one width.
    """

    def __init__(
        self,
        encoder: str,
        features: int | None,
        classes: int | None,
        pretrained: str | Path | None,
        encoder_width: int = 64,
    ) -> None:
        super().__init__()
        self.backbone: GoogLeNet | ResNet
        if encoder == "googlenet":
            self.backbone = GoogLeNet(transform_input=True, pretrained=pretrained)
            channels = self.backbone.width
        else:
            self.backbone = ResNet(18, pretrained=pretrained, width=encoder_width)
            channels = self.backbone.widths[-1]
        self.width = channels if features is None else features
        self.dropout = nn.Dropout(0.2)  # of GoogLeNet, before its last layer
        self.reduce = None if features is None else nn.Linear(channels, features)
        self.head = None if classes is None else nn.Linear(self.width, classes)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the vectors (N, width) of patches (N, 3, h, w), no value below 0."""
        pooled: Tensor = self.backbone(patches)
        return pooled if self.reduce is None else F.relu(self.reduce(self.dropout(pooled)))

    def checksum(self, seen: str) -> str:
        """Return the SHA-256 of all that decides a vector: the weights, and what is seen of a patch."""
        digest = hashlib.sha256(f"{type(self.backbone).__name__} {seen}".encode())
        for name, tensor in self.state_dict().items():
            if not name.startswith("head."):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
