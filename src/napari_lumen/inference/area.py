"""The part of a slide that a file says to run on: shapes, or a mask."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.geojson import read_geojson
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid
from napari_lumen.inference.tissue import mask_geometry
from napari_lumen.slides import Slide, open_slide

_SHAPES = (".geojson", ".json", ".geojson.gz", ".json.gz", ".zip")
_MOST_PIXELS = 100_000_000  # of a mask: finer ones have a coarser level, or say no more


def read_area(path: str | os.PathLike[str], slide: Slide) -> BaseGeometry:
    """Return what `predict` takes as a region of what a file outlines.

    Parameters
    ----------
    path : path
        Shapes as QuPath writes them (GeoJSON, in level-0 px), or a picture of the whole slide at any size
        that is 0 outside.
    slide : Slide
        That it is of.

    Returns
    -------
    shapely geometry
        (x, y) in level-0 px.

    Raises
    ------
    AnnotationError, SlideError
        When the file cannot be read.
    RunError
        When it outlines nothing, or is no picture of this slide.
    """
    path = Path(path)
    if path.name.lower().endswith(_SHAPES):
        outlines = [annotation.geometry for annotation in read_geojson(path)]
        area = shapely.union_all([shapely.make_valid(outline) for outline in outlines])
    else:
        area = _mask_area(path, slide)
    if area.area == 0:
        raise RunError(f"{path} outlines no area. Give closed shapes, or a mask that is not 0 everywhere.")
    return area


def _mask_area(path: Path, slide: Slide) -> BaseGeometry:
    with open_slide(path) as picture:
        coarse = [index for index, level in enumerate(picture.levels) if np.prod(level.shape) <= _MOST_PIXELS]
        if not coarse:
            raise RunError(f"{path} is too large for a mask. Save it at a tenth of its size.")
        shape = picture.levels[coarse[0]].shape
        mask = np.any(picture.read(0, 0, *shape, level=coarse[0]), axis=-1)
    step = (slide.shape[0] / shape[0], slide.shape[1] / shape[1])
    if not 0.98 < step[0] / step[1] < 1.02:
        raise RunError(
            f"{path} is no mask of {slide.path.name}: its height and width, {shape[0]} x {shape[1]} px, have "
            f"another ratio than those of the slide, {slide.shape[0]} x {slide.shape[1]}."
        )
    return mask_geometry(np.asarray(mask), Grid(shape, step))
