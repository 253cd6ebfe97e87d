"""What a person has changed in a window, and laying it on labels of any other pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from napari_lumen.corrections.images import Pixels, read_png, write_png
from napari_lumen.corrections.index import Change, CorrectedWindow
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.halving import halve_labels

Index = npt.NDArray[np.intp]
T = TypeVar("T", bound=np.generic)

_TOLERANCE = 1e-6  # of a pixel: where an edge falls on a centre, rounding must not decide


@dataclass(frozen=True, eq=False)
class Changes:
    """Labels before and after, in the smallest rectangle that holds all that differs.

    Attributes
    ----------
    grid : Grid
        Of the rectangle.
    before, after : ndarray
        uint8 (h, w), class values.
    mask : ndarray
        bool (h, w): where they differ.
    """

    grid: Grid
    before: Pixels
    after: Pixels
    mask: npt.NDArray[np.bool_]

    @classmethod
    def between(cls, grid: Grid, before: Pixels, after: Pixels) -> tuple[Changes, Window] | None:
        """Return what differs and where in the grid it lies; None where nothing does."""
        mask = before != after
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return None
        part = Window(
            int(rows[0]), int(columns[0]), int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        )
        place = part.slices
        return cls(part_of(grid, part), before[place], after[place], mask[place]), part

    @property
    def region(self) -> Region:
        """The rectangle on the slide, level-0 px."""
        return self.grid.region

    @property
    def kinds(self) -> tuple[Change, ...]:
        """How many pixels went from which class to which, most first."""
        pairs = self.before[self.mask].astype(np.uint16) << 8 | self.after[self.mask]
        count = np.bincount(pairs)
        found = sorted(np.flatnonzero(count).tolist(), key=lambda pair: -int(count[pair]))
        return tuple(Change(before=pair >> 8, after=pair & 255, pixels=int(count[pair])) for pair in found)

    def onto(self, grid: Grid, labels: Pixels) -> None:
        """Lay what was changed on labels of another grid, in place.

        Where a change is finer than the labels by 2 or more, pixels take the majority of what lies in them,
        as in the pyramid of a run; else what lies at their centre.

        Parameters
        ----------
        grid : Grid
        labels : ndarray
            uint8 (h, w) of the grid.
        """
        window = grid.window_of(self.region)
        if not (window.height and window.width):
            return
        times = max(0, round(math.log2(grid.step[0] / self.grid.step[0])))
        part, within = labels[window.slices], part_of(grid, window)
        fine = part.repeat(2**times, axis=0).repeat(2**times, axis=1)
        step = within.step[0] / 2**times, within.step[1] / 2**times
        self._sample(Grid((fine.shape[0], fine.shape[1]), step, within.origin), fine)
        for _ in range(times):
            fine = halve_labels(fine)
        part[...] = fine

    def _sample(self, grid: Grid, labels: Pixels) -> None:
        there, inside = _centres(grid, self.grid)
        where = self.mask[there] & inside
        labels[where] = self.after[there][where]

    def meets(self, other: Changes) -> bool:
        """Whether some changed pixel of one lies in a changed pixel of the other."""
        finer, coarser = sorted((self, other), key=lambda item: item.grid.step[0])
        there, inside = _centres(finer.grid, coarser.grid)
        return bool((finer.mask & inside & coarser.mask[there]).any())

    def reversed(self) -> Changes:
        """Return the change back."""
        return Changes(self.grid, self.after, self.before, self.mask)

    def write(self, path: Path) -> None:
        """Write them as `Changed.file` says."""
        write_png(path, np.stack([self.before, self.after, self.mask.astype(np.uint8) * 255], axis=-1))

    @classmethod
    def read(cls, folder: Path, window: CorrectedWindow) -> Changes | None:
        """Read those of a window; None where it has none.

        Raises
        ------
        RunError
            When their file cannot be read, or is not what the index says.
        """
        changed = window.changed
        if changed is None or window.shape is None:
            return None
        pixels = read_png(folder / changed.file, 3)
        if pixels.shape[:2] != (changed.height, changed.width):
            raise RunError(
                f"{folder / changed.file} is not the file that the index names: it is of another size. "
                f"Bring it back, or revert {window.name!r}."
            )
        part = Window(changed.y, changed.x, changed.height, changed.width)
        grid = part_of(window.grid(window.shape), part)
        return cls(grid, pixels[..., 0], pixels[..., 1], pixels[..., 2] > 0)


def part_of(grid: Grid, window: Window) -> Grid:
    """Return the grid of a window of a grid."""
    region = grid.region_of(window)
    return Grid((window.height, window.width), grid.step, (region.y, region.x))


def sampled(values: npt.NDArray[T], of: Grid, on: Grid) -> npt.NDArray[T]:
    """Return what values of a grid are at the pixel centres of another; 0 beyond them."""
    there, inside = _centres(on, of)
    found: npt.NDArray[T] = np.where(inside, values[there], 0).astype(values.dtype)
    return found


def _centres(grid: Grid, other: Grid) -> tuple[tuple[Index, Index], npt.NDArray[np.bool_]]:
    """Return in which pixels of another grid the centres of a grid lie, as of `np.ix_`, and where in any."""
    rows, columns = (_along(grid, other, axis) for axis in (0, 1))
    inside = [(place >= 0) & (place < side) for place, side in zip((rows, columns), other.shape, strict=True)]
    clipped = [np.clip(place, 0, side - 1) for place, side in zip((rows, columns), other.shape, strict=True)]
    down, across = np.ix_(*clipped)
    return (down, across), inside[0][:, None] & inside[1][None, :]


def _along(grid: Grid, other: Grid, axis: int) -> Index:
    centres = grid.origin[axis] + (np.arange(grid.shape[axis]) + 0.5) * grid.step[axis]
    place: Index = np.floor((centres - other.origin[axis]) / other.step[axis] + _TOLERANCE).astype(np.intp)
    return place
