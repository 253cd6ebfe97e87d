"""Gated attention for fine-grained classification (Fan, Chakraborti, Chang, Xu and Rittscher).

A global branch sees the whole image small and says where its key instances are; a local branch sees those
at full resolution; both are fused (Fig. 2 of the paper). Section and equation numbers are the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.arguments import check_counts
from napari_lumen.models.attention import AttentionPoint, at_least_single, channel_mean, mark_attention
from napari_lumen.models.card import LARGEST_SIDE
from napari_lumen.models.instances import LEAST_SIDE, InstanceSelection, above, crop_instances, resize
from napari_lumen.models.resnet import ResNet
from napari_lumen.models.rival_attentions import RIVALS

_DILATIONS = (2, 4)  # larger ones would read mostly padding on a 7x7 map


class SemanticMap(nn.Module):
    """Semantic map M of section 2.1: the sum over the channels of two parallel dilated blocks.

    A block is a 3x3 convolution, batch normalisation and ReLU, of `width` channels. Input X (N, C, h, w);
    output float32 (N, 1, h, w), at least 0.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(self._block(channels, width, dilation) for dilation in _DILATIONS)

    @staticmethod
    def _block(channels: int, width: int, dilation: int) -> nn.Sequential:
        conv = nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation, bias=False)
        norm = nn.BatchNorm2d(width)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        # a sum of unscaled channels would make the softmax of M nearly one-hot
        nn.init.constant_(norm.weight, (len(_DILATIONS) * width) ** -0.5)
        return nn.Sequential(conv, norm, nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return M; each block is summed by itself, which spares joining them."""
        sums = [block(x).sum(dim=1, keepdim=True, dtype=at_least_single(x)) for block in self.blocks]
        m: Tensor = sums[0] + sums[1]
        return m


class SpatialSoftmax(nn.Module):
    """Semantic map S, equation 1: the softmax of M over its positions, (N, 1, h, w) to the same.

    Computed in float32 at least, with the maximum subtracted, so that it is finite for any finite M.
    """

    def forward(self, m: Tensor) -> Tensor:
        """Return S, which sums to 1 in each image."""
        return m.flatten(1).softmax(dim=1, dtype=at_least_single(m)).reshape(m.shape)


class ChannelGate(nn.Module):
    """Gate of each channel, of equation 2: ReLU(tanh(<X_k, S>)).

    X and S are non-negative in the network, where the ReLU therefore changes nothing.
    """

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """Return the gates (N, C) of X (N, C, h, w) and S (N, 1, h, w); in [0, 1), rounding apart."""
        coefficient = torch.einsum("nchw,nohw->nc", x, s.to(x.dtype))
        return F.relu(torch.tanh(coefficient))


def gated_channels(maps: Mapping[str, Tensor], count: int = 1) -> tuple[Tensor, Tensor]:
    """Return the channel maps that the gates let through most and least, to be shown beside each other.

    Parameters
    ----------
    maps : mapping
        What ``record_attention(network, "channel_gate", features=True)`` recorded.
    count : int
        How many of each, at most half of the channels.

    Returns
    -------
    best, worst : Tensor
        (N, count, h, w), the best-gated and the worst-gated first: X_k before its gate, edge to edge over
        the image.

    Raises
    ------
    KeyError
        When the gates or their features were not recorded.
    """
    gates, channels = maps["channel_gate"], maps["channel_gate.features"]
    check_counts(most=gates.shape[1] // 2, count=count)
    order = gates.argsort(dim=1, descending=True, stable=True)
    images = torch.arange(len(gates), device=gates.device)[:, None]
    return channels[images, order[:, :count]], channels[images, order.flip(1)[:, :count]]


class GatedAttention(nn.Module):
    """Global and instance features of an image, fused for its classification.

    Parameters
    ----------
    classes : int
        Classes of an image: 5 species of fungi, 4 classes of BACH.
    module : {"gated", "spatial", "channel", "dual", "se", "global_context", "none"}
        The paper's gated attention, a rival of Table 2 (see `rival_attentions`), or no attention.
    global_depth, local_depth : {18, 34, 50, 101, 152}
        Layers of the ResNet of the whole image and of the one shared by its instances.
    encoder_width : int
        Channels that both ResNets begin with, 64 in the paper; less is for small machines.
    instances : int
        Instances that are fused, K.
    threshold, margin, least_side : float
        See `InstanceSelection`.
    global_size, local_size : int
        Side to which the whole image and its instances are resized, px.
    dilated_width : int
        Channels of each dilated block of gated attention.
    pretrained, local_pretrained : str, path or None
        File or URL of ImageNet weights of the two ResNets; see `load_pretrained`.

    Notes
    -----
    Input (N, 3, H, W) at full resolution, any H and W, normalised as the weights of the ResNets expect.
    Output (N, classes) logits: Y_f of equation 3, by which the paper predicts; `global_and_fused` returns
    Y_g as well, for the loss.

    The global branch sees the whole image resized to `global_size`, its aspect not kept: the spatial maps,
    7x7 at 224 px, cover the whole image, edge to edge. Recorded:

    - ``semantic``: M; ``semantic_S``: S; ``channel_gate``: the gates, all three for ``module="gated"``;
      with ``features=True``, `gated_channels` gives the best- and worst-gated channel maps (section 1);
    - ``rival.se``: the gates for ``module="se"``;
    - ``omega``: the attention map of equation 2, which for every module is the channel mean of its output;
    - ``instance_mask``: 1 where Omega, enlarged and min-max normalised, lies above `threshold`;
    - ``instances``: boxes and scores of its regions, see `InstanceSelection`.

    Selection has no gradient: the dilated blocks learn through the gated features that Y_g and Y_f pool.
    The local network runs on the used slots alone. Its batch normalisation therefore sees, in training,
    the crops of all images of the batch together, from N to K N of them, and never an empty slot.

    The device is waited for once, to select. `torch.compile` breaks the graph there; `torch.export` and
    ONNX are refused with a ModelError, since the number of crops depends on the image. On the meta device
    every slot is used.
    """

    task: ClassVar[str] = "classification"
    view_count = 1

    def __init__(
        self,
        *,
        classes: int = 4,
        module: str = "gated",
        global_depth: int = 18,
        local_depth: int = 50,
        encoder_width: int = 64,
        instances: int = 4,
        threshold: float = 0.5,
        margin: float = 0.1,
        least_side: float = LEAST_SIDE,
        global_size: int = 224,
        local_size: int = 336,
        dilated_width: int = 512,
        pretrained: str | Path | None = None,
        local_pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        check_counts(classes=classes, dilated_width=dilated_width)
        check_counts(most=LARGEST_SIDE, global_size=global_size, local_size=local_size)
        if module != "gated" and module not in RIVALS:
            raise ValueError(f"module must be one of gated, {', '.join(RIVALS)}, not {module!r}")
        self.global_size, self.local_size = global_size, local_size
        self.global_network = ResNet(global_depth, pretrained=pretrained, width=encoder_width)
        channels = self.global_network.widths[-1]
        self.rival = None if module == "gated" else RIVALS[module](channels)
        if module == "gated":
            self._add_gates(channels, dilated_width)
        self.omega = mark_attention(
            AttentionPoint(),
            "spatial",
            "Attention map: mean over channels of the attended features.",
            (0.0 if module == "gated" else -math.inf, math.inf),
            stage="global branch",
            display="min-max",
        )
        self.instance_mask = mark_attention(
            AttentionPoint(),
            "spatial",
            "Instance mask: where the attention map, from 0 to 1 over the image, lies above the threshold.",
            stage="instance branch",
            reduce=partial(above, threshold=threshold),
            per_tile=True,
        )
        self.instances = mark_attention(
            InstanceSelection(instances, threshold, margin, global_size, least_side, self.instance_mask),
            "boxes",
            "Key instances, with the attention summed over each.",
            (0.0, math.inf),
            stage="instance branch",
        )
        self.local_network = ResNet(local_depth, pretrained=local_pretrained, width=encoder_width)
        self.global_head = nn.Linear(channels, classes)
        self.fused_head = nn.Linear(channels + instances * self.local_network.widths[-1], classes)

    def _add_gates(self, channels: int, width: int) -> None:
        self.semantic = mark_attention(
            SemanticMap(channels, width),
            "spatial",
            "Semantic map before its softmax: sum of the multi-scale features over all channels.",
            (0.0, math.inf),
            stage="global branch",
            display="min-max",
        )
        self.semantic_S = mark_attention(
            SpatialSoftmax(),
            "spatial",
            "Semantic map: which positions the channels are measured by; sums to 1 over the image.",
            stage="global branch",
            display="min-max",
            per_tile=True,
            raw="semantic",
        )
        self.channel_gate = mark_attention(
            ChannelGate(),
            "channel",
            "Gate of each channel: how much of it lies where the semantic map does; gated_channels() gives "
            "the maps of the best- and worst-gated.",
            stage="global branch",
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return logits Y_f (N, classes) of images (N, 3, H, W)."""
        if image.shape[0] == 0:  # no image has an instance
            return image.new_empty(0, self.fused_head.out_features)
        attended = self._attended(image)
        return self._fused(image, attended, attended.mean(dim=(2, 3)))

    def global_and_fused(
        self, image: Tensor | Sequence[Tensor], *, fused: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Return the two predictions that the loss weighs (equation 3).

        Parameters
        ----------
        image : Tensor or sequence of Tensor
            (N, 3, H, W), or N of (3, H, W), each of its own height and width.
        fused : bool
            False leaves the instance branch out, which has no part in the loss while lambda is 1: its
            weights get no gradient and its batch normalisation no statistics.

        Returns
        -------
        y_g : Tensor
            Logits (N, classes) of the global branch.
        y_f : Tensor or None
            Logits (N, classes) of the fusion, None without `fused`.
        """
        attended = self._attended(image)
        pooled = attended.mean(dim=(2, 3))
        y_g: Tensor = self.global_head(pooled)
        return y_g, self._fused(image, attended, pooled) if fused else None

    def _attended(self, image: Tensor | Sequence[Tensor]) -> Tensor:
        """Return the attended features (N, C, h, w) of the whole image, whose channel mean is Omega."""
        if isinstance(image, Tensor):
            small = resize(image, self.global_size)
        else:
            small = torch.cat([resize(one[None], self.global_size) for one in image])
        x = self.global_network.levels(small)[-1]
        if self.rival is None:
            gate = self.channel_gate(x, self.semantic_S(self.semantic(x)))
            attended = x * gate[:, :, None, None]
        else:
            attended = self.rival(x)
        out: Tensor = self.omega(attended)
        return out

    def _fused(self, image: Tensor | Sequence[Tensor], attended: Tensor, pooled: Tensor) -> Tensor:
        boxes: Tensor = self.instances(channel_mean(attended.detach()))
        crops, counts = crop_instances(image, boxes, self.local_size)
        features = self.local_network(crops)
        slots = nn.utils.rnn.pad_sequence(features.split(counts), batch_first=True)
        empty = boxes.shape[1] - slots.shape[1]
        local = F.pad(slots, (0, 0, 0, empty)).flatten(1)
        logits: Tensor = self.fused_head(torch.cat([pooled, local], dim=1))
        return logits
