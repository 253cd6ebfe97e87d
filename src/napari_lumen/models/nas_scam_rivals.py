"""The hand-made attention modules that NAS-SCAM is compared with (Table 2), at the same eight positions.

CBAM (Woo et al., ECCV 2018) and scSE (Roy et al., MICCAI 2018), each as its authors released it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_lumen.models.attention import mark_attention
from napari_lumen.models.host_unet import HostUNet


class CBAMChannelGate(nn.Module):
    """Channel attention of CBAM: sigmoid(MLP(average) + MLP(maximum)), with a bottleneck of 1/16 (Eq. 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 16)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return the gate of each channel, (N, C, h, w) to (N, C) in (0, 1)."""
        logits: Tensor = self.mlp(features.mean(dim=(2, 3))) + self.mlp(features.amax(dim=(2, 3)))
        return logits.sigmoid()


class CBAMSpatialMap(nn.Module):
    """Spatial attention of CBAM: 7x7 convolution of the channels' maximum and mean, norm, sigmoid (Eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """Return the map, (N, C, h, w) to (N, 1, h, w) in (0, 1)."""
        pooled = torch.cat([features.amax(dim=1, keepdim=True), features.mean(dim=1, keepdim=True)], dim=1)
        logits: Tensor = self.norm(self.conv(pooled))
        return logits.sigmoid()


class CBAM(nn.Module):
    """Convolutional block attention module: the channel gate, then the spatial map of what it leaves.

    Input and output (N, C, h, w); `stride` is that of the recorded map.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.cam = mark_attention(CBAMChannelGate(channels), "channel", "Channel gate of CBAM.")
        self.sam = mark_attention(CBAMSpatialMap(), "spatial", "Spatial map of CBAM.", stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Weight the channels of (N, C, h, w), then its positions."""
        gate: Tensor = self.cam(x)
        x = x * gate[:, :, None, None]
        spatial: Tensor = self.sam(x)
        return x * spatial


class ChannelExcitation(nn.Module):
    """cSE: gate of each channel from the means of all, two layers with a bottleneck of 1/2 (section 2.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the gate of each channel, (N, C, h, w) to (N, C) in (0, 1)."""
        gate: Tensor = self.mlp(features.mean(dim=(2, 3)))
        return gate


class SCSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation, joined by the elementwise maximum.

    Input and output (N, C, h, w); `stride` is that of the recorded map. The paper adds the two; its authors'
    code takes the maximum.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.cam = mark_attention(ChannelExcitation(channels), "channel", "Channel excitation of scSE.")
        self.sam = mark_attention(
            nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid()),
            "spatial",
            "Spatial excitation of scSE.",
            stride=stride,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the maximum of (N, C, h, w) weighted by its gate and weighted by its map."""
        gate: Tensor = self.cam(x)
        return torch.maximum(x * gate[:, :, None, None], x * self.sam(x))


class CBAMUNet(HostUNet):
    """The host U-Net with CBAM after each of its eight blocks.

    Parameters
    ----------
    classes, width : int
        See `HostUNet`, which also says what goes in and out.

    Notes
    -----
    Recorded, for each position D1 to D4 and U1 to U4: ``<position>.sam``, the spatial map, and
    ``<position>.cam``, the channel gate. Training needs two images, or one of more than 16 px.
    """

    def __init__(self, classes: int = 4, width: int = 16) -> None:
        super().__init__(classes, width, lambda _, channels, stride: CBAM(channels, stride))


class SCSEUNet(HostUNet):
    """The host U-Net with scSE after each of its eight blocks.

    Parameters
    ----------
    classes, width : int
        See `HostUNet`, which also says what goes in and out.

    Notes
    -----
    Recorded, for each position D1 to D4 and U1 to U4: ``<position>.sam``, the spatial map, and
    ``<position>.cam``, the channel gate.
    """

    def __init__(self, classes: int = 4, width: int = 16) -> None:
        super().__init__(classes, width, lambda _, channels, stride: SCSE(channels, stride))
