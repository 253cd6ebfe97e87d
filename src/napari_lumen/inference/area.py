"""The part of a slide that a file says to run on: shapes, or a mask."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import shapely
import tifffile
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.geojson import read_geojson
from napari_lumen.errors import RunError, first_line
from napari_lumen.geometry import Grid
from napari_lumen.inference.tissue import Mask, mask_geometry
from napari_lumen.slides import Slide

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
    mask = _mask_of_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _mask_of_picture(path)
    step = (slide.shape[0] / mask.shape[0], slide.shape[1] / mask.shape[1])
    if not 0.98 < step[0] / step[1] < 1.02:
        raise RunError(
            f"{path} is no mask of {slide.path.name}: its height and width, {mask.shape[0]} x "
            f"{mask.shape[1]} px, have another ratio than those of the slide, {slide.shape[0]} x "
            f"{slide.shape[1]}."
        )
    return mask_geometry(mask, Grid((mask.shape[0], mask.shape[1]), step))


def _mask_of_tiff(path: Path) -> Mask:
    """Return where the values of a TIFF, as they are stored, are not 0: what they look like is no matter."""
    try:
        with tifffile.TiffFile(path) as tiff:
            levels = tiff.series[0].levels
            level = next((item for item in levels if math.prod(item.shape) <= _MOST_PIXELS), None)
            if level is None:
                raise _too_large(path)
            values, axes = level.asarray(), level.axes
            has_alpha = bool(level.keyframe.extrasamples)
    except (OSError, ValueError, IndexError, tifffile.TiffFileError) as error:
        raise _unreadable(path, error) from error
    if "S" in axes:
        values = np.moveaxis(values, axes.index("S"), -1)
        return _coloured(values, has_alpha=has_alpha)
    if values.ndim != 2:
        raise RunError(f"{path} is no mask: it has the axes {axes}. Give one picture, (height, width).")
    return np.asarray(values != 0, bool)


def _mask_of_picture(path: Path) -> Mask:
    """Return where a picture has a value, of a palette the number, and is not clear."""
    try:
        with PIL.Image.open(path) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise _too_large(path)
            has_alpha = "A" in picture.getbands()
            values = np.asarray(picture)
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error
    return np.asarray(values != 0, bool) if values.ndim == 2 else _coloured(values, has_alpha=has_alpha)


def _coloured(values: npt.NDArray[Any], *, has_alpha: bool) -> Mask:
    if not has_alpha:
        return np.asarray(values.any(axis=-1), bool)
    return np.asarray(values[..., :-1].any(axis=-1) & (values[..., -1] > 0), bool)


def _too_large(path: Path) -> RunError:
    return RunError(f"{path} is too large for a mask. Save it at a tenth of its size.")


def _unreadable(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} cannot be read as a mask: {first_line(error)}. Give a PNG or a TIFF.")
