"""Predictions beside their truth, whatever files they are in, scored and reported."""

from __future__ import annotations

from napari_lumen.comparison.asked import Drawn
from napari_lumen.comparison.boxes import evaluate_boxes
from napari_lumen.comparison.evaluate import evaluate
from napari_lumen.comparison.froc import evaluate_froc
from napari_lumen.comparison.slide import SlideEvaluation, evaluate_slide
from napari_lumen.comparison.stages import evaluate_stages

__all__ = [
    "Drawn",
    "SlideEvaluation",
    "evaluate",
    "evaluate_boxes",
    "evaluate_froc",
    "evaluate_slide",
    "evaluate_stages",
]
