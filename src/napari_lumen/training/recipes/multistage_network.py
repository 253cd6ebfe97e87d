"""The multi-stage model while it is trained: with f_n, which only the first phase needs."""

from __future__ import annotations

from torch import Tensor, nn

from napari_lumen.models.feature_extractor import FeatureExtractor
from napari_lumen.models.multistage import MultiStage
from napari_lumen.models.unet import UNet

_CLASSES = 2


class MultiStageInTraining(nn.Module):
    """A model with the classifier of patches beside it, so that both are in every checkpoint.

    Parameters
    ----------
    model : MultiStage
        What is kept in the end; of the variant ``classifier`` f_n is a part of it.
    """

    def __init__(self, model: MultiStage) -> None:
        super().__init__()
        self.model = model
        self.f_n: nn.Linear | None = None
        if model.variant == "end_to_end":
            self.f_n = nn.Linear(self.extractor.width, _CLASSES)

    @property
    def extractor(self) -> FeatureExtractor:
        """The first stage."""
        assert self.model.extractor is not None
        return self.model.extractor

    @property
    def segmenter(self) -> UNet:
        """The second stage."""
        assert self.model.segmenter is not None
        return self.model.segmenter

    def classify_patches(self, vectors: Tensor) -> Tensor:
        """Return the logits (N, 2) of patches by their vectors (N, C)."""
        head = self.extractor.head if self.f_n is None else self.f_n
        assert head is not None
        logits: Tensor = head(vectors)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Return what the model says of fields of view."""
        logits: Tensor = self.model(x)
        return logits
