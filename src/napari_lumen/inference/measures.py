"""What is measured of objects: sums over their pixels, which add up over the pieces of an object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from scipy.ndimage import find_objects as spans_of
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.polygonise import polygonise
from napari_lumen.geometry import Window
from napari_lumen.inference.instances import Numbers, forward_steps
from napari_lumen.inference.outlines import Shapes, collected, shapes, united

Whole = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]

_BAND = 256  # rows at a time: of a block full of instances all at once would take 300 MB
# px of a piece's edge in a window, holes included: only noise has longer ones in 1,024 px, whose outlines
# would take gigabytes and show nothing
_LONGEST_EDGE = 200_000
_SUMS = 11  # area, 2 of places, 3 of their products, probability, 4 kinds of pairs


@dataclass(frozen=True)
class Objects:
    """Objects of a label raster, or pieces of them, one a row; all in pixels of the raster.

    Attributes
    ----------
    value : ndarray
        (n,) label of the class.
    area : ndarray
        (n,) pixels.
    sums : ndarray
        (n, 2) sums of the rows and of the columns of their pixels.
    spread : ndarray
        (n, 3) sums of dy dy, dx dx and dy dx about the centroid.
    probability : ndarray
        (n,) sum of the probability of the class, in steps of 1/255.
    pairs : ndarray
        (n, 4) pairs of neighbouring pixels: beside, above and along both diagonals.
    box : ndarray
        (n, 4) top, left, bottom and right edge.
    outline : ndarray
        (n,) polygons or multipolygons along pixel edges, (x, y); of what is all edge, as noise is, the box.
    """

    value: Whole
    area: Whole
    sums: Whole
    spread: Real
    probability: Whole
    pairs: Whole
    box: Whole
    outline: Shapes

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, chosen: npt.NDArray[Any]) -> Objects:
        return Objects(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def concatenated(cls, parts: list[Objects]) -> Objects:
        """Return the rows of all parts, at least one, in their order."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def none(cls) -> Objects:
        """Return no rows."""
        row = np.zeros(0, np.int64)
        pair, triple, four = (row.reshape(0, width) for width in (2, 3, 4))
        return cls(row, row, pair, triple.astype(np.float64), row, four, four, shapes(()))

    @cached_property
    def centroid(self) -> Real:
        """Row and column of the centroid, (n, 2), from the upper left edge of the raster."""
        return self.sums / self.area[:, None] + 0.5

    @property
    def perimeter(self) -> Real:
        """Length of the edge, that of holes included, by Cauchy's and Crofton's formula in four directions.

        The steps of a pixel outline would count a disc's edge 4 / pi times.
        """
        chords = self.area[:, None] - self.pairs
        straight, diagonal = chords[:, :2].sum(axis=1), chords[:, 2:].sum(axis=1)
        return np.asarray(np.pi / 4 * (straight + diagonal / np.sqrt(2)))

    @property
    def eccentricity(self) -> Real:
        """That of the ellipse of the same second moments: 0 for a disc, towards 1 for a line."""
        yy, xx, yx = (self.spread / self.area[:, None]).T
        yy, xx = yy + 1 / 12, xx + 1 / 12  # a pixel is a square, not a point
        half, root = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
        return np.asarray(np.sqrt(2 * root / (half + root)))

    @property
    def solidity(self) -> Real:
        """Share of the convex hull that the object fills, in (0, 1]."""
        return np.asarray(self.area / shapely.area(shapely.convex_hull(self.outline)))

    def joined(
        self,
        owner: npt.NDArray[np.integer[Any]],
        count: int,
        side: int,
        check: Callable[[], None] = lambda: None,
    ) -> Objects:
        """Return the objects of which these are the pieces.

        Parameters
        ----------
        owner : ndarray
            (n,) of each piece the number of its object, from 0.
        count : int
            Of objects; each has a piece.
        side : int
            Of the blocks that pieces lie in, px.
        check : callable, optional
            Called for each object; what it raises ends the work.
        """
        order = np.argsort(owner, kind="stable")
        rows = self[order]
        starts = np.searchsorted(owner[order], np.arange(count))

        def total(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.asarray(np.add.reduceat(values, starts, axis=0))

        area, sums = total(rows.area), total(rows.sums)
        away = rows.centroid - (sums / area[:, None] + 0.5)[owner[order]]
        dy, dx = away.T
        moved = rows.spread + rows.area[:, None] * np.stack([dy * dy, dx * dx, dy * dx], axis=1)
        ragged = is_ragged(rows.area, rows.pairs)
        outlines = []
        for start, end in pairwise([*starts, len(rows)]):
            check()
            if ragged[start:end].any():
                outlines.append(shapely.union_all(boxes(rows.box[start:end])))
            else:
                outlines.append(united(rows.outline[start:end], side))
        low = np.minimum.reduceat(rows.box[:, :2], starts, axis=0)
        high = np.maximum.reduceat(rows.box[:, 2:], starts, axis=0)
        return Objects(
            rows.value[starts],
            area,
            sums,
            total(moved),
            total(rows.probability),
            total(rows.pairs),
            np.concatenate([low, high], axis=1),
            shapes(outlines),
        )


def measure(
    framed: Numbers,
    core: Window,
    labels: npt.NDArray[np.uint8],
    probability: npt.NDArray[np.uint8],
    channels: npt.NDArray[np.intp],
    check: Callable[[], None] = lambda: None,
) -> tuple[npt.NDArray[np.intp], Objects]:
    """Measure what of each instance lies in a window.

    Parameters
    ----------
    framed : ndarray
        int32 (h + 2, w + 2) instances of the window and of one pixel around it.
    core : Window
        The window, in the raster.
    labels : ndarray
        uint8 (h, w).
    probability : ndarray
        uint8 (classes, h, w), in steps of 1/255.
    channels : ndarray
        (256,) the channel of each label.
    check : callable, optional
        Called often; what it raises ends the work.

    Returns
    -------
    numbers : ndarray
        (n,) of the instances that have pixels in the window, rising.
    pieces : Objects
    """
    inner = framed[1:-1, 1:-1]
    size = int(inner.max(initial=0)) + 1
    value = np.zeros(size, np.int64)
    # sums of whole numbers, exact: in a block they stay far below 2 ** 53
    totals = np.zeros((_SUMS, size))
    for top in range(0, core.height, _BAND):
        check()
        band = slice(top, min(top + _BAND, core.height))
        of, label, weights = _summands(
            framed[band.start : band.stop + 2], top, labels[band], probability[:, band], channels
        )
        value[of] = label
        for total, weight in zip(totals, weights, strict=True):
            total += np.bincount(of, weight, size)
    numbers = np.flatnonzero(totals[0])
    area, sum_y, sum_x, yy, xx, yx, seen, *pairs = totals[:, numbers]
    spread = [yy - sum_y * sum_y / area, xx - sum_x * sum_x / area, yx - sum_y * sum_x / area]
    spans = spans_of(inner)
    box = [(r.start, c.start, r.stop, c.stop) for r, c in (spans[number - 1] for number in numbers)]
    check()
    corner = np.array([core.y, core.x], np.int64)
    edges = np.array(box, np.int64).reshape(-1, 4) + np.tile(corner, 2)
    ragged = is_ragged(area, np.stack(pairs, axis=1))
    outlines: defaultdict[int, list[BaseGeometry]] = defaultdict(list)
    for number, outline in zip(numbers[ragged].tolist(), boxes(edges[ragged]), strict=True):
        outlines[number].append(outline)
    if ragged.any():
        inner = np.where(np.isin(inner, numbers[ragged]), 0, inner)
    for number, polygon in polygonise(inner, origin=(core.y, core.x)):
        outlines[number].append(polygon)
    check()
    pixels = area.astype(np.int64)
    return numbers, Objects(
        value[numbers],
        pixels,
        np.stack([sum_y, sum_x], axis=1).astype(np.int64) + pixels[:, None] * corner,
        np.stack(spread, axis=1),
        seen.astype(np.int64),
        np.stack(pairs, axis=1).astype(np.int64),
        edges,
        shapes(collected(shapes(outlines[number])) for number in numbers.tolist()),
    )


def is_ragged(area: npt.NDArray[Any], pairs: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which pieces of a block are all edge: of their area (n,) and pairs (n, 4), see `Objects`."""
    return np.asarray(4 * area - 2 * (pairs[:, 0] + pairs[:, 1]) > _LONGEST_EDGE)


def boxes(edges: Whole) -> Shapes:
    """Return rectangles of their top, left, bottom and right edges (n, 4)."""
    top, left, bottom, right = edges.T
    return np.asarray(shapely.box(left, top, right, bottom), object)


def _summands(
    framed: Numbers,
    top: int,
    labels: npt.NDArray[np.uint8],
    probability: npt.NDArray[np.uint8],
    channels: npt.NDArray[np.intp],
) -> tuple[Numbers, npt.NDArray[np.uint8], Iterator[npt.NDArray[Any] | None]]:
    """Return of each pixel of an instance in a band its instance, its label, and all that is summed up.

    `framed` holds one pixel around the band, and `top` is the band's first row in the window.
    """
    inner = framed[1:-1, 1:-1]
    places = np.flatnonzero(inner)
    of = inner.ravel()[places]
    row, x = np.divmod(places, inner.shape[1])
    y = row + top
    label = labels.ravel()[places]
    flat, width = framed.ravel(), framed.shape[1]
    here = (row + 1) * width + x + 1

    def weights() -> Iterator[npt.NDArray[Any] | None]:
        yield None  # the area
        yield from (y, x, y * y, x * x, y * x)
        yield probability.reshape(len(probability), -1)[channels[label], places]
        for step in forward_steps(width):
            yield flat[here + step] == of

    return of, label, weights()
