"""Losses, on logits, with the equations of their papers; each a scalar of float32 or more, at least 0."""

from __future__ import annotations

from napari_lumen.training.losses.adaptive_logarithmic import (
    adaptive_logarithmic_hybrid,
    balanced_cross_entropy,
    tversky_loss,
)
from napari_lumen.training.losses.exponential_logarithmic import (
    exponential_logarithmic,
    exponential_logarithmic_sigmoid,
)
from napari_lumen.training.losses.masked import count_labelled, masked_cross_entropy
from napari_lumen.training.losses.two_term import global_share, two_term

__all__ = [
    "adaptive_logarithmic_hybrid",
    "balanced_cross_entropy",
    "count_labelled",
    "exponential_logarithmic",
    "exponential_logarithmic_sigmoid",
    "global_share",
    "masked_cross_entropy",
    "tversky_loss",
    "two_term",
]
