"""Outlines of objects that were polygonised in pieces, block by block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

Shapes = npt.NDArray[np.object_]


def shapes(items: Iterable[BaseGeometry]) -> Shapes:
    """Return geometries as an array (n,)."""
    found = list(items)
    array = np.empty(len(found), object)
    array[:] = found
    return array


def collected(parts: Shapes) -> BaseGeometry:
    """Return polygons that meet at corners at most as one geometry."""
    return parts[0] if len(parts) == 1 else shapely.multipolygons(parts)


def united(pieces: Shapes, side: int) -> BaseGeometry:
    """Return the union of what polygons and multipolygons cover that meet along the lines between blocks.

    Only what lies on such a line is united: the union of outlines with thousands of holes, as a tumour has,
    would take minutes, most of which goes into finding again in which polygon a hole lies.

    Parameters
    ----------
    pieces : ndarray
        (n,) along pixel edges, in pixels; none reaches over a line.
    side : int
        Of the blocks: the lines are at its multiples.
    """
    if len(pieces) == 1:
        return pieces[0]
    parts = shapely.get_parts(pieces)
    rings, part = shapely.get_rings(parts, return_index=True)
    shell = np.diff(part, prepend=-1) > 0
    place, ring = shapely.get_coordinates(rings, return_index=True)
    on_line = np.bincount(ring[(place % side == 0).any(axis=1)], minlength=len(rings)) > 0
    at_line = on_line[shell]

    at_line_ring = at_line[part]
    cut = at_line_ring & (shell | on_line)
    open_parts = _polygons(rings[cut], part[cut])
    merged = shapely.get_parts(shapely.union_all(open_parts))
    holes = at_line_ring & ~cut
    if holes.any():
        home = np.zeros(len(parts), np.intp)
        within, found = shapely.STRtree(merged).query(
            shapely.point_on_surface(open_parts), predicate="within"
        )
        home[np.flatnonzero(at_line)[within]] = found
        edges, polygon = shapely.get_rings(merged, return_index=True)
        merged = _polygons(
            np.concatenate([edges, rings[holes]]), np.concatenate([polygon, home[part[holes]]])
        )
    return collected(np.concatenate([merged, parts[~at_line]]))


def _polygons(rings: Shapes, polygon: npt.NDArray[np.integer[Any]]) -> Shapes:
    """Return polygons of rings with the number of the polygon of each, whose shell comes first."""
    order = np.argsort(polygon, kind="stable")
    _, dense = np.unique(polygon[order], return_inverse=True)
    found: Shapes = shapely.polygons(rings[order], indices=dense)
    return found
