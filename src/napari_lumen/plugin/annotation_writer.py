"""File > Save: layers of annotations in the formats of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.omezarr import write_labels_over
from napari_lumen.annotations.polygonise import polygonise
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError
from napari_lumen.plugin.annotation_frame import Frame, current_frame, current_window
from napari_lumen.plugin.annotation_pyramid import SET
from napari_lumen.plugin.annotation_shapes import KIND, NO_CLASS, TABLE, annotations_of
from napari_lumen.plugin.keeping import note_named_kept
from napari_lumen.plugin.layers import KEY, LayerData

_LARGEST = 2**28  # pixels that are outlined at once
_OURS = {".geojson", ".json", ".gz", ".zip", ".xml", ".csv", ".zarr"}


def annotations_in(layers: Sequence[LayerData], frame: Frame) -> list[Annotation]:
    """Return what layers of Shapes, Points and Labels show, in level-0 pixels (x, y).

    Parameters
    ----------
    layers : sequence of (data, attributes, type)
    frame : Frame
        Of the slide that layers of the user's own lie on.

    Raises
    ------
    AnnotationError
        When labels are too large to be outlined at once.
    """
    found: list[Annotation] = []
    for layer in layers:
        if layer[2] == "labels":
            found += _labelled(layer, frame)
        else:
            found += annotations_of(layer, frame if frame.shape else None)
    return found


def table_of(layers: Sequence[LayerData]) -> ClassTable:
    """Return the classes of layers, those of the first first."""
    found = ClassTable(classes=())
    for _, attributes, _ in layers:
        facts = (attributes.get("metadata") or {}).get(KEY) or {}
        for item in facts.get(TABLE, ()) if SET not in facts else facts[SET].table:
            if item.name not in found:
                found = found.added(item.name, item.color, ignore=item.ignore)
    return found


def write_zarr(
    path: Path, found: Sequence[Annotation], frame: Frame, table: ClassTable | None = None
) -> None:
    """Write annotations as an OME-Zarr label image over their slide, as fine as 2^28 pixels allow.

    Raises
    ------
    AnnotationError
        When the folder is there, or there is nothing to write.
    """
    closed = [item for item in found if item.geometry.area > 0]
    if not closed:
        raise AnnotationError(f"{path} would be empty: nothing in the layers encloses an area.")
    right, bottom = np.max([item.geometry.bounds[2:] for item in closed], axis=0)
    shape = frame.shape or (int(np.ceil(bottom)), int(np.ceil(right)))
    write_labels_over(path, map(_named, closed), shape, frame.mpp, table)


def _named(item: Annotation) -> Annotation:
    return item if item.class_name is not None else replace(item, class_name="no class", color=NO_CLASS)


def _labelled(layer: LayerData, frame: Frame) -> list[Annotation]:
    data, attributes, _ = layer
    facts = (attributes.get("metadata") or {}).get(KEY) or {}
    if facts.get("kind") == KIND and SET in facts:
        annotations: list[Annotation] = facts[SET].annotations()
        return annotations
    finest = data[0] if attributes.get("multiscale") or isinstance(data, list | tuple) else data
    if finest.ndim != 2:
        raise AnnotationError(f'"{attributes.get("name")}" is not flat: save a layer of two dimensions.')
    if np.prod(finest.shape, dtype=np.int64) > _LARGEST:
        size = " x ".join(f"{side:,}" for side in reversed(finest.shape))
        raise AnnotationError(f'"{attributes.get("name")}" has {size} pixels, too many to outline at once.')
    scale, translate = (np.asarray(attributes.get(key, (1.0, 1.0))) for key in ("scale", "translate"))
    mpp, origin = np.array(frame.mpp), np.array(frame.origin)
    if not frame.shape:
        mpp, origin = scale, np.zeros(2)
    step = scale / mpp
    corner = (translate - origin) / mpp - (step - 1) / 2
    names, colors = _names(attributes), _colors(attributes)
    return [
        Annotation(outline, names.get(value, f"label {value}"), colors.get(value))
        for value, outline in polygonise(np.asarray(finest), origin=tuple(corner), step=tuple(step))
    ]


def _names(attributes: dict[str, Any]) -> dict[int, str]:
    features = attributes.get("features")
    if features is None or not {"index", "class"} <= set(features):
        return {}
    return {int(value): str(name) for value, name in zip(features["index"], features["class"], strict=True)}


def _colors(attributes: dict[str, Any]) -> dict[int, tuple[int, int, int]]:
    known = getattr(attributes.get("colormap"), "color_dict", None) or {}
    found = {}
    for value, color in known.items():
        if value:
            red, green, blue = (round(float(channel) * 255) for channel in color[:3])
            found[int(value)] = (red, green, blue)
    return found


def _write(format_name: str, path: str, layers: list[LayerData]) -> list[str]:
    frame, target = current_frame(), Path(path)
    found = annotations_in(layers, frame)
    if not found:
        raise AnnotationError(f"{path} was not written: the layers hold no annotations.")
    if format_name == "omezarr":
        write_zarr(target, found, frame, table_of(layers))
    else:
        write_annotations(target, found, format_name)
    viewer = current_window()
    if viewer is not None:
        note_named_kept(viewer.layers, (str(attributes.get("name")) for _, attributes, _ in layers))
    return [path]


write_geojson = partial(_write, "geojson")
write_asap = partial(_write, "asap")
write_imagescope = partial(_write, "imagescope")
write_csv = partial(_write, "csv")
write_omezarr = partial(_write, "omezarr")
