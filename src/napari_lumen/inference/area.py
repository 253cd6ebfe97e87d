"""The part of a slide that a file says to run on: shapes, or a mask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.geojson import read_geojson
from napari_lumen.errors import RunError, first_line
from napari_lumen.geometry import Grid
from napari_lumen.inference.stored_picture import PictureTooLargeError, read_picture
from napari_lumen.slides import Slide
from napari_lumen.tissue import Mask, mask_geometry

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
    AnnotationError
        When the shapes cannot be read.
    RunError
        When a mask cannot be read, the file outlines nothing, or the mask is not of this slide.
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
    mask = _mask(path)
    step = (slide.shape[0] / mask.shape[0], slide.shape[1] / mask.shape[1])
    if not 0.98 < step[0] / step[1] < 1.02:
        raise RunError(
            f"{path} is no mask of {slide.path.name}: its height and width, {mask.shape[0]} x "
            f"{mask.shape[1]} px, have another ratio than those of the slide, {slide.shape[0]} x "
            f"{slide.shape[1]}."
        )
    return mask_geometry(mask, Grid((mask.shape[0], mask.shape[1]), step))


def _mask(path: Path) -> Mask:
    """Return where the values of a picture, as they are stored, are not 0: their looks are no matter."""
    try:
        picture = read_picture(path, _MOST_PIXELS)
    except PictureTooLargeError as error:
        raise RunError(f"{path} is too large for a mask. Save it at a tenth of its size.") from error
    except (OSError, ValueError) as error:
        why = first_line(error)
        raise RunError(f"{path} cannot be read as a mask: {why}. Give a PNG or a TIFF.") from error
    values, axes = picture.values, picture.axes
    if "S" in axes:
        return _coloured(np.moveaxis(values, axes.index("S"), -1), has_alpha=picture.has_alpha)
    if values.ndim != 2:
        raise RunError(f"{path} is no mask: it has the axes {axes}. Give one picture, (height, width).")
    return np.asarray(values != 0, bool)


def _coloured(values: npt.NDArray[Any], *, has_alpha: bool) -> Mask:
    if not has_alpha:
        return np.asarray(values.any(axis=-1), bool)
    return np.asarray(values[..., :-1].any(axis=-1) & (values[..., -1] > 0), bool)
