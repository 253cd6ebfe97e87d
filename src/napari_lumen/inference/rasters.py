"""Rasters of a run while it goes on: all levels at once, held block by block, written file by file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Window
from napari_lumen.inference.store import Pyramid

Pixels = npt.NDArray[Any]
Halve = Callable[[Pixels], Pixels]
_Key = tuple[int, int, int]  # level, row and column of a block

_HELD = 64 << 20  # bytes of one raster, all levels together
_FEWEST = 2  # blocks a level, whatever their size


@dataclass
class _Block:
    values: Pixels
    dirty: bool
    empty: bool  # as it is on disk


class LiveRaster:
    """A raster that is being written, and can be read meanwhile; safe from several threads.

    Every level is filled from the cell that is written, so the pyramid is whole at any time. Blocks are as
    large as the files of the store, so that a file is written as a whole: atomically, and not once a cell.

    Parameters
    ----------
    pyramid : Pyramid
    halve : callable
        Makes (..., h, w) of (..., 2h, 2w).
    """

    def __init__(self, pyramid: Pyramid, halve: Halve) -> None:
        self.pyramid = pyramid
        self._halve = halve
        self._blocks: OrderedDict[_Key, _Block] = OrderedDict()
        self._lock = RLock()

    def write(self, window: Window, values: Pixels) -> None:
        """Write a window (..., h, w) of the finest level, and what follows from it at the others.

        It must lie in one block.
        """
        with self._lock:
            self._put(0, window.y, window.x, values)
            self._coarsen(window, values)

    def adopt(self, window: Window) -> None:
        """Fill the coarser levels from a window of the finest that another process has written.

        It must lie in one block.
        """
        with self._lock:
            self._coarsen(window, np.array(self.pyramid.arrays[0][(..., *window.slices)]))

    def read(self, level: int, window: Window) -> Pixels:
        """Return a window of a level, (..., h, w), as far as it is written."""
        array = self.pyramid.arrays[level]
        side = self.pyramid.block
        with self._lock:
            values = np.array(array[(..., *window.slices)])
            for (of, row, column), block in self._blocks.items():
                if of != level or not block.dirty:
                    continue
                place = Window(row * side, column * side, *block.values.shape[-2:])
                common = place.intersect(window)
                if common.height > 0 and common.width > 0:
                    values[(..., *_within(common, window))] = block.values[(..., *_within(common, place))]
        return values

    def flush(self) -> None:
        """Write what is held to disk."""
        with self._lock:
            for key, block in self._blocks.items():
                self._save(key, block)

    def _coarsen(self, window: Window, values: Pixels) -> None:
        for level in range(1, len(self.pyramid.arrays)):
            window, values = self._halved(level - 1, window, values)
            self._put(level, window.y, window.x, values)

    def _halved(self, level: int, window: Window, values: Pixels) -> tuple[Window, Pixels]:
        """Return what of the next level a window of a level changes, and its pixels there."""
        y, x = window.y // 2, window.x // 2
        coarse = Window(y, x, -(-(window.y + window.height) // 2) - y, -(-(window.x + window.width) // 2) - x)
        fine = Window(2 * y, 2 * x, 2 * coarse.height, 2 * coarse.width)
        if fine != window:
            side = self.pyramid.block
            block = self._block((level, fine.y // side, fine.x // side))
            place = Window(fine.y % side, fine.x % side, fine.height, fine.width)
            values = block.values[(..., *place.slices)]
        return coarse, self._halve(values)

    def _put(self, level: int, y: int, x: int, values: Pixels) -> None:
        side = self.pyramid.block
        height, width = values.shape[-2:]
        with self._lock:
            block = self._block((level, y // side, x // side))
            rows, columns = slice(y % side, y % side + height), slice(x % side, x % side + width)
            block.values[..., rows, columns] = values
            block.dirty = True

    def _block(self, key: _Key) -> _Block:
        block = self._blocks.get(key)
        if block is None:
            values = np.array(self.pyramid.arrays[key[0]][self._slices(key)])
            block = self._blocks[key] = _Block(values, False, self._empty(values))
            most = max(_FEWEST * len(self.pyramid.arrays), _HELD // max(1, values.nbytes))
            while len(self._blocks) > most:
                oldest, old = self._blocks.popitem(last=False)
                self._save(oldest, old)
        self._blocks.move_to_end(key)
        return block

    def _save(self, key: _Key, block: _Block) -> None:
        if block.dirty and not (block.empty and self._empty(block.values)):  # else no file is needed
            self.pyramid.arrays[key[0]][self._slices(key)] = block.values
            block.empty = False
        block.dirty = False

    def _empty(self, values: Pixels) -> bool:
        """Whether pixels are those of what was never written."""
        fill: Any = self.pyramid.arrays[0].fill_value
        return bool((np.isnan(values) if np.isnan(fill) else values == fill).all())

    def _slices(self, key: _Key) -> tuple[Any, ...]:
        level, row, column = key
        side = self.pyramid.block
        height, width = self.pyramid.arrays[level].shape[-2:]
        place = Window(row * side, column * side, side, side).intersect(Window(0, 0, height, width))
        return (..., *place.slices)


def _within(part: Window, whole: Window) -> tuple[slice, slice]:
    return Window(part.y - whole.y, part.x - whole.x, part.height, part.width).slices
