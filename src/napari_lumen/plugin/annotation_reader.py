"""The reader of annotation files: on the slide in use, in µm, in the colours of their classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.classified import Classified
from napari_lumen.annotations.formats import looks_like_annotations, read_annotations
from napari_lumen.annotations.mending import Repair
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.plugin import notices
from napari_lumen.plugin.annotation_frame import Frame, current_frame
from napari_lumen.plugin.annotation_pyramid import pyramid_layer
from napari_lumen.plugin.annotation_shapes import is_dots, shape_layers
from napari_lumen.plugin.layers import LayerData
from napari_lumen.plugin.opening import PATIENCE
from napari_lumen.plugin.reader import from_a_gesture, or_sentence
from napari_lumen.plugin.together import joined

MOST_SHAPES = 10_000  # that napari draws and edits without waiting
_SUFFIXES = (".gz", ".zip", ".geojson", ".json", ".xml")


def napari_get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """Return the reader for a file of annotations, or None to leave it to another.

    Parameters
    ----------
    path : str or list of str
        What its beginning says counts: JSON and XML of other kinds are never ours.
    """
    paths = [path] if isinstance(path, str) else list(path)
    if len(paths) != 1 or not looks_like_annotations(Path(paths[0])):
        return None
    return _read


def annotation_layers(
    annotations: Sequence[Annotation], frame: Frame, name: str, table: ClassTable | None = None
) -> list[LayerData]:
    """Return the layers that show annotations; call it off the GUI thread.

    Up to 10,000 they are Shapes and Points that can be edited; more outlines are a Labels pyramid.

    Parameters
    ----------
    annotations : sequence of Annotation
        In level-0 pixels (x, y).
    frame : Frame
        Of the slide that they lie on.
    name : str
        Of the layers.
    table : ClassTable, optional
        Known classes; others are added in the colours of the annotations.

    Raises
    ------
    AnnotationError
        When there are more classes than can be told apart.
    """
    return joined(_layers_of(annotations, frame, name, table))


def _layers_of(
    annotations: Sequence[Annotation], frame: Frame, name: str, table: ClassTable | None
) -> list[LayerData]:
    found = Classified.of(annotations, table)
    found = found.with_table(found.table.with_keys())
    if len(annotations) <= MOST_SHAPES:
        return shape_layers(found.annotations(), frame, name, found.table)
    dots = [item for item in annotations if is_dots(item.geometry)]
    if dots:
        found = Classified.of([item for item in annotations if not is_dots(item.geometry)], found.table)
    layers = [pyramid_layer(found, frame, name)] if found.items else []
    return layers + (shape_layers(dots, frame, f"{name} · points", found.table) if dots else [])


def read_layers(path: Path, frame: Frame) -> tuple[list[LayerData], tuple[str, ...]]:
    """Return the layers of a file, and what had to be repaired in it, in sentences.

    Raises
    ------
    AnnotationError
        Nothing is shown of a file that cannot be read to its end.
    """
    repairs: list[Repair] = []
    found = read_annotations(path, on_repair=repairs.append)
    name = path.name
    while Path(name).suffix.lower() in _SUFFIXES:
        name = Path(name).stem
    return annotation_layers(found, frame, name or path.name), tuple(repair.what for repair in repairs)


def tell_repairs(path: Path, repairs: Sequence[str]) -> None:
    """Tell the user what was not read as it stood."""
    if repairs:
        more = "" if len(repairs) == 1 else f" And {len(repairs) - 1:,} more like it."
        notices.warn(f"{path.name}: {repairs[0]}{more}")


def _read(path: str | Sequence[str]) -> list[Any]:
    return or_sentence(_layers, Path(path if isinstance(path, str) else path[0]))


def _layers(path: Path) -> list[LayerData]:
    frame = current_frame()
    if from_a_gesture():
        from qtpy.QtWidgets import QApplication

        from napari_lumen.plugin.jobs import Jobs
        from napari_lumen.plugin.widgets.waiting import wait_for

        layers, repairs = wait_for(
            Jobs(PATIENCE),
            lambda emit, cancel: read_layers(path, frame),
            f"Reading {path.name} …",
            parent=QApplication.activeWindow(),
        )
    else:
        layers, repairs = read_layers(path, frame)
    tell_repairs(path, repairs)
    return layers
