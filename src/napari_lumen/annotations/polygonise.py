"""From label arrays to polygons that run along pixel edges, so that no area is gained or lost."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from shapely import MultiPolygon, Polygon, unary_union

Index = npt.NDArray[np.intp]
_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)


def polygonise(
    labels: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_],
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    step: tuple[float, float] = (1.0, 1.0),
) -> list[tuple[int, Polygon]]:
    """Outline every 4-connected region of equal, non-zero value.

    GDAL finds the same outlines (a test compares), but hands them over as lists of Python numbers, which made
    it the longest stage of a run over thousands of nuclei.

    Parameters
    ----------
    labels : ndarray (h, w) of integers or bool
        0 is background and gives no polygon.
    origin : (float, float)
        Level-0 (y, x) of the upper left edge of pixel (0, 0).
    step : (float, float)
        Level-0 pixels per pixel of the array, (y, x).

    Returns
    -------
    list of (int, Polygon)
        Value and outline in level-0 pixels (x, y), holes as inner rings; the area of a polygon is the number
        of its pixels times the area of a step, exactly. In the order of their first pixels.
    """
    if labels.ndim != 2:
        raise ValueError(f"labels must be (h, w), not {labels.shape}")
    edges = _Edges(labels)
    if not len(edges.pixel):
        return []
    order, start = edges.rings()
    pixel, side = edges.pixel[order], edges.side[order]
    following = np.arange(1, len(order) + 1)
    following[np.append(start[1:], len(order)) - 1] = start
    turn = (side[following] - side + 1) % 4 - 1  # 1 to the right, -1 to the left, 0 straight on
    ring = np.repeat(np.arange(len(start)), np.diff(start, append=len(order)))

    row, column = np.divmod(pixel, edges.width)
    x, y = column - (side >= _BOTTOM), row - ((side == _TOP) | (side == _LEFT))  # where each ends
    places = np.stack([origin[1] + step[1] * x, origin[0] + step[0] * y], axis=1)
    outlines = shapely.linearrings(places[turn != 0], indices=ring[turn != 0])
    is_hole = np.add.reduceat(turn, start) < 0  # around a hole its region leads the other way
    shell = edges.shells(order, start, ring, is_hole) if is_hole.any() else np.arange(len(start))
    by_shell = np.lexsort((is_hole, shell))
    polygons = shapely.polygons(outlines[by_shell], indices=np.cumsum(~is_hole[by_shell]) - 1)
    values = edges.values[pixel[start]][~is_hole]
    return list(zip(values.tolist(), polygons, strict=True))


def polygonise_objects(
    labels: npt.NDArray[np.integer[Any]],
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    step: tuple[float, float] = (1.0, 1.0),
) -> dict[int, Polygon | MultiPolygon]:
    """Outline every labelled object once, by its value: of several pieces if it is not connected.

    Parameters and coordinates are those of `polygonise`.
    """
    pieces: dict[int, list[Polygon]] = {}
    for value, polygon in polygonise(labels, origin=origin, step=step):
        pieces.setdefault(value, []).append(polygon)
    return {
        value: found[0] if len(found) == 1 else unary_union(found) for value, found in sorted(pieces.items())
    }


class _Edges:
    """The edges of pixels towards neighbours of another value; each leads clockwise around its pixel.

    First the top edges (to the right), then the right ones (down), the bottom (to the left) and the left
    ones (up), each in the order of their pixels.

    Attributes
    ----------
    values : ndarray
        Of the labels with a frame of 0, flat.
    width : int
        Of the labels with their frame.
    pixel, side : ndarray
        (n,) index in `values`, and which of the four edges of the pixel it is.
    """

    def __init__(self, labels: npt.NDArray[Any]) -> None:
        framed = np.pad(labels, 1)
        self.values, self.width = framed.ravel(), framed.shape[1]
        values, width = self.values, self.width
        across = np.flatnonzero(values[:-1] != values[1:])  # the frame parts the rows
        down = np.flatnonzero(values[:-width] != values[width:])
        self._of_side = (
            down[values[down + width] != 0] + width,
            across[values[across] != 0],
            down[values[down] != 0],
            across[values[across + 1] != 0] + 1,
        )
        lengths = [len(pixels) for pixels in self._of_side]
        self._first = np.cumsum([0, *lengths])
        self.pixel = np.concatenate(self._of_side)
        self.side = np.repeat(np.arange(4), lengths)

    def rings(self) -> tuple[Index, Index]:
        """Return the edges in the order in which they follow each other, and where each ring begins."""
        following, (edge, other, around) = self._followed()
        if len(edge):
            graph = csr_array((np.ones(len(following), bool), following, np.arange(len(following) + 1)))
            _, ring = connected_components(graph, directed=False)
            itself = ring[edge] == ring[other]  # a ring must not meet itself: it becomes two
            following[edge[itself]] = around[itself]
        after = following.tolist()
        seen = bytearray(len(after))
        order, start = array("q"), array("q")
        for first in range(len(self._of_side[_TOP])):  # each ring has a top edge
            if not seen[first]:
                start.append(len(order))
                at = first
                while not seen[at]:
                    seen[at] = 1
                    order.append(at)
                    at = after[at]
        return np.array(order), np.array(start)

    def shells(self, order: Index, start: Index, ring: Index, is_hole: npt.NDArray[np.bool_]) -> Index:
        """Return of each ring the one around its region: of a shell itself.

        Left of the leftmost edge of a hole lies its region, and left of that, in the same row, another ring.
        """
        height = len(self.values) // self.width
        row, column = np.divmod(self.pixel[order], self.width)
        place = np.where(self.side[order] == _RIGHT, column * height + row, len(self.values))
        column, row = np.divmod(np.minimum.reduceat(place, start), height)
        left = np.searchsorted(self._of_side[_LEFT], row * self.width + column, "right") - 1
        ring_of_edge = np.empty(len(order), np.intp)
        ring_of_edge[order] = ring
        shell = np.where(is_hole, ring_of_edge[self._first[_LEFT] + left], np.arange(len(start)))
        while is_hole[shell].any():
            shell = shell[shell]
        return shell

    def _followed(self) -> tuple[Index, tuple[Index, Index, Index]]:
        """Return the edge that goes on where each ends, and edges that end where a value touches itself.

        Of the latter also the edge that comes from the other pixel at that corner, and the one of that pixel
        which would go on around both.
        """
        outward, ahead = (-self.width, 1, self.width, -1), (1, self.width, -1, -self.width)
        following, touching = [], []
        for side, pixels in enumerate(self._of_side):
            before = pixels + ahead[side]
            beside = before + outward[side]
            goes_on, meets = (self.values[seen] == self.values[pixels] for seen in (before, beside))
            left = self._at(side + 3, beside)
            onward = np.where(goes_on, self._at(side, before), self._at(side + 1, pixels))
            following.append(np.where(goes_on & meets, left, onward))
            corner = np.flatnonzero(~goes_on & meets)
            other = self._at(side + 2, beside[corner])
            touching.append((self._first[side] + corner, other, left[corner]))
        edge, other, around = (np.concatenate(parts) for parts in zip(*touching, strict=True))
        return np.concatenate(following), (edge, other, around)

    def _at(self, side: int, pixels: Index) -> Index:
        """Return the edges of pixels on one side; what it returns of pixels without one means nothing."""
        return np.asarray(self._first[side % 4] + np.searchsorted(self._of_side[side % 4], pixels))
