"""Rasters of a run while it goes on: all levels at once, held block by block, written file by file."""

from __future__ import annotations

import math
import mmap
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import RLock
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from zarr.core.metadata import ArrayV3Metadata

from napari_lumen.geometry import Region, Window
from napari_lumen.inference.store import Pyramid

Pixels = npt.NDArray[Any]
Halve = Callable[[Pixels], Pixels]
BlockKey = tuple[int, int, int]  # level, row and column of a block

_HELD = 64 << 20  # bytes of one raster, all levels together
_SPARE = 4  # blocks beyond one a level, whatever their size


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
        self._blocks: OrderedDict[BlockKey, _Block] = OrderedDict()
        self._written: set[BlockKey] = set()  # since the last flush
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
            side = self.pyramid.block
            key = (0, window.y // side, window.x // side)
            if self.has_file(*key):
                self._written.add(key)
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

    def has_file(self, level: int, row: int, column: int) -> bool:
        """Whether a block is on disk."""
        return self._file((level, row, column)).is_file()

    def damaged(self, known: Set[BlockKey] = frozenset()) -> list[BlockKey]:
        """Return the blocks whose files cannot be read, and those known to have had one that is gone."""
        with self._lock:
            stored = set(self._stored())
            return [*sorted(known - stored), *(key for key in stored if not self._readable(key))]

    def lost_with(self, damaged: Iterable[BlockKey]) -> list[Region]:
        """Return what of the slide, level-0 px, the finest level lacks without these blocks."""
        return [self.pyramid.grid.region_of(self._place(key)) for key in damaged if key[0] == 0]

    def mend(self, damaged: Sequence[BlockKey]) -> None:
        """Remove the files of these blocks; what was in the coarser ones is made anew from the finest."""
        with self._lock:
            for key in damaged:
                self._file(key).unlink(missing_ok=True)
            if any(level for level, _, _ in damaged):
                for level, row, column in list(self._stored()):
                    if level == 0:
                        self.adopt(self._place((level, row, column)))
                self.flush()

    def flush(self) -> set[BlockKey]:
        """Write what is held to disk; it is there when this returns, whatever happens to the machine.

        Returns
        -------
        set of (int, int, int)
            Blocks, by level, row and column, that have got a file since the last flush, or another one.
        """
        with self._lock:
            for key, block in self._blocks.items():
                self._save(key, block)
            written, self._written = self._written, set()
        for key in written:
            with self._file(key).open("r+b") as opened:
                os.fsync(opened.fileno())
        return written

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

    def _block(self, key: BlockKey) -> _Block:
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = self._loaded(key)
            most = max(len(self.pyramid.arrays) + _SPARE, _HELD // max(1, block.values.nbytes))
            while len(self._blocks) > most:
                oldest, old = self._blocks.popitem(last=False)
                self._save(oldest, old)
        self._blocks.move_to_end(key)
        return block

    def _loaded(self, key: BlockKey) -> _Block:
        array = self.pyramid.arrays[key[0]]
        if not self.has_file(*key):  # zarr takes milliseconds to say so
            place = self._place(key)
            shape = (*array.shape[:-2], place.height, place.width)
            return _Block(_filled(shape, array.dtype, array.fill_value), dirty=False, empty=True)
        values = np.array(array[self._slices(key)])
        return _Block(values, dirty=False, empty=self._empty(values))

    def _save(self, key: BlockKey, block: _Block) -> None:
        if block.dirty and not (block.empty and self._empty(block.values)):  # else no file is needed
            self.pyramid.arrays[key[0]][self._slices(key)] = block.values
            self._written.add(key)
            block.empty = False
        block.dirty = False

    def _empty(self, values: Pixels) -> bool:
        """Whether pixels are those of what was never written."""
        fill: Any = self.pyramid.arrays[0].fill_value
        return bool((np.isnan(values) if np.isnan(fill) else values == fill).all())

    def _slices(self, key: BlockKey) -> tuple[Any, ...]:
        return (..., *self._place(key).slices)

    def _place(self, key: BlockKey) -> Window:
        level, row, column = key
        side = self.pyramid.block
        height, width = self.pyramid.arrays[level].shape[-2:]
        return Window(row * side, column * side, side, side).intersect(Window(0, 0, height, width))

    def _file(self, key: BlockKey) -> Path:
        level, row, column = key
        array = self.pyramid.arrays[level]
        lead = (0,) * (array.ndim - 2)
        name = cast(ArrayV3Metadata, array.metadata).encode_chunk_key((*lead, row, column))
        return self.pyramid.folder / array.path / name

    def _stored(self) -> Iterator[BlockKey]:
        """Yield the blocks that have a file."""
        side = self.pyramid.block
        for level, array in enumerate(self.pyramid.arrays):
            rows, columns = (-(-length // side) for length in array.shape[-2:])
            for row, column in product(range(rows), range(columns)):
                if self.has_file(level, row, column):
                    yield level, row, column

    def _readable(self, key: BlockKey) -> bool:
        try:
            np.array(self.pyramid.arrays[key[0]][self._slices(key)])
        except (MemoryError, OSError):  # these are of the machine
            raise
        except Exception:  # zarr and its codecs raise types of their own
            return False
        return True


def _filled(shape: Sequence[int], dtype: npt.DTypeLike, value: Any) -> Pixels:
    """Return an array of one value. Where that is 0 it takes no memory but for the pages that are written to.

    Of scattered tissue, and at the coarser levels of a large slide, most of a block is never written to.
    """
    if value != 0:
        return np.full(shape, value, dtype)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, size), dtype).reshape(shape)


def _within(part: Window, whole: Window) -> tuple[slice, slice]:
    return Window(part.y - whole.y, part.x - whole.x, part.height, part.width).slices
