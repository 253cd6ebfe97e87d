"""Objects of a tile, each as a whole and in one tile alone, however a slide is cut."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation import ObjectPair
from napari_lumen.evaluation.matching import numbered, object_overlaps
from napari_lumen.geometry import Window

_MARGIN = 128  # px around a tile that are looked at first
_LARGEST = 1024  # px: what reaches further beyond its tile is seen in part

Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]
# takes numbers of objects; returns (n, 4) in the grid: first row and column, and those after the last
Boxes = Callable[[Numbers], Numbers]


def objects_of_tile(
    read: Callable[[Window], ObjectPair],
    tile: Window,
    area: Window,
    *,
    ignore: int | None = None,
    predicted_boxes: Boxes | None = None,
    true_boxes: Boxes | None = None,
) -> ObjectPair:
    """Return the objects that a tile answers for, whole, on a window around it; nothing else is on it.

    An object is its tile's in which its first pixel lies, row by row; a predicted one that is matched (IoU
    above 0.5, of its class) its true object's. So each is counted once, whatever the tiles.

    Parameters
    ----------
    read : callable
        Returns both sides in a window.
    tile, area : Window
        The tile, and all that is looked at, beyond which objects end.
    ignore : int or None
        Value in the truth of pixels that do not count, nor do objects there.
    predicted_boxes, true_boxes : callable, optional
        Where objects lie whose numbers mean the same in every window. Without, they are connected.

    Warns
    -----
    UserWarning
        When one reaches more than 1,024 px beyond its tile: it is seen in part, perhaps in several tiles.
    """
    margin = _MARGIN
    while True:
        around = Window(
            tile.y - margin, tile.x - margin, tile.height + 2 * margin, tile.width + 2 * margin
        ).intersect(area)
        pair = read(around)
        ignored = pair.truth == ignore
        place = _Place(tile, around, area)
        predicted = _Side.of(pair.predicted_objects, pair.predicted, ignored, place, predicted_boxes)
        true = _Side.of(pair.true_objects, pair.truth, ignored, place, true_boxes)
        overlaps = object_overlaps(predicted.counted, true.counted)
        there, said = overlaps.true[overlaps.pairs[:, 0]], overlaps.predicted[overlaps.pairs[:, 1]]
        needed_true, needed_said = true.own.copy(), predicted.own.copy()
        needed_true[there[predicted.own[said]]] = True
        needed_said[said[true.own[there]]] = True
        cut = bool((needed_true & true.cut).any() or (needed_said & predicted.cut).any())
        if not cut or margin == _LARGEST:
            break
        margin = min(4 * margin, _LARGEST)
    if cut:
        warnings.warn(
            f"Objects reach more than {_LARGEST:,} px beyond the tiles that a slide is cut into, and are "
            "counted in parts: take larger tiles, or score no objects.",
            stacklevel=2,
        )
    matched = 2 * overlaps.intersection > overlaps.union
    own, kept = true.own & ~true.elsewhere, predicted.own & ~predicted.elsewhere
    kept[said[matched]] = own[there[matched]]
    return ObjectPair(
        pair.predicted,
        pair.truth,
        np.where(kept[predicted.counted], pair.predicted_objects, 0),
        np.where(own[true.counted], pair.true_objects, 0),
    )


@dataclass(frozen=True)
class _Place:
    """A tile, what is seen around it, and all that is looked at."""

    tile: Window
    around: Window
    area: Window


@dataclass(frozen=True)
class _Side:
    """The objects of one side, those of two classes as two.

    Attributes
    ----------
    counted : ndarray (h, w)
        Of each pixel that counts the position of its object, from 1; else 0.
    own : ndarray (objects + 1,)
        Whether the first pixel that is seen of an object lies in the tile.
    cut : ndarray (objects + 1,)
        Whether it reaches beyond what is seen.
    elsewhere : ndarray (objects + 1,)
        Whether it is known to begin above what is seen.
    """

    counted: Numbers
    own: Bools
    cut: Bools
    elsewhere: Bools

    @classmethod
    def of(
        cls, objects: Numbers, labels: Numbers, ignored: Bools, place: _Place, boxes: Boxes | None
    ) -> _Side:
        """Tell the objects of one side apart, by their numbers and the classes of their pixels."""
        numbers, flat = numbered(objects)
        tile, around = place.tile, place.around
        first = np.zeros(len(numbers) + 1, np.int64)
        first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)  # of several the last one stays
        row, column = first // around.width + around.y, first % around.width + around.x
        own = (row >= tile.y) & (row < tile.y + tile.height)
        own &= (column >= tile.x) & (column < tile.x + tile.width)
        cut, elsewhere = np.zeros_like(own), np.zeros_like(own)
        if boxes is None:
            cut[_at_edges(flat.reshape(objects.shape), place)] = True
        else:
            top, cut[1:] = _beyond(boxes(numbers), place)
            elsewhere[1:] = cut[1:] & (row[1:] > top + 1)  # an edge may miss the middles of its pixels
        values, of_value = numbered(labels)
        counts = (flat > 0) & (of_value > 0) & ~ignored.ravel()
        used, counted = numbered(np.where(counts, flat * (len(values) + 1) + of_value, 0))
        of_number = np.concatenate([[0], used // (len(values) + 1)])
        own[0] = cut[0] = False
        return cls(counted.reshape(objects.shape), own[of_number], cut[of_number], elsewhere[of_number])


def _at_edges(position: Numbers, place: _Place) -> Numbers:
    """Return the positions of what reaches an edge of what is seen that is none of all that is looked at."""
    around, area = place.around, place.area
    edges = [
        position[edge].ravel()
        for edge, is_cut in (
            (np.s_[:1], around.y > area.y),
            (np.s_[-1:], around.y + around.height < area.y + area.height),
            (np.s_[:, :1], around.x > area.x),
            (np.s_[:, -1:], around.x + around.width < area.x + area.width),
        )
        if is_cut
    ]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *edges]))


def _beyond(boxes: Numbers, place: _Place) -> tuple[Numbers, Bools]:
    """Return the first rows of boxes within all that is looked at, and which reach beyond what is seen."""
    around, area = place.around, place.area
    top, left = np.maximum(boxes[:, 0], area.y), np.maximum(boxes[:, 1], area.x)
    bottom, right = (
        np.minimum(boxes[:, 2], area.y + area.height),
        np.minimum(boxes[:, 3], area.x + area.width),
    )
    beyond = (top < around.y) | (bottom > around.y + around.height)
    return top, beyond | (left < around.x) | (right > around.x + around.width)
