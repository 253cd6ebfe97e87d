"""Attention U-Net (Oktay et al., MIDL 2018) and UNet++ (Zhou et al., DLMIA 2018), made of MONAI's parts.

MONAI's `AttentionUnet` is not the paper's network. It strides where the paper pools; a stage of its
decoder is one convolution with instance normalisation and PReLU, not two with batch normalisation and
ReLU; its gates work at the size of the skip on decoder features that are upsampled already, where the
paper's signal comes from the coarser scale; it gates the finest skip too, which the paper does not; and
it has no deep supervision. So `AttentionUNet` puts MONAI's blocks together as the paper does.

MONAI's `BasicUNetPlusPlus` is the paper's but for its finest row, in which upsampled features keep their
channels instead of halving them (0.07 million weights more); it also joins each skip twice, pads what
needs no padding and computes outputs that it throws away. `UNetPP` makes the paper's nodes of its blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.arguments import check_counts
from napari_lumen.models.attention import mark_attention
from napari_lumen.models.initial_weights import draw_convolutions
from napari_lumen.models.padding import pad_to_multiple

_STRIDE = 16  # four poolings: inputs are padded to a multiple of this
_RELU = ("relu", {"inplace": True})

ATTENTION_UNET_PRESETS: dict[str, tuple[int, int, int, int, int]] = {
    # doubling from level to level, but for the deepest, which is made to meet the sizes that FocusNet++
    # prints without widths: 8.91 million weights in its Table 2
    "table": (32, 64, 128, 256, 550),
    # and 2.32 million for nuclei, in its Table 3
    "slim": (16, 32, 64, 128, 287),
}


class AttentionGate(nn.Module):
    """Additive attention gate (Fig. 2 and Eqs. 1 and 2 of Oktay et al.).

    With x the skip and g the features of the next coarser scale: q = psi relu(W_x x + W_g g + b_g) + b_psi
    on the grid of g, alpha = sigmoid(q), and the output is x times alpha, resampled to the grid of x.
    W_x is a 2x2 convolution of stride 2, as in the authors' release, so that no pixel is left out.

    Input (N, skip, 2h, 2w) and (N, gating, h, w); output (N, skip, 2h, 2w).
    """

    def __init__(self, skip: int, gating: int) -> None:
        super().__init__()
        self.w_x = nn.Conv2d(skip, skip, 2, stride=2, bias=False)
        self.w_g = nn.Conv2d(gating, skip, 1)
        self.psi = nn.Sequential(nn.Conv2d(skip, 1, 1), nn.Sigmoid())
        draw_convolutions(self)
        # as in the paper, training begins with gates that pass all on: alpha is about 0.95
        nn.init.constant_(self.psi.get_parameter("0.bias"), 3.0)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """Return the skip (N, skip, 2h, 2w) scaled by its attention to g (N, gating, h, w)."""
        alpha = self.psi(F.relu(self.w_x(x) + self.w_g(g)))
        return x * F.interpolate(alpha, scale_factor=2.0, mode="bilinear")


class AttentionUNet(nn.Module):
    """Attention U-Net in two dimensions (Fig. 1 of Oktay et al.).

    Parameters
    ----------
    preset : {"table", "slim"}
        Widths that come nearest to 8.91 million weights (FocusNet++, Table 2), or to 2.32 (Table 3).
    in_channels : int
        Channels of the input.
    classes : int
        Channels of the output: 1 for a sigmoid, or the background and each class for a softmax.

    Notes
    -----
    Input (N, in_channels, H, W), any H and W: padded to multiples of 16 and cropped back. Output
    (N, classes, H, W) logits, made of scores of the four decoder levels: the deep supervision of the paper,
    joined by a 1x1 convolution as in the authors' release. The finest skip has no gate.
    Recorded: ``gate4.psi`` (coarsest) to ``gate2.psi``, alpha at scales 1/16 to 1/4. Training needs more
    than one value per channel at the deepest level. Can be exported for a fixed size.
    """

    task: ClassVar[str] = "segmentation"
    view_count: ClassVar[int] = 1

    def __init__(self, *, preset: str = "table", in_channels: int = 3, classes: int = 1) -> None:
        super().__init__()
        # imported late: importing MONAI takes seconds
        from monai.networks.nets.basic_unet import Down, TwoConv, UpCat

        if preset not in ATTENTION_UNET_PRESETS:
            raise ValueError(f"preset must be one of {', '.join(ATTENTION_UNET_PRESETS)}, not {preset!r}")
        check_counts(in_channels=in_channels, classes=classes)
        self.in_channels = in_channels
        widths = ATTENTION_UNET_PRESETS[preset]
        self.encoder = nn.ModuleList([TwoConv(2, in_channels, widths[0], _RELU, "batch", False)])
        self.encoder.extend(Down(2, a, b, _RELU, "batch", False) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(
            UpCat(
                2,
                below,
                skip,
                skip,
                _RELU,
                "batch",
                False,
                upsample="nontrainable",
                pre_conv=None,
                align_corners=False,
                is_pad=False,
            )
            for below, skip in pairwise(widths[::-1])
        )
        self.scores = nn.ModuleList(nn.Conv2d(skip, classes, 1) for skip in widths[-2::-1])
        self.fuse = nn.Conv2d(4 * classes, classes, 1)
        draw_convolutions(self)
        self.gate4, self.gate3, self.gate2 = (
            AttentionGate(skip, gating) for gating, skip in pairwise(widths[:0:-1])
        )
        for gate, scale in ((self.gate4, 8), (self.gate3, 4), (self.gate2, 2)):
            mark_attention(
                gate.psi,
                "spatial",
                f"Attention gate: what of the skip at scale 1/{scale} is passed on.",
                stride=2 * scale,
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of (N, in_channels, H, W)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, _STRIDE)
        size = x.shape[-2:]
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        scores = []
        gates = (self.gate4, self.gate3, self.gate2, None)
        for gate, stage, score in zip(gates, self.decoder, self.scores, strict=True):
            skip = skips.pop()
            x = stage(x, skip if gate is None else gate(skip, x))
            scores.append(score(x))
        coarse = [F.interpolate(score, size=size, mode="bilinear") for score in scores[:-1]]
        logits: Tensor = self.fuse(torch.cat([*coarse, scores[-1]], dim=1))
        return logits[..., :height, :width]


class UNetPP(nn.Module):
    """UNet++ in its fast mode: the output of the last node of the finest row (section 3 of Zhou et al.).

    Node x(i, j) of row i and column j reads all nodes before it in its row and the upsampled x(i + 1, j - 1)
    (Eq. 1).

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    classes : int
        Channels of the output: 1 for a sigmoid, or the background and each class for a softmax.
    widths : sequence of int
        Channels of each row, finest first; those of the paper by default, which give its 9.04 million
        weights.

    Notes
    -----
    Convolutions are followed by ReLU alone, as in the paper and its release. Input (N, in_channels, H, W),
    any H and W: padded to multiples of 2 for each row below the first and cropped back. Output
    (N, classes, H, W) logits. There are no attention maps. Can be exported for a fixed size.
    """

    task: ClassVar[str] = "segmentation"
    view_count: ClassVar[int] = 1

    def __init__(
        self,
        *,
        in_channels: int = 3,
        classes: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
    ) -> None:
        super().__init__()
        # imported late: importing MONAI takes seconds
        from monai.networks.blocks.upsample import UpSample
        from monai.networks.nets.basic_unet import Down, TwoConv

        check_counts(in_channels=in_channels, classes=classes)
        self.in_channels = in_channels
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths must be two or more numbers of 1 or more, not {tuple(widths)}")
        self._rows = len(widths)
        # MONAI's annotations lack its own way of saying that there is no normalisation
        block: dict[str, Any] = {"act": _RELU, "norm": None, "bias": True}
        self.encoder = nn.ModuleList([TwoConv(2, in_channels, widths[0], **block)])
        self.encoder.extend(Down(2, a, b, **block) for a, b in pairwise(widths))
        self.up, self.node = nn.ModuleDict(), nn.ModuleDict()
        for column in range(1, self._rows):
            for row in range(self._rows - column):
                name, width = f"{row}_{column}", widths[row]
                self.up[name] = UpSample(2, widths[row + 1], width)
                self.node[name] = TwoConv(2, (column + 1) * width, width, **block)
        self.head = nn.Conv2d(widths[0], classes, 1)
        draw_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of (N, in_channels, H, W)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2 ** (self._rows - 1))
        nodes: list[list[Tensor]] = []
        for stage in self.encoder:
            x = stage(x)
            nodes.append([x])
        for column in range(1, self._rows):
            for row in range(self._rows - column):
                name = f"{row}_{column}"
                below = self.up[name](nodes[row + 1][column - 1])
                nodes[row].append(self.node[name](torch.cat([*nodes[row], below], dim=1)))
        logits: Tensor = self.head(nodes[0][-1])
        return logits[..., :height, :width]
