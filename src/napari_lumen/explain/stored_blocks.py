"""A stored array whose blocks are kept while they are looked at, so that a moving cursor reads none twice."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Window

Pixels = npt.NDArray[np.generic]
_SIDE = 512  # as of the files of a run
_HELD = 32 << 20  # bytes
_LARGE = 16 << 20  # of a window: such are read through once, as for a distribution


class StoredBlocks:
    """Windows of an array (..., h, w); safe from several threads.

    Parameters
    ----------
    array : zarr.Array
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self._blocks: OrderedDict[tuple[Any, ...], Pixels] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def read(self, lead: tuple[int, ...], window: Window) -> Pixels:
        """Return a window (h, w), of the planes that leading indices choose."""
        if window.height * window.width * self._array.dtype.itemsize > _LARGE:
            return np.asarray(self._array[(*lead, *window.slices)])
        values = np.empty((window.height, window.width), self._array.dtype)
        rows = range(window.y // _SIDE, -(-(window.y + window.height) // _SIDE))
        columns = range(window.x // _SIDE, -(-(window.x + window.width) // _SIDE))
        for row in rows:
            for column in columns:
                place = Window(row * _SIDE, column * _SIDE, _SIDE, _SIDE)
                common = place.intersect(window)
                block = self._block(lead, place)
                values[_within(common, window)] = block[_within(common, place)]
        return values

    def _block(self, lead: tuple[int, ...], place: Window) -> Pixels:
        key = (*lead, place)
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        block: Pixels = np.asarray(self._array[(*lead, *place.slices)])
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = block
                self._bytes += block.nbytes
            while self._bytes > _HELD and len(self._blocks) > 1:
                self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        return block


def _within(part: Window, whole: Window) -> tuple[slice, slice]:
    return Window(part.y - whole.y, part.x - whole.x, part.height, part.width).slices
