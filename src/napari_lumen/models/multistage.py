"""Multi-stage classification of slides by semantic segmentation (Takahama et al., ICCV 2019).

A feature extractor turns each patch of a slide into a short vector; the vectors, laid out as the patches
lie on the slide, are the image that a U-Net segments (Fig. 2 of the paper). Section numbers in the
comments are those of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.errors import ModelError
from napari_lumen.models.arguments import check_counts
from napari_lumen.models.attention import AttentionPoint, at_least_single, channel_norm, mark_attention
from napari_lumen.models.feature_extractor import FeatureExtractor
from napari_lumen.models.feature_map import FeatureMap, lay_out
from napari_lumen.models.googlenet import IMAGENET_MEAN, IMAGENET_STD
from napari_lumen.models.receptive_field import Field, field_of
from napari_lumen.models.unet import UNet

_ENCODERS = ("googlenet", "resnet18")
_VARIANTS = ("end_to_end", "classifier", "segmentation", "imagenet")
_CLASSES = 2  # normal, tumour
_STRIDE = 16  # of the U-Net: maps of free size have sides that are multiples of it


def tumour_probability(logits: Tensor) -> Tensor:
    """Return the softmax of class 1, (N, 2, h, w) to (N, 1, h, w) in float32 at least."""
    return logits.softmax(dim=1, dtype=at_least_single(logits))[:, 1:]


class MultiStage(nn.Module):
    """Multi-stage model: a feature extractor for patches and a U-Net for the map of their vectors.

    Parameters
    ----------
    encoder : {"googlenet", "resnet18"}
    encoder_width : int
        Channels that ResNet-18 begins with; less than its 64 is for small machines. GoogLeNet has one width.
    variant : {"end_to_end", "classifier", "segmentation", "imagenet"}
        ``end_to_end``: the whole model without f_n; Separate Learning trains the same network.
        ``classifier``: the feature extractor with f_n alone, the first stage of Separate Learning and the
        baseline Classification Only; its weights fit the whole model but for ``extractor.head``.
        ``segmentation``: a U-Net on the reduced image, the baseline Segmentation Only.
        ``imagenet``: the encoder as `pretrained` leaves it, frozen, and a U-Net on its pooled output.
    map_size : int or None
        Cells along a side of a map: 32 for biopsies, one map a lump of tissue, and 512 for lymph nodes in
        the paper; None for maps as large as the tissue asks.
    features : int
        Length of a patch's vector.
    width : int
        Channels of the U-Net's first level.
    patch : int
        Side of a patch in pixels: one cell of the map.
    crop : int
        Side of the middle of a patch that the extractor sees in `forward`.
    mini_batch : int
        Patches that `forward` extracts at a time, which bounds its memory (section 3.2.2); the result is
        the same for any number. An extractor in training mode sees all at once, for its batch statistics.
    pretrained : str, path or None
        File or URL of the encoder's weights, see `load_pretrained`.

    Notes
    -----
    Input (N, 3, H, W), any H and W, normalised by ImageNet's mean and deviation whatever the encoder: a
    field of view, of which every patch counts as tissue. The patches at its lower and right edges are
    filled up with white. Output (N, 2, H, W) logits of normal and tumour, constant over each patch but in
    ``segmentation``. Fields of view with sides of many patches show the U-Net the surroundings that it is
    for; one larger than `map_size` enlarges the map. In training the batch normalisation of the U-Net needs
    more than one value a channel at its bottleneck: two fields of view, or one of more than 16 patches a
    side. Can be exported for fixed H and W, with all patches extracted at once; `assemble` depends on its
    data and cannot.

    Runs over slides go through `patch_features` and `classify`. Training goes through `features`,
    `assemble` and `segment`, through which gradients flow: with
    ``g = dL/dx`` of the vectors x, the gradient of ``(g * x).sum()`` by the extractor's weights is that of
    L (equations 2 to 4), one mini-batch after the other.

    Recorded: ``feature_norm`` and ``tumour_prob``, a value a cell. A third map, the norm of the gradient,
    needs a loss and comes from `grad_norm`.
    """

    task: ClassVar[str] = "segmentation"
    view_count = 1
    tasks: tuple[str, ...] = ("segmentation", "slide")

    def __init__(
        self,
        *,
        encoder: str = "googlenet",
        encoder_width: int = 64,
        variant: str = "end_to_end",
        map_size: int | None = None,
        features: int = 16,
        width: int = 64,
        patch: int = 256,
        crop: int = 224,
        mini_batch: int = 64,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        if encoder not in _ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(_ENCODERS)}, not {encoder!r}")
        if variant not in _VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(_VARIANTS)}, not {variant!r}")
        check_counts(map_size=map_size, features=features, mini_batch=mini_batch, patch=patch, crop=crop)
        if encoder == "googlenet" and encoder_width != 64:
            raise ValueError(f"encoder_width is of resnet18; googlenet has one width, not {encoder_width}")
        if crop > patch:
            raise ValueError(f"crop must be from 1 to the side of a patch, {patch}, not {crop}")
        self.variant, self.map_size = variant, map_size
        self.patch, self.crop, self.mini_batch = patch, crop, mini_batch
        self.extractor: FeatureExtractor | None = None
        self.segmenter: UNet | None = None
        self.feature_norm, self.tumour_prob = AttentionPoint(), AttentionPoint()
        if variant == "segmentation":
            self.tasks = ("segmentation",)
            if pretrained is not None:
                raise ValueError("pretrained is the encoder's, and the variant segmentation has none")
            self.segmenter = UNet(classes=_CLASSES, width=width)
        else:
            self.extractor = FeatureExtractor(
                encoder,
                None if variant == "imagenet" else features,
                _CLASSES if variant == "classifier" else None,
                pretrained,
                encoder_width,
            )
            mark_attention(
                self.feature_norm,
                "spatial",
                "Length of the vector of each patch.",
                (0.0, math.inf),
                display="min-max",
                reduce=channel_norm,
                stride=patch,
            )
            if variant == "imagenet":
                self.extractor.requires_grad_(False).eval()
            if variant != "classifier":
                inputs = self.extractor.width
                self.segmenter = UNet(inputs=inputs, classes=_CLASSES, width=width, padding="zero")
        mark_attention(
            self.tumour_prob,
            "spatial",
            "Probability of tumour of each patch.",
            reduce=tumour_probability,
            stride=1 if variant == "segmentation" else patch,
        )
        white = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
        self._white: Tensor
        self.register_buffer("_white", white.view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> MultiStage:
        """Set the training mode, in which a frozen extractor keeps its statistics."""
        super().train(mode)
        if self.extractor is not None and self.variant == "imagenet":
            self.extractor.eval()
        return self

    def features(self, patches: Tensor) -> Tensor:
        """Return the vectors x (N, features) of patches (N, 3, h, w), no value below 0."""
        if self.extractor is None:
            raise ModelError(f"The variant {self.variant!r} of multistage has no feature extractor.")
        vectors: Tensor = self.extractor(patches)
        return vectors

    def features_checksum(self) -> str:
        """Return the SHA-256 of all that decides the vector of a patch: weights and what is seen of it."""
        if self.extractor is None:
            raise ModelError(f"The variant {self.variant!r} of multistage has no feature extractor.")
        return self.extractor.checksum(f"{self.patch} {self.crop}")

    def patch_features(self, patches: Tensor) -> Tensor:
        """Return the vectors x (N, features) of whole patches (N, 3, patch, patch), seen in their middle."""
        return self.features(self._cropped_patches(patches, 1, 1))

    def patch_logits(self, patches: Tensor) -> Tensor:
        """Return the logits (N, 2) that f_n gives patches (N, 3, h, w) one by one."""
        if self.extractor is None or self.extractor.head is None:
            raise ModelError(
                f"The variant {self.variant!r} of multistage has no classifier of patches; build "
                "variant='classifier'."
            )
        logits: Tensor = self.extractor.head(self.features(patches))
        return logits

    def assemble(self, features: Tensor, cells: Tensor, shape: tuple[int, int] | None = None) -> FeatureMap:
        """Lay out vectors as their patches lie on the slide, the box around them centred (section 3.1).

        The gradient of the map reaches the vectors. One map a slide, or one a lump of tissue, see `lumps`.

        Parameters
        ----------
        features : Tensor
            (N, C), one vector a patch.
        cells : Tensor
            (N, 2) integers, row and column of each patch in the slide's grid; no two patches share one.
        shape : (int, int), optional
            Rows and columns of the map; by default `map_size`, and without one the smallest multiples of
            16 that hold all patches.

        Raises
        ------
        ValueError
            When there is no patch, not one cell a vector, or two patches share one.

        Warns
        -----
        UserWarning
            When the patches do not fit: the map is then the middle of their box.
        """
        if shape is None and self.map_size is not None:
            shape = (self.map_size, self.map_size)
        return lay_out(features, cells, shape, multiple=_STRIDE)

    def classify(self, features: Tensor, cells: Tensor) -> tuple[FeatureMap, Tensor]:
        """Classify the patches of a slide, or of a lump of it, by their vectors.

        Parameters
        ----------
        features, cells : Tensor
            As of `assemble`; the map holds all patches, whatever `map_size` is.

        Returns
        -------
        laid_out : FeatureMap
            Where the patches lie on the map.
        logits : Tensor
            (1, 2, rows, columns). The variant ``classifier`` looks at each vector by itself.
        """
        extent = (cells.amax(dim=0) - cells.amin(dim=0) + 1).tolist()
        laid_out = self.assemble(features, cells, self._map_shape(*extent))
        if self.extractor is None or self.extractor.head is None:
            return laid_out, self.segment(laid_out.values)
        vectors: Tensor = self.feature_norm(laid_out.values)
        scores: Tensor = self.extractor.head(vectors.permute(0, 2, 3, 1))
        logits: Tensor = self.tumour_prob(scores.permute(0, 3, 1, 2))
        return laid_out, logits

    def grad_norm(
        self, features: Tensor, cells: Tensor, loss: Callable[[FeatureMap, Tensor], Tensor]
    ) -> Tensor:
        """Return how strongly a loss pulls at the vector of each patch: the length of dL/dx in its cell.

        A map to debug End-to-End learning by: cells without a gradient teach the extractor nothing. No
        weight's gradient is changed.

        Parameters
        ----------
        features, cells : Tensor
            As of `classify`.
        loss : callable
            Takes what `classify` returns, and gives a scalar.

        Returns
        -------
        Tensor
            float32 (1, 1, rows, columns), laid out as by `classify`; 0 where there is no patch.
        """
        with torch.enable_grad():
            vectors = features.detach().requires_grad_()
            laid_out, logits = self.classify(vectors, cells)
            (gradient,) = torch.autograd.grad(loss(laid_out, logits), vectors)
        rows, columns = laid_out.values.shape[-2:]
        return channel_norm(self.assemble(gradient, cells, (rows, columns)).values)

    def receptive_field(self) -> Field | None:
        """Return what of a field of view an output depends on; None where it is that of the U-Net alone.

        The middle of one patch, or of those of all cells that the U-Net sees.
        """
        if self.extractor is None:
            return None
        cells = 1
        if self.segmenter is not None:
            # the width of a U-Net has no part in its field
            cells = field_of(UNet(inputs=1, width=1).eval(), torch.zeros(1, 1, 2 * _STRIDE, 2 * _STRIDE)).size
        return Field(float(self.patch), 0.0, float((cells - 1) * self.patch + self.crop - 1))

    def segment(self, feature_map: Tensor) -> Tensor:
        """Return the logits (N, 2, rows, columns) of maps (N, C, rows, columns)."""
        if self.segmenter is None:
            raise ModelError(f"The variant {self.variant!r} of multistage has no network for maps.")
        logits: Tensor = self.tumour_prob(self.segmenter(self.feature_norm(feature_map)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 2, H, W) of fields of view (N, 3, H, W)."""
        if self.extractor is None:
            return self.segment(x)
        count, _, height, width = x.shape
        rows, columns = -(-height // self.patch), -(-width // self.patch)
        vectors = self._in_mini_batches(self.extractor, self._cropped_patches(x, rows, columns))
        grid = vectors.view(count, rows, columns, self.extractor.width)
        cells = self.feature_norm(grid.permute(0, 3, 1, 2))
        if self.extractor.head is not None:
            scores: Tensor = self.extractor.head(grid)
            logits = scores.permute(0, 3, 1, 2)
        else:
            logits = self._segment_in_the_middle(cells)
        logits = self.tumour_prob(logits)
        return F.interpolate(logits, scale_factor=float(self.patch))[..., :height, :width]

    def _cropped_patches(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """Return the middles of the patches of (N, 3, H, W), row by row, (N rows columns, 3, crop, crop)."""
        count, channels, height, width = x.shape
        if (height, width) != (rows * self.patch, columns * self.patch):
            filled = self._white.to(x.dtype).repeat(count, 1, rows * self.patch, columns * self.patch)
            filled[..., :height, :width] = x
            x = filled
        middle = slice((self.patch - self.crop) // 2, (self.patch + self.crop) // 2)
        grid = x.view(count, channels, rows, self.patch, columns, self.patch)
        crops = grid[:, :, :, middle, :, middle].permute(0, 2, 4, 3, 5, 1)
        # channels last, since they are copied anyhow: the encoders' convolutions are faster so
        return crops.reshape(-1, self.crop, self.crop, channels).contiguous().permute(0, 3, 1, 2)

    def _in_mini_batches(self, extractor: FeatureExtractor, patches: Tensor) -> Tensor:
        # an exported program would hold the number of batches that there were in the example; without
        # values nothing takes memory
        at_once = extractor.training or torch.compiler.is_exporting() or patches.is_meta
        if at_once or patches.shape[0] <= self.mini_batch:
            vectors: Tensor = extractor(patches)
            return vectors
        return torch.cat([extractor(batch) for batch in torch.split(patches, self.mini_batch)])

    def _segment_in_the_middle(self, cells: Tensor) -> Tensor:
        """Segment cells (N, C, rows, columns) where `assemble` would lay them out; (N, 2, rows, columns)."""
        assert self.segmenter is not None  # all variants without f_n have it
        rows, columns = cells.shape[-2:]
        tall, wide = self._map_shape(rows, columns)
        top, left = (tall - rows) // 2, (wide - columns) // 2
        feature_map = F.pad(cells, (left, wide - columns - left, top, tall - rows - top))
        logits: Tensor = self.segmenter(feature_map)
        return logits[..., top : top + rows, left : left + columns]

    def _side(self, cells: int) -> int:
        """Return the side of a map for tissue of so many cells."""
        return self.map_size or -(-cells // _STRIDE) * _STRIDE

    def _map_shape(self, rows: int, columns: int) -> tuple[int, int]:
        """Return the sides of a map that holds tissue of so many cells, all of it."""
        return max(self._side(rows), rows), max(self._side(columns), columns)
