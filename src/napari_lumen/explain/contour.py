"""Where a map lies above a value: outlines, and annotations made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import shapely
from scipy.ndimage import distance_transform_edt
from shapely import Polygon
from shapely.geometry.base import BaseGeometry
from skimage.measure import find_contours

from napari_lumen.annotations.classes import Color
from napari_lumen.annotations.polygonise import polygonise
from napari_lumen.annotations.shapes import Annotation, Source
from napari_lumen.geometry import Grid, Pair, Region

Values = npt.NDArray[np.floating[Any]]
Edges = Literal["cells", "interpolated"]


def contour(
    values: Values, grid: Grid, threshold: float, edges: Edges = "cells", within: Region | None = None
) -> tuple[Polygon, ...]:
    """Outline where a map is at least a value.

    Parameters
    ----------
    values : ndarray (h, w)
        NaN lies outside.
    grid : Grid
        Where its cells lie, level-0 px.
    threshold : float
    edges : {"cells", "interpolated"}
        ``cells``: along the edges of cells, so that the area is that of the cells, exactly.
        ``interpolated``: where values, changing evenly between the middles of cells, reach the threshold
        (marching squares, Lorensen and Cline 1987); it ends at the edges of the map and of NaN.
    within : Region, optional
        Where outlines end, level-0 px; see `RunMap.within`.

    Returns
    -------
    tuple of Polygon
        (x, y) in level-0 px, with holes.
    """
    above = np.isfinite(values) & (values >= threshold)
    if edges == "cells" or not above.any():
        found = [outline for _, outline in polygonise(above, origin=grid.origin, step=grid.step)]
        return tuple(found) if within is None else _cut(found, within)
    filled = _mirrored(np.asarray(values, np.float64), threshold)
    lines = []
    for line in find_contours(filled, threshold):
        # the frame is one cell wide, and indices are of the middles of cells
        y = grid.origin[0] + (line[:, 0] - 0.5) * grid.step[0]
        x = grid.origin[1] + (line[:, 1] - 0.5) * grid.step[1]
        if len(line) > 3:
            lines.append(shapely.linestrings(x, y))
    areas = shapely.get_parts(shapely.build_area(shapely.multilinestrings(lines))) if lines else []
    found = [area for area in areas if area.area > 0]
    return tuple(found) if within is None else _cut(found, within)


def _cut(outlines: Sequence[Polygon], within: Region) -> tuple[Polygon, ...]:
    """Cut outlines at the edges of a region."""
    frame = shapely.box(within.x, within.y, within.right, within.bottom)
    parts = shapely.get_parts(shapely.intersection(np.array(outlines, object), frame))
    return tuple(part for part in parts if isinstance(part, Polygon) and part.area > 0)


def _mirrored(values: Values, threshold: float) -> Values:
    """Frame a map, and fill it where it has no number, so that the threshold is met at the edges of cells.

    Half-way between the middles of a cell above it and of one mirrored at it, which is the edge between.
    """
    framed = np.pad(values, 1, constant_values=np.nan)
    missing = ~np.isfinite(framed)
    nearest = framed[tuple(distance_transform_edt(missing, return_distances=False, return_indices=True))]
    low = np.where(nearest > threshold, 2 * threshold - nearest, nearest)
    tiny = np.finfo(np.float64).eps * max(1.0, abs(threshold)) * 4  # equal to it counts as above
    low = np.where(nearest == threshold, threshold - tiny, low)
    filled: Values = np.where(missing, low, np.where(framed == threshold, threshold + tiny, framed))
    return filled


def area_mm2(outlines: Sequence[BaseGeometry], mpp: Pair) -> float:
    """Return the area of outlines in level-0 px, mm²."""
    return float(sum(outline.area for outline in outlines)) * mpp[0] * mpp[1] / 1e6


def to_annotations(
    outlines: Sequence[Polygon],
    *,
    model: str,
    run: str | None,
    title: str,
    threshold: float,
    mpp: Pair,
    class_name: str | None = None,
    color: Color | None = None,
    least_um2: float = 0.0,
) -> tuple[Annotation, ...]:
    """Make annotations of outlines, which say the model and the run that they come from.

    Parameters
    ----------
    outlines : sequence of Polygon
        See `contour`.
    model : str
    run : str or None
        Name of the run; None of a single field.
    title : str
        Of the map.
    threshold : float
    mpp : (float, float)
        µm per level-0 px.
    class_name : str, optional
    color : (int, int, int), optional
        Of the class.
    least_um2 : float
        Smaller outlines are left out.
    """
    um2 = mpp[0] * mpp[1]
    return tuple(
        Annotation(
            outline,
            class_name,
            color,
            name=f"{title} ≥ {threshold:.4g}",
            measurements={"Area µm^2": float(outline.area * um2), "Threshold": float(threshold)},
            source=Source(model=model, run=run),
        )
        for outline in outlines
        if outline.area * um2 >= least_um2
    )
