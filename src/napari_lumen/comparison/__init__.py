"""Predictions beside their truth, whatever files they are in, scored and reported."""

from __future__ import annotations

from napari_lumen.comparison.evaluate import evaluate

__all__ = ["evaluate"]
