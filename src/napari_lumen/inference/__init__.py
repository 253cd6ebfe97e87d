"""Runs of a model over slides."""

from __future__ import annotations

from napari_lumen.inference.corrected_objects import export_corrected_objects
from napari_lumen.inference.live import Live
from napari_lumen.inference.object_table import export_objects
from napari_lumen.inference.predict import predict
from napari_lumen.inference.progress import Progress
from napari_lumen.inference.run import ClassCount, RasterRecord, Run, RunRecord
from napari_lumen.models.device import devices

__all__ = [
    "ClassCount",
    "Live",
    "Progress",
    "RasterRecord",
    "Run",
    "RunRecord",
    "devices",
    "export_corrected_objects",
    "export_objects",
    "predict",
]
