"""A folder that holds a study together: slides, annotations, corrections, runs, models and classes."""

from __future__ import annotations

from napari_lumen.project.agreement import Agreement, agreement
from napari_lumen.project.project import Project
from napari_lumen.project.record import (
    AnnotationEntry,
    ProjectRecord,
    ScoreEntry,
    SlideEntry,
)
from napari_lumen.project.standing import SlideStanding

__all__ = [
    "Agreement",
    "AnnotationEntry",
    "Project",
    "ProjectRecord",
    "ScoreEntry",
    "SlideEntry",
    "SlideStanding",
    "agreement",
]
