"""Where a run is wrong: a pyramid of errors on the run's own pixels, and the worst places."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import MemoryStore

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import Cancelled
from napari_lumen.evaluation import ImagePair
from napari_lumen.evaluation.errors import error_labels
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.halving import halve_labels

_CHUNK = 1024  # px
_VALUES = 256  # of a class


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is taken for what.

    Attributes
    ----------
    truth, predicted : str
        Names of the classes; "" for background.
    area_um2 : float
    """

    truth: str
    predicted: str
    area_um2: float


@dataclass(frozen=True, slots=True)
class WrongPlace:
    """A field of the slide in which something is wrong.

    Attributes
    ----------
    region : Region
        Level-0 px.
    area_um2 : float
        Of all that is wrong there.
    mistakes : tuple of Mistake
        Largest first.
    """

    region: Region
    area_um2: float
    mistakes: tuple[Mistake, ...]


class ErrorMap:
    """The errors of a run, filled part by part; the same pixels that the scores are of.

    Kept compressed in memory, and only where something is wrong.

    Parameters
    ----------
    grid : Grid
        Of the run's labels.
    levels : int
        Each exactly twice as coarse as the one before.
    mpp : (float, float)
        µm per level-0 pixel.
    field_um : float
        Side of the fields among which the worst places are chosen.
    """

    def __init__(self, grid: Grid, levels: int, mpp: Pair, field_um: float = 100.0) -> None:
        self.grid = grid
        self._pixel_um2 = float(np.prod(grid.scale(mpp)))
        self._field = max(1, round(field_um / max(grid.scale(mpp))))
        self._wrong: defaultdict[tuple[int, int], Counter[tuple[int, int]]] = defaultdict(Counter)
        self._kinds: Counter[int] = Counter()
        self._chunks: set[tuple[int, int]] = set()
        self._levels = [
            zarr.create_array(
                MemoryStore(),
                shape=grid.coarsened(2**level).shape,
                chunks=(_CHUNK, _CHUNK),
                dtype=np.uint8,
                fill_value=0,
            )
            for level in range(levels)
        ]

    def add(self, pair: ImagePair, ignore: int | None) -> None:
        """Take a part of the run with its truth; it knows its region."""
        if pair.region is None:
            raise ValueError(f"{pair.name} lies nowhere on a slide")
        errors = error_labels(pair.predicted, pair.truth, ignore)
        rows, columns = np.nonzero(errors)
        if not len(rows):
            return
        window = self.grid.window_of(pair.region)
        self._levels[0][window.slices] = errors
        for value, count in zip(*np.unique(errors[rows, columns], return_counts=True), strict=True):
            self._kinds[int(value)] += int(count)
        truth, said = (side[rows, columns].astype(np.int64) for side in (pair.truth, pair.predicted))
        rows, columns = rows + window.y, columns + window.x
        across = -(-self.grid.shape[1] // _CHUNK)
        touched = np.unique(rows // _CHUNK * across + columns // _CHUNK)
        self._chunks |= {divmod(int(key), across) for key in touched}
        wide = -(-self.grid.shape[1] // self._field)
        fields = rows // self._field * wide + columns // self._field
        keys, counts = np.unique((fields * _VALUES + truth) * _VALUES + said, return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            (place, true), predicted = divmod(key // _VALUES, _VALUES), key % _VALUES
            self._wrong[divmod(place, wide)][true, predicted] += count

    def finish(self, cancel: Event | None = None) -> None:
        """Make the coarser levels, once all parts are there.

        Raises
        ------
        Cancelled
        """
        chunks = self._chunks
        for fine, coarse in pairwise(self._levels):
            chunks = {(row // 2, column // 2) for row, column in chunks}
            for row, column in chunks:
                if cancel is not None and cancel.is_set():
                    raise Cancelled("The evaluation was cancelled; nothing was kept.")
                window = Window(row * 2 * _CHUNK, column * 2 * _CHUNK, 2 * _CHUNK, 2 * _CHUNK)
                part: npt.NDArray[np.uint8] = np.asarray(fine[window.slices], np.uint8)
                half = halve_labels(np.pad(part, [(0, side % 2) for side in part.shape]))
                place = Window(row * _CHUNK, column * _CHUNK, *half.shape)
                coarse[place.slices] = half

    @property
    def levels(self) -> list[Any]:
        """The pyramid, finest first: lazy arrays (h, w) uint8 of the values of `ERRORS`."""
        import dask.array as da

        return [da.from_zarr(level) for level in self._levels]

    def area_um2(self, value: int) -> float:
        """Return the area of one kind of error."""
        return self._kinds[value] * self._pixel_um2

    def worst(self, classes: ClassTable, most: int = 50) -> tuple[WrongPlace, ...]:
        """Return the fields in which most is wrong, the worst first.

        Parameters
        ----------
        classes : ClassTable
            Of the labels.
        most : int
        """
        names = defaultdict(str, {item.value: item.name for item in classes if item.value})
        first = sorted(self._wrong.items(), key=lambda entry: (-entry[1].total(), entry[0]))[:most]
        return tuple(self._place(field, counts, names) for field, counts in first)

    def _place(
        self, field: tuple[int, int], counts: Counter[tuple[int, int]], names: defaultdict[int, str]
    ) -> WrongPlace:
        whole = Window(0, 0, *self.grid.shape)
        window = Window(field[0] * self._field, field[1] * self._field, self._field, self._field)
        mistakes = tuple(
            Mistake(names[true], names[said], count * self._pixel_um2)
            for (true, said), count in counts.most_common()
        )
        region = self.grid.region_of(window.intersect(whole))
        return WrongPlace(region, counts.total() * self._pixel_um2, mistakes)
