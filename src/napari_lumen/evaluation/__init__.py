"""Scores, on arrays."""

from __future__ import annotations

from napari_lumen.evaluation.overlap import dice

__all__ = ["dice"]
