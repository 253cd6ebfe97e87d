"""Polygons with holes as one outline, for formats that know no holes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

Points = npt.NDArray[np.float64]
_TOUCHING = 1e-6  # px: a hole may touch the outline, where rounding may put it outside


def without_holes(polygon: Polygon) -> Polygon:
    """Join the holes of a polygon to its outline by cuts of no width: one ring around the same area.

    The cut leads from the leftmost point of a hole straight to the left, to the first edge there. Holes are
    taken from left to right, so that edge is of the outline or of a hole that is already joined to it. The
    ring runs each cut both ways and around holes in the other direction: filled by even-odd or by winding
    number, it is the polygon with its holes. `mending.valid` turns it back into that.

    Source: D. Eberly, Triangulation by Ear Clipping, section 3.
    """
    turned = shapely.orient_polygons(polygon)
    outline = shapely.get_coordinates(turned.exterior)
    holes = [shapely.get_coordinates(hole) for hole in turned.interiors]
    for hole in sorted(holes, key=lambda points: points[:, 0].min()):
        outline = _joined(outline, hole[:-1])
    return Polygon(outline)


def _joined(outline: Points, hole: Points) -> Points:
    first = int(hole[:, 0].argmin())
    around = np.concatenate([hole[first:], hole[: first + 1]])
    x, y = hole[first]
    start, end = outline[:-1], outline[1:]
    crossing = np.flatnonzero((start[:, 1] <= y) != (end[:, 1] <= y))
    (x0, y0), (x1, y1) = start[crossing].T, end[crossing].T
    at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    nearest = np.where(at <= x + _TOUCHING, at, -np.inf).argmax()
    cut = np.array([[at[nearest], y]])
    edge = crossing[nearest] + 1
    return np.concatenate([outline[:edge], cut, around, cut, outline[edge:]])
