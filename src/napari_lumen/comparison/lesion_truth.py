"""The lesions of a slide, of outlines or of a mask, as CAMELYON16 counts them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from napari_lumen.annotations.camelyon import CAMELYON_CLASSES, camelyon
from napari_lumen.annotations.formats import read_annotations
from napari_lumen.annotations.rasterise import rasterise
from napari_lumen.comparison.detections import Detections
from napari_lumen.comparison.outlines import OUTLINE_SUFFIXES
from napari_lumen.errors import AnnotationError, first_line
from napari_lumen.evaluation.lesions import Lesions, find_lesions
from napari_lumen.geometry import Grid
from napari_lumen.inference.stored_picture import read_reduced

MPP = 0.243  # µm per level-0 pixel of CAMELYON16
_LESION_MPP = MPP * 32  # at which the challenge counts lesions: level 5 of its masks
_MASKS = (".tif", ".tiff", ".png")
_MARGIN_UM = 100.0  # lesions are grown before they are counted


def truths_in(place: Path) -> dict[str, Path]:
    """Return the files of truth by the name of the slide.

    Raises
    ------
    AnnotationError
        When there is none, or a slide has two.
    """
    if not place.exists():
        raise AnnotationError(f"{place} is not there.")
    found: dict[str, Path] = {}
    for path in [place] if place.is_file() else sorted(place.iterdir()):
        suffix = next((end for end in OUTLINE_SUFFIXES + _MASKS if path.name.lower().endswith(end)), None)
        if suffix is None or path.name.startswith("."):
            continue
        name = path.name[: -len(suffix)]
        name = name[:-5] if name.lower().endswith("_mask") else name
        if name in found:
            raise AnnotationError(f"{place} holds {found[name].name} and {path.name}: which is meant?")
        found[name] = path
    if not found:
        raise AnnotationError(f"{place} holds neither outlines (XML, GeoJSON) nor masks (TIFF, PNG).")
    return found


def lesions_of(
    path: Path | None, detections: Detections, mpp: float, mask_mpp: float | None
) -> tuple[Lesions, float]:
    """Return the lesions of a slide, and level-0 pixels per pixel of them.

    Parameters
    ----------
    path : Path or None
        Outlines or a mask; None for a slide without tumour.
    detections : Detections
        The lesions' pixels reach as far as these.
    mpp : float
        µm per level-0 pixel of the slide.
    mask_mpp : float, optional
        µm per pixel of the finest level of a mask, where it is another.

    Raises
    ------
    AnnotationError
        When the file cannot be used.
    """
    if path is None:
        step = _LESION_MPP / mpp
        return find_lesions(np.zeros(_reach(detections, step), bool), _LESION_MPP), step
    if path.name.lower().endswith(OUTLINE_SUFFIXES):
        step = _LESION_MPP / mpp
        return find_lesions(_painted(path, detections, step, mpp), _LESION_MPP), step
    finest = mask_mpp or mpp
    try:
        mask, reduced = read_reduced(path, max(1.0, _LESION_MPP / finest))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"Cannot read {path}: {first_line(error)}.") from error
    if mask.values.ndim != 2:
        raise AnnotationError(f"{path} is no mask: it has the axes {mask.axes}. Give one channel, 0 outside.")
    more = max(1, round(_LESION_MPP / (finest * reduced)))  # of a file without that level
    there = mask.values[more // 2 :: more, more // 2 :: more] != 0
    return find_lesions(there, finest * reduced * more), finest * reduced * more / mpp


def _painted(path: Path, detections: Detections, step: float, mpp: float) -> npt.NDArray[np.bool_]:
    """Return where outlines are tumour, from the slide's corner to beyond all that matters."""
    annotations = read_annotations(path)
    outlines = camelyon(annotations)
    if annotations and not outlines:
        raise AnnotationError(
            f"No outline of {path} is of a group of CAMELYON or of the class tumour, so there is no lesion."
        )
    right, bottom = 0.0, 0.0
    if outlines:
        _, _, right, bottom = shapely.total_bounds([item.geometry for item in outlines])
    height, width = _reach(detections, step)
    margin = _MARGIN_UM / mpp
    shape = max(height, math.ceil((bottom + margin) / step)), max(width, math.ceil((right + margin) / step))
    grid = Grid(shape, (step, step))
    return np.asarray(rasterise(outlines, grid, CAMELYON_CLASSES) == CAMELYON_CLASSES["tumour"].value)


def _reach(detections: Detections, step: float) -> tuple[int, int]:
    """Return the size of a mask that holds all detections."""
    if not len(detections.points):
        return 1, 1
    bottom, right = detections.points.max(axis=0) / step
    return max(1, math.floor(bottom) + 1), max(1, math.floor(right) + 1)
