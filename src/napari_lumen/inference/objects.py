"""Counting connected areas of each class over a label image too large to hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label as connected
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_lumen.inference.plan import Cell

Labels = npt.NDArray[np.uint8]
_NEIGHBOURS = np.ones((3, 3), int)  # diagonal pixels touch


class ObjectCounter:
    """Connected areas (8 neighbours) of one class, block by block, joined across their borders.

    Parameters
    ----------
    value : int
        Label of the class.
    """

    def __init__(self, value: int) -> None:
        self._value = value
        self._areas: list[npt.NDArray[np.int64]] = []
        self._objects = 0
        self._borders: dict[Cell, dict[str, npt.NDArray[np.int64]]] = {}

    def add(self, cell: Cell, labels: Labels) -> None:
        """Add one block; each once, in any order."""
        components, count = connected(labels == self._value, _NEIGHBOURS)
        self._areas.append(np.bincount(components.ravel(), minlength=count + 1)[1:])
        ids = np.where(components > 0, components + self._objects, 0).astype(np.int64)
        self._borders[cell] = {"top": ids[0], "bottom": ids[-1], "left": ids[:, 0], "right": ids[:, -1]}
        self._objects += count

    def areas(self) -> npt.NDArray[np.int64]:
        """Return the area of every object, px."""
        if not self._objects:
            return np.zeros(0, np.int64)
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *self._touching()])
        graph = coo_array(
            (np.ones(len(pairs)), (pairs[:, 0] - 1, pairs[:, 1] - 1)), shape=(self._objects,) * 2
        )
        joined, owner = connected_components(graph, directed=False)
        return np.bincount(owner, weights=np.concatenate(self._areas), minlength=joined).astype(np.int64)

    def _touching(self) -> Iterable[npt.NDArray[np.int64]]:
        for (row, column), edges in self._borders.items():
            below = self._borders.get((row + 1, column))
            if below is not None:
                yield _pairs(edges["bottom"], below["top"])
            right = self._borders.get((row, column + 1))
            if right is not None:
                yield _pairs(edges["right"], right["left"])
            for side, edge, opposite in ((1, "right", "left"), (-1, "left", "right")):
                diagonal = self._borders.get((row + 1, column + side))
                if diagonal is not None:
                    corner = edges[edge][-1:], diagonal[opposite][:1]
                    yield _pairs(*corner)


def _pairs(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (n, 2) ids that touch, straight or diagonally, along two facing edges."""
    found = []
    for shift in (-1, 0, 1):
        left, right = a[max(0, -shift) : len(a) - max(0, shift)], b[max(0, shift) : len(b) - max(0, -shift)]
        both = (left > 0) & (right > 0)
        found.append(np.stack([left[both], right[both]], axis=1))
    return np.concatenate(found)


def count_objects(
    values: Iterable[int], blocks: Iterable[Cell], read: Callable[[Cell], Labels]
) -> dict[int, npt.NDArray[np.int64]]:
    """Return the object areas (px) of each label value over the given blocks, neighbours joined."""
    counters = {value: ObjectCounter(value) for value in values}
    for block in blocks:
        labels = read(block)
        for counter in counters.values():
            counter.add(block, labels)
    return {value: counter.areas() for value, counter in counters.items()}
