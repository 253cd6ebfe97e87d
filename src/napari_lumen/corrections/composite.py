"""The labels of a run with the corrections over them, at every level, without writing them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.corrections.changes import Changes, part_of, sampled
from napari_lumen.corrections.images import Pixels
from napari_lumen.geometry import Grid, Region, Window, spanned
from napari_lumen.halving import halve_labels

BLOCK = 512  # px a side of what is composed together
_HELD = 128 << 20  # bytes of composed blocks
_Key = tuple[int, int, int]  # level, row and column of a block


class CorrectedLabels:
    """A pyramid of labels with corrections over it; safe from several threads.

    The finest level takes what was changed. Where that touches a block of a coarser level, the block is
    halved anew from the finer one, as the run's own pyramid was: so a correction shows at once at every
    zoom, and nothing else is read twice.

    Parameters
    ----------
    levels : sequence of array
        uint8 (h, w), finest first, each exactly twice as coarse as the one before.
    grid : Grid
        Of the finest.
    changes : iterable of Changes
        The later lie on top.
    """

    def __init__(self, levels: Sequence[Any], grid: Grid, changes: Iterable[Changes] = ()) -> None:
        self.grid = grid
        self.hidden: Region | None = None  # where an edit window shows the labels, level-0 px
        self._base = tuple(levels)
        self._changes: tuple[Changes, ...] = tuple(changes)
        self._blocks: OrderedDict[_Key, Pixels] = OrderedDict()
        self._lock = RLock()
        self._touched = self._find_touched(self._changes)

    @property
    def base(self) -> tuple[Any, ...]:
        """The levels without corrections."""
        return self._base

    @property
    def levels(self) -> list[CorrectedLevel]:
        """The pyramid as napari and dask read arrays, finest first."""
        return [CorrectedLevel(self, level) for level in range(len(self._base))]

    @property
    def changes(self) -> tuple[Changes, ...]:
        """What lies over the labels."""
        return self._changes

    def under(self, changes: Iterable[Changes]) -> CorrectedLabels:
        """Return the labels as they are with more laid over them; nothing is hidden."""
        plain = CorrectedLabels(self._base, self.grid, self._changes)
        return CorrectedLabels(plain.levels, self.grid, changes)

    def replace(self, changes: Iterable[Changes]) -> None:
        """Lay these changes over the labels instead of those before; readers wait for no composing."""
        fresh = CorrectedLabels(self._base, self.grid, changes)
        for key in sorted(fresh._touched):
            fresh._block(key)
        with self._lock:
            self._changes, self._touched, self._blocks = fresh._changes, fresh._touched, fresh._blocks

    def read(self, level: int, window: Window) -> Pixels:
        """Return a window of a level, uint8 (h, w)."""
        values: Pixels = np.array(self._base[level][window.slices], np.uint8)
        with self._lock:
            for key in self._keys(level, window):
                if key in self._touched:
                    place = self._place(key)
                    common = place.intersect(window)
                    values[_within(common, window)] = self._block(key)[_within(common, place)]
        return values

    def shown(self, level: int, window: Window) -> Pixels:
        """Return a window of a level as the window shows it: 0 where labels are hidden."""
        values = self.read(level, window)
        if self.hidden is not None:
            covered = self._level_grid(level).window_of(self.hidden).intersect(window)
            if covered.height and covered.width:
                values[_within(covered, window)] = 0
        return values

    def on(self, grid: Grid) -> Pixels:
        """Return the labels on another grid, uint8 (h, w); 0 beyond them.

        They are taken from the level that is as coarse as the grid, or the next finer, at pixel centres.
        """
        level = 0
        while level + 1 < len(self._base) and self.grid.step[0] * 2 ** (level + 1) <= grid.step[0] * 1.001:
            level += 1
        own = self._level_grid(level)
        window = own.window_of(grid.region)
        if not (window.height and window.width):
            return np.zeros(grid.shape, np.uint8)
        return sampled(self.read(level, window), part_of(own, window), grid)

    def touched_blocks(self) -> Iterator[tuple[Window, Pixels, Pixels]]:
        """Yield the blocks of the finest level that are corrected: place, labels before and after."""
        for key in sorted(self._touched):
            if key[0] == 0:
                place = self._place(key)
                with self._lock:
                    yield place, np.array(self._base[0][place.slices], np.uint8), self._block(key)

    def pixels_gained(self) -> Counter[int]:
        """Return by how many pixels of the finest level each class has grown; negative where it shrank."""
        gained: Counter[int] = Counter()
        for _, before, after in self.touched_blocks():
            change = np.bincount(after.ravel(), minlength=256) - np.bincount(before.ravel(), minlength=256)
            gained.update({value: int(change[value]) for value in np.flatnonzero(change).tolist()})
        return gained

    def _level_grid(self, level: int) -> Grid:
        height, width = self._base[level].shape
        return Grid((height, width), self.grid.coarsened(2**level).step, self.grid.origin)

    def _find_touched(self, changes: Iterable[Changes]) -> frozenset[_Key]:
        return frozenset(
            key
            for item in changes
            for level in range(len(self._base))
            for key in self._keys(level, self._level_grid(level).window_of(item.region))
        )

    def _keys(self, level: int, window: Window) -> Iterator[_Key]:
        if window.height and window.width:
            for row in range(window.y // BLOCK, (window.y + window.height - 1) // BLOCK + 1):
                for column in range(window.x // BLOCK, (window.x + window.width - 1) // BLOCK + 1):
                    yield level, row, column

    def _place(self, key: _Key) -> Window:
        level, row, column = key
        height, width = self._base[level].shape
        return Window(row * BLOCK, column * BLOCK, BLOCK, BLOCK).intersect(Window(0, 0, height, width))

    def _block(self, key: _Key) -> Pixels:
        found = self._blocks.get(key)
        if found is None:
            found = self._blocks[key] = self._composed(key)
            while len(self._blocks) * BLOCK * BLOCK > _HELD:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return found

    def _composed(self, key: _Key) -> Pixels:
        level, row, column = key
        place = self._place(key)
        values: Pixels = np.array(self._base[level][place.slices], np.uint8)
        if level == 0:
            grid = part_of(self.grid, place)
            for item in self._changes:
                item.onto(grid, values)
            return values
        for child in ((level - 1, 2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)):
            if child in self._touched:
                fine = self._block(child)
                even = np.pad(fine, [(0, side % 2) for side in fine.shape])
                top, left = (child[1] - 2 * row) * BLOCK // 2, (child[2] - 2 * column) * BLOCK // 2
                quarter = values[top : top + BLOCK // 2, left : left + BLOCK // 2]
                quarter[...] = halve_labels(even)[: quarter.shape[0], : quarter.shape[1]]
        return values


class CorrectedLevel:
    """One level of corrected labels, as napari and dask read arrays: uint8 (h, w)."""

    ndim = 2
    dtype = np.dtype(np.uint8)

    def __init__(self, labels: CorrectedLabels, level: int) -> None:
        self.labels = labels
        self._level = level
        height, width = labels.base[level].shape
        self.shape: tuple[int, int] = (height, width)
        self.size = height * width

    def __getitem__(self, index: Any) -> Pixels:
        parts = index if isinstance(index, tuple) else (index,)
        rows, columns = (*parts, slice(None), slice(None))[:2]
        (top, height, within_rows), (left, width, within_columns) = (
            spanned(part, side) for part, side in zip((rows, columns), self.shape, strict=True)
        )
        values: Pixels = self.labels.shown(self._level, Window(top, left, height, width))
        return values[within_rows, within_columns]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:, :].astype(dtype or self.dtype, copy=False)


def _within(part: Window, whole: Window) -> tuple[slice, slice]:
    return Window(part.y - whole.y, part.x - whole.x, part.height, part.width).slices
