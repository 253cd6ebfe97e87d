"""Boxes that a network laid around what it looked at, on the slide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.geojson import read_geojson
from napari_lumen.explain.titles import full_title
from napari_lumen.plugin.layers import KEY, MICROMETRES, PLACED, LayerData, run_facts

if TYPE_CHECKING:
    from napari_lumen.annotations.shapes import Annotation
    from napari_lumen.inference.run import FileRecord, Run

_MOST = 5_000  # boxes that are drawn: napari takes 10,000 shapes at most without waiting
_SCORE = "Score"
_SHARE, _THINNEST = 250, 0.25  # of a box's longer side: the width of its lines; px
_UNKNOWN = (128, 128, 128)


def box_layers(run: Run, stem: str) -> list[LayerData]:
    """Return a layer of rectangles for each file of boxes of a run, those with the best scores if many.

    Parameters
    ----------
    run : Run
    stem : str
        Starts the layers' names.
    """
    found = [_layer(run, file, stem) for file in run.record.files if file.kind == "boxes"]
    return [layer for layer in found if layer is not None]


def _layer(run: Run, file: FileRecord, stem: str) -> LayerData | None:
    every = read_geojson(run.path / file.path)
    boxes = sorted(every, key=lambda box: -box.measurements[_SCORE])[:_MOST]
    if not boxes:
        return None
    corners = [_corners(box) for box in boxes]
    title = full_title(file.name)
    if len(boxes) < len(every):
        title += f" (best {len(boxes):,} of {len(every):,})"
    mpp = run.record.mpp
    facts = {
        **run_facts(run),
        "kind": "boxes",
        "raster": file.name,
        "description": file.description,
        PLACED: (mpp, (0.0, 0.0)),
    }
    return (
        corners,
        {
            "name": f"{stem} · {title}",
            "shape_type": "rectangle",
            "edge_color": np.array([(*(box.color or _UNKNOWN), 255) for box in boxes]) / 255,
            "face_color": "transparent",
            "edge_width": box_widths(corners),
            "features": {
                "class": [box.class_name or "" for box in boxes],
                "score": [box.measurements[_SCORE] for box in boxes],
            },
            "scale": mpp,
            "units": MICROMETRES,
            "metadata": {KEY: facts},
        },
        "shapes",
    )


def box_widths(corners: Sequence[npt.NDArray[np.float64]]) -> list[float]:
    """Return how thick the lines of boxes are (px): a pixel or two of the screen where one fills the view.

    What they mark has a border of its own, which they must not cover.
    """
    return [max(float(np.ptp(one, axis=0).max()) / _SHARE, _THINNEST) for one in corners]


def _corners(box: Annotation) -> npt.NDArray[np.float64]:
    """Return the upper left and the lower right corner, (y, x); napari counts from the middle of a pixel."""
    left, top, right, bottom = box.geometry.bounds
    return np.array([(top, left), (bottom, right)]) - 0.5
