"""Objects of a tile, each as a whole and in one tile alone, however a slide is cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation import ObjectPair
from napari_lumen.evaluation.matching import numbered, object_overlaps
from napari_lumen.geometry import Window

_MARGIN = 128  # px around a tile that are looked at first
_LARGEST = 1024  # px: of what reaches further beyond its tile, the rest is not seen

Bools = npt.NDArray[np.bool_]


def objects_of_tile(
    read: Callable[[Window], ObjectPair], tile: Window, area: Window, ignore: int | None
) -> ObjectPair:
    """Return the objects that a tile answers for, whole, on a window around it; nothing else is on it.

    An object is its tile's in which its first pixel lies, row by row; a predicted one that is matched
    (IoU above 0.5) its true object's. So each is counted once, whatever the tiles. What reaches more than
    1,024 px beyond a tile is cut.

    Parameters
    ----------
    read : callable
        Returns both sides in a window.
    tile, area : Window
        The tile, and all that is looked at, beyond which objects end.
    ignore : int or None
        Value in the truth of pixels that do not count, nor do objects there.
    """
    margin = _MARGIN
    while True:
        around = _grown(tile, margin).intersect(area)
        pair = read(around)
        predicted = _Side.of(pair.predicted_objects, tile, around)
        true = _Side.of(pair.true_objects, tile, around)
        overlaps = object_overlaps(predicted.position, true.position, pair.truth == ignore)
        there, said = overlaps.true[overlaps.pairs[:, 0]], overlaps.predicted[overlaps.pairs[:, 1]]
        needed_true, needed_said = true.own.copy(), predicted.own.copy()
        needed_true[there[predicted.own[said]]] = True
        needed_said[said[true.own[there]]] = True
        cut_true, cut_said = needed_true & true.cut(around, area), needed_said & predicted.cut(around, area)
        if margin >= _LARGEST or not (cut_true.any() or cut_said.any()):
            break
        margin = min(4 * margin, _LARGEST)
    matched = 2 * overlaps.intersection > overlaps.union
    kept = predicted.own.copy()
    kept[said[matched]] = true.own[there[matched]]
    return ObjectPair(
        pair.predicted,
        pair.truth,
        np.where(kept[predicted.position], pair.predicted_objects, 0),
        np.where(true.own[true.position], pair.true_objects, 0),
    )


@dataclass(frozen=True)
class _Side:
    """The objects of one side.

    Attributes
    ----------
    position : ndarray (h, w)
        Of each pixel's object among them, from 1; 0 outside.
    own : ndarray (objects + 1,)
        Whether the first pixel of an object lies in the tile.
    """

    position: npt.NDArray[Any]
    own: Bools

    @classmethod
    def of(cls, objects: npt.NDArray[Any], tile: Window, around: Window) -> _Side:
        numbers, flat = numbered(objects)
        first = np.zeros(len(numbers) + 1, np.int64)
        first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)  # of several the last one stays
        row, column = first // around.width + around.y - tile.y, first % around.width + around.x - tile.x
        own = (row >= 0) & (row < tile.height) & (column >= 0) & (column < tile.width)
        own[0] = False
        return cls(flat.reshape(objects.shape), own)

    def cut(self, around: Window, area: Window) -> Bools:
        """Return which objects reach the edge of a window that is no edge of the area."""
        found = np.zeros(len(self.own), bool)
        for edge, is_cut in (
            (np.s_[:1], around.y > area.y),
            (np.s_[-1:], around.y + around.height < area.y + area.height),
            (np.s_[:, :1], around.x > area.x),
            (np.s_[:, -1:], around.x + around.width < area.x + area.width),
        ):
            if is_cut:
                found[self.position[edge].ravel()] = True
        found[0] = False
        return found


def _grown(window: Window, margin: int) -> Window:
    return Window(window.y - margin, window.x - margin, window.height + 2 * margin, window.width + 2 * margin)
