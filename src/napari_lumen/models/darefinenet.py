"""DA-RefineNet: segmentation of a fine view guided by a coarse one (Li, Tao, Wu and Li).

Two ResNet encoders, one for the fine view A and one for the context B, and RefineNet's decoder, whose
blocks fuse the features of both with what was decoded before (Figs. 2 to 6 of the paper). Section,
equation, figure and table numbers are those of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.arguments import check_counts
from napari_lumen.models.attention import AttentionPoint, channel_mean_of_magnitude, mark_attention
from napari_lumen.models.padding import pad_to_multiple
from napari_lumen.models.refine_blocks import (
    ChainedResidualPooling,
    ChannelGate,
    ConcatFusion,
    ResidualConvUnit,
    SimpleResidualBlock,
    conv,
    to_grid_of,
)
from napari_lumen.models.resnet import ResNet

VARIANTS = ("dual", "single", "multi_size")
FUSIONS = ("attention", "concat", "add")
_CONTEXT_DEPTHS = (18, 50)
_LEVELS = (4, 3, 2, 1)  # coarsest first, as they are decoded: strides 32, 16, 8, 4
_STRIDE = 4  # the encoders round sides up by themselves; only the last enlargement needs whole steps


def default_fusion(variant: str, light: bool) -> str:
    """Return the fusion that a network has when none is named: ``add`` in the plain RefineNet."""
    return "add" if variant == "single" and not light else "attention"


class DARefineNet(nn.Module):
    """DA-RefineNet and the networks that its tables compare it with.

    Parameters
    ----------
    depth : {50, 101, 152, 18, 34}
        Layers of the ResNet of the fine view; 18 and 34 are for small machines and not in the paper.
    context_depth : {50, 18}
        Layers of the ResNet of the context; the paper has 50. Unused when `variant` is ``single``.
    encoder_width : int
        Channels that both ResNets begin with, 64 in the paper; the decoder narrows with them. For small
        machines.
    classes : int
        In the paper normal, benign, in situ and invasive.
    fusion : {"attention", "concat", "add"}, optional
        How a decoder block joins the fine features A', those of the context B' and what was decoded
        before, X (section III.B, Fig. 5):

        - ``attention``: w = sigmoid(GAP(conv1x1(concat(A', B', X)))), Y = A' * w + X (equations 10 to 12);
          the coarsest level has no X and takes A' in its place
        - ``concat``: Y = relu(conv1x1(concat(A', B', X)))
        - ``add``: Y = A' + B' + X

        By default ``attention``, and ``add`` in the plain RefineNet of the single-input rows.
    variant : {"dual", "single", "multi_size"}
        ``dual``: fine view and context. ``single``: the fine view alone, without B' and without anything
        to fuse at the coarsest level; with ``add`` and not `light` this is RefineNet itself, with 3x3
        where DA-RefineNet reduces by 1x1, and a ReLU after each sum. ``multi_size``: the control
        experiment of section IV.D, in which both encoders see the same content.
    light : bool
        LW-Attn blocks (section III.C): simple residual blocks, and no chained residual pooling.
    pretrained, context_pretrained : str, path or None
        Weights of the two encoders, file or URL, see `load_pretrained`.
    dropout : float
        On levels 3 and 4 of both encoders and before the last convolution.
    gate_hidden : bool
        The gate of the authors' release, with a hidden layer that the paper does not mention.

    Notes
    -----
    Input ``(fine, context)``, (N, 3, H, W) and (N, 3, H', W'), any sizes, which may differ: the gates see
    only the mean of the context, and ``concat`` and ``add`` resize its features. One tensor (N, 3, H, W)
    when `view_count` is 1; ``multi_size`` takes a pair too, for the same content at two sizes. Normalise
    by ImageNet's mean and deviation when pretrained there. Output (N, classes, H, W) logits. Training needs
    two images, or one of more than 32 px, unless the encoders' statistics are frozen.

    Table I has ``add`` in its dual rows, ``single`` with ``add``, and the last two rows `light`; Table II
    compares the fusions; Table III is ``multi_size`` with ``add``.

    The decoder is a quarter as wide as the encoder: 512 channels at level 4 and 256 below with ResNet-50
    to 152 (128 and 64 with 18 and 34), and 256 (64) throughout when `light`.

    Recorded with ``attention``: ``gate_4`` (coarsest) to ``gate_1`` the gate of each level, and
    ``refined_4`` to ``refined_1`` where the gated features A' * w are strong; `single` has none at level 4.
    """

    task: ClassVar[str] = "segmentation"

    def __init__(
        self,
        depth: int = 50,
        *,
        context_depth: int = 50,
        encoder_width: int = 64,
        classes: int = 4,
        fusion: str | None = None,
        variant: str = "dual",
        light: bool = False,
        pretrained: str | Path | None = None,
        context_pretrained: str | Path | None = None,
        dropout: float = 0.5,
        gate_hidden: bool = False,
    ) -> None:
        super().__init__()
        check_counts(classes=classes)
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, not {variant!r}")
        single = variant == "single"
        if fusion is None:
            fusion = default_fusion(variant, light)
        if fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, not {fusion!r}")
        if context_depth not in _CONTEXT_DEPTHS:
            raise ValueError(f"context_depth must be 50 or 18, not {context_depth}")
        if single and context_pretrained is not None:
            raise ValueError("context_pretrained has no encoder to go to when variant is 'single'")
        if gate_hidden and fusion != "attention":
            raise ValueError(f"gate_hidden needs fusion 'attention'; {fusion!r} has no gate")
        self.variant = variant
        self.fusion = fusion
        self.view_count = 2 if variant == "dual" else 1
        self.encoder = ResNet(depth, pretrained=pretrained, width=encoder_width)
        self.context_encoder = (
            None if single else ResNet(context_depth, pretrained=context_pretrained, width=encoder_width)
        )
        width = self.encoder.widths[0]
        for level in _LEVELS:
            wide = 2 * width if level == 4 and not light else width
            self._add_level(level, wide, width, light=light, gate_hidden=gate_hidden)
        self.dropout = nn.Dropout(dropout)
        self.classify = conv(width, classes, 3, bias=True, branch=True)

    def _add_level(self, level: int, width: int, outputs: int, *, light: bool, gate_hidden: bool) -> None:
        """Add the decoder block of a level, `width` channels inside and `outputs` out (Figs. 3 and 6)."""
        plain = self.context_encoder is None and self.fusion == "add" and not light
        size = 3 if plain else 1  # of RefineNet's convolutions that change or join channels
        self.add_module(
            f"adapt_{level}",
            _adapt(self.encoder.widths[level - 1], width, size, light=light, relu=level == 4),
        )
        parts = 1 if level == 4 else 2
        if self.context_encoder is not None:
            inputs = self.context_encoder.widths[level - 1]
            self.add_module(f"adapt_context_{level}", _adapt(inputs, width, 1, light=light, relu=True))
            parts += 1
        if parts > 1:
            self._add_fusion(level, parts, width, gate_hidden)
        if light:
            refine: list[nn.Module] = [SimpleResidualBlock(width, width // 2, outputs)]
        else:
            refine = [ChainedResidualPooling(width), *(ResidualConvUnit(width) for _ in range(3))]
            if level > 1:
                refine.append(conv(width, outputs, size))
        self.add_module(f"refine_{level}", nn.Sequential(*refine))

    def _add_fusion(self, level: int, parts: int, width: int, gate_hidden: bool) -> None:
        stride = 2 ** (level + 1)
        where = f"of level {level} (stride {stride})"
        if self.fusion == "concat":
            self.add_module(f"concat_{level}", ConcatFusion(parts, width))
        elif self.fusion == "attention":
            gate = mark_attention(
                ChannelGate(parts, width, hidden=gate_hidden),
                "channel",
                f"How much of each channel of the fine features {where} is let through.",
                stage=f"level {level}",
            )
            refined = mark_attention(
                AttentionPoint(),
                "spatial",
                f"Where the gated fine features {where} are strong: mean of their magnitude.",
                (0.0, math.inf),
                stage=f"level {level}",
                display="min-max",
                reduce=channel_mean_of_magnitude,
                stride=stride,
            )
            self.add_module(f"gate_{level}", gate)
            self.add_module(f"refined_{level}", refined)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the weights of both encoders, which start from ImageNet and learn slowly (section III.E)."""
        yield from self.encoder.parameters()
        if self.context_encoder is not None:
            yield from self.context_encoder.parameters()

    def decoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the weights that are in neither encoder."""
        encoders = {id(p) for p in self.encoder_parameters()}
        yield from (p for p in self.parameters() if id(p) not in encoders)

    def forward(self, views: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """Return logits (N, classes, H, W) of (N, 3, H, W), or of the first of two views (equations 1 to 8).

        Raises
        ------
        ValueError
            When there is one view and the variant needs two, or the other way round, or the two are not as
            many images.
        """
        fine, context = self._views(views)
        height, width = fine.shape[-2:]
        fine = pad_to_multiple(fine, _STRIDE)
        a_levels = self._levels(self.encoder, fine)
        b_levels = None if self.context_encoder is None else self._levels(self.context_encoder, context)
        b = x = None
        for level in _LEVELS:
            a = self.get_submodule(f"adapt_{level}")(a_levels[level - 1])
            if b_levels is not None:
                b = self.get_submodule(f"adapt_context_{level}")(b_levels[level - 1])
            x = self.get_submodule(f"refine_{level}")(self._fuse(level, a, b, x))
        logits = self.classify(self.dropout(x))
        logits = F.interpolate(logits, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    def _views(self, views: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if isinstance(views, Tensor):
            if self.variant == "dual":
                raise ValueError("the dual network takes two views, (fine, context), not one image")
            return views, views
        if self.variant == "single":
            raise ValueError(f"the single-input network takes one image, not {len(views)} views")
        if len(views) != 2:
            raise ValueError(f"the network takes two views, (fine, context), not {len(views)}")
        fine, context = views
        if fine.shape[0] != context.shape[0]:
            raise ValueError(
                f"each fine view needs its context, not {context.shape[0]} of them for {fine.shape[0]}"
            )
        return fine, context

    def _levels(self, encoder: ResNet, image: Tensor) -> Sequence[Tensor]:
        level1, level2, level3, level4 = encoder.levels(image)
        return level1, level2, self.dropout(level3), self.dropout(level4)

    def _fuse(self, level: int, a: Tensor, b: Tensor | None, x: Tensor | None) -> Tensor:
        """Join A', B' and X, of which the last two may be missing, to Y on the grid of A'."""
        if b is None and x is None:
            return a
        if self.fusion == "concat":
            joined: Tensor = self.get_submodule(f"concat_{level}")(*_given(a, b, x))
            return joined
        if self.fusion == "attention":
            x = None if x is None else to_grid_of(a, x)
            gate = self.get_submodule(f"gate_{level}")(*_given(a, b, x))
            refined: Tensor = self.get_submodule(f"refined_{level}")(a * gate[:, :, None, None])
            return refined + (a if x is None else x)
        y = a
        for other in _given(b, x):
            y = y + to_grid_of(a, other)
        return F.relu(y, inplace=True) if self.context_encoder is None else y


def _given(*features: Tensor | None) -> list[Tensor]:
    return [x for x in features if x is not None]


def _adapt(inputs: int, width: int, size: int, *, light: bool, relu: bool) -> nn.Sequential:
    """Reduce the channels of an encoder's level to the decoder's width, and adapt them to their new task."""
    last: list[nn.Module] = [nn.ReLU(inplace=True)] if relu else []
    if light:
        return nn.Sequential(SimpleResidualBlock(inputs, width // 2, width), *last)
    return nn.Sequential(
        conv(inputs, width, size),
        ResidualConvUnit(width),
        ResidualConvUnit(width),
        *(last or [conv(width, width, size)]),
    )
