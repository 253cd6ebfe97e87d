"""The frontier of a run: cells that still wait for tiles, as weighted sums, within a bound of memory."""

from __future__ import annotations

import math
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Window
from napari_lumen.inference.pipeline import Processed
from napari_lumen.inference.plan import CELL, Cell, Plan, blending_window

Array = npt.NDArray[np.float32]

_LIMIT = 192 << 20  # bytes of sums held in memory; the rest waits on disk


@dataclass(frozen=True)
class FinishedCell:
    """What all tiles together say of one cell.

    Attributes
    ----------
    cell : (int, int)
        Row and column of the cell.
    probability : ndarray
        (classes, h, w) float32 in [0, 1]; 0 where no tile answered.
    covered : ndarray
        bool (h, w): where a tile answered.
    attention : dict of str to ndarray
        (h / stride, w / stride) float32, NaN where no tile answered.
    """

    cell: Cell
    probability: Array
    covered: npt.NDArray[np.bool_]
    attention: dict[str, Array]


@dataclass
class _Sum:
    """Weighted sum of what tiles say of one cell, (channels, h, w), and the sum of weights, (h, w)."""

    value: Array
    weight: Array

    @classmethod
    def empty(cls, channels: int, height: int, width: int) -> _Sum:
        return cls(np.zeros((channels, height, width), np.float32), np.zeros((height, width), np.float32))

    def mean(self, otherwise: float) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Return the mean, and where there is one."""
        known = self.weight > 0
        if (self.weight == 1).all():
            return self.value, known
        return np.divide(self.value, self.weight, out=np.full_like(self.value, otherwise), where=known), known


@dataclass
class _Open:
    """A cell that still waits for tiles."""

    probability: _Sum
    attention: dict[str, _Sum] = field(default_factory=dict)

    @property
    def size(self) -> int:
        sums = (self.probability, *self.attention.values())
        return sum(total.value.nbytes + total.weight.nbytes for total in sums)


def kept_stride(plan: Plan, own: int | None, side: int) -> int:
    """Return how many pixels of a plan's grid one pixel of an attention map covers as it is kept.

    Tiles, and the edges of a tile, lie at odd places of a coarse map: it is then kept at the finest common
    step.

    Parameters
    ----------
    plan : Plan
    own : int or None
        Stride of the map itself, see `AttentionInfo`; None where it covers a tile edge to edge.
    side : int
        Of the map of one tile, px.
    """
    if own is None:
        own = 1 if plan.tile % side else plan.tile // side
    return math.gcd(own, plan.overlap // 2, plan.tile - plan.overlap, plan.tile, CELL)


class Frontier:
    """Adds up what tiles say, and hands on each cell when its last tile has arrived.

    Parameters
    ----------
    plan : Plan
    cells : iterable of (int, int)
        Cells to be finished; what tiles say of others is dropped.
    limit : int
        Bytes of sums in memory; those touched longest ago go to a temporary file beyond it.
    strides : mapping of str to (int or None)
        Of attention maps, see `AttentionInfo`; maps that are not in it cover a tile edge to edge.
    """

    def __init__(
        self,
        plan: Plan,
        cells: Iterable[Cell],
        limit: int = _LIMIT,
        strides: Mapping[str, int | None] = MappingProxyType({}),
    ) -> None:
        self._plan = plan
        self._strides = strides
        wanted = set(cells)
        self._remaining = Counter(
            {cell: count for cell, count in plan.tiles_per_cell().items() if cell in wanted}
        )
        self._weights: dict[int, _Weights] = {}
        # where maps of a side are read, None for maps that are kept as they are
        self._places: dict[tuple[str, int], tuple[npt.NDArray[np.intp], ...] | None] = {}
        self._limit = limit
        self._held = 0
        self._open: OrderedDict[Cell, _Open] = OrderedDict()
        self._spilled: dict[Cell, Path] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Forget what is not finished."""
        self._open.clear()
        self._spilled.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def stride(self, name: str, side: int) -> int:
        """Return the stride of a map, by its name and its side in one tile, as `kept_stride` says."""
        return kept_stride(self._plan, self._strides.get(name), side)

    def take(self, batch: Processed) -> list[FinishedCell]:
        """Add what the network said of a batch, and return the cells that waited for it alone."""
        if batch.answer is not None:
            for index, tile in enumerate(batch.tiles):
                maps = {name: values[index] for name, values in batch.answer.attention.items()}
                self.add(tile, batch.answer.probability[index], maps)
        return [cell for tile in (*batch.tiles, *batch.failed) for cell in self.arrived(tile)]

    def add(self, tile: Window, probability: Array, attention: Mapping[str, Array]) -> None:
        """Add what the network says of one tile.

        Parameters
        ----------
        tile : Window
        probability : ndarray
            (classes, tile, tile) float32.
        attention : mapping of str to ndarray
            (side, side) float32 maps; what reaches beyond the tile is left out.
        """
        maps = {name: self._at_stride(name, values) for name, values in attention.items()}
        for cell in self._plan.cells_of(tile):
            if cell not in self._remaining:
                continue
            window = self._plan.cell_window(cell)
            opened = self._opened(cell, window, len(probability), maps)
            _accumulate(opened.probability, window, probability, tile, self._weights_at(1), 1)
            for name, (stride, value) in maps.items():
                _accumulate(opened.attention[name], window, value, tile, self._weights_at(stride), stride)
        self._spill()

    def arrived(self, tile: Window) -> list[FinishedCell]:
        """Count a tile, added or failed, and return the cells that waited for it alone.

        A cell of which no tile could be read comes out uncovered.
        """
        finished = []
        for cell in self._plan.cells_of(tile):
            if cell not in self._remaining:
                continue
            self._remaining[cell] -= 1
            if self._remaining[cell] == 0:
                del self._remaining[cell]
                finished.append(self._finish(cell))
        return finished

    def _finish(self, cell: Cell) -> FinishedCell:
        opened = self._take(cell)
        if opened is None:
            window = self._plan.cell_window(cell)
            nothing = np.zeros((window.height, window.width), bool)
            return FinishedCell(cell, np.zeros((1, *nothing.shape), np.float32), nothing, {})
        return FinishedCell(
            cell,
            *opened.probability.mean(0),
            {name: total.mean(math.nan)[0][0] for name, total in opened.attention.items()},
        )

    def _opened(
        self, cell: Cell, window: Window, classes: int, maps: Mapping[str, tuple[int, Array]]
    ) -> _Open:
        opened = self._take(cell)
        if opened is None:
            opened = _Open(_Sum.empty(classes, window.height, window.width))
            for name, (stride, _) in maps.items():
                size = -(-window.height // stride), -(-window.width // stride)
                opened.attention[name] = _Sum.empty(1, *size)
        self._open[cell] = opened
        self._held += opened.size
        return opened

    def _take(self, cell: Cell) -> _Open | None:
        opened = self._open.pop(cell, None)
        if opened is not None:
            self._held -= opened.size
            return opened
        spilled = self._spilled.pop(cell, None)
        if spilled is None:
            return None
        with np.load(spilled) as arrays:
            sums = {key: arrays[key] for key in arrays.files}
        spilled.unlink()
        opened = _Open(_Sum(sums.pop("v"), sums.pop("w")))
        for key in [key for key in sums if key.startswith("v:")]:
            opened.attention[key[2:]] = _Sum(sums[key], sums[f"w:{key[2:]}"])
        return opened

    def _spill(self) -> None:
        while self._held > self._limit and len(self._open) > 1:
            cell, opened = self._open.popitem(last=False)
            self._held -= opened.size
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="napari-lumen-")
            path = Path(self._folder.name) / f"{cell[0]}-{cell[1]}.npz"
            sums = {"v": opened.probability.value, "w": opened.probability.weight}
            for name, total in opened.attention.items():
                sums |= {f"v:{name}": total.value, f"w:{name}": total.weight}
            np.savez(path, **sums)  # type: ignore[arg-type]  # its stubs take names for flags
            self._spilled[cell] = path

    def _at_stride(self, name: str, values: Array) -> tuple[int, Array]:
        """Return the stride that a map (h, w) of a tile is kept at, and the map at it, (1, h, w)."""
        side = values.shape[-1]
        stride = self.stride(name, side)
        if (name, side) not in self._places:
            own = self._strides.get(name) or self._plan.tile / side
            middles = (np.arange(self._plan.tile // stride) + 0.5) * stride
            places = (middles / own).astype(np.intp)
            as_it_is = np.array_equal(places, np.arange(side))
            self._places[name, side] = None if as_it_is else np.ix_(places, places)
        place = self._places[name, side]
        if place is not None:
            values = values[place]
        return stride, values[None]

    def _weights_at(self, stride: int) -> _Weights:
        """Return the weights of a tile at a map's resolution, computed once."""
        if stride not in self._weights:
            side = self._plan.tile // stride
            window = blending_window(self._plan.tile, self._plan.overlap)
            pooled = np.asarray(window.reshape(side, stride, side, stride).mean(axis=(1, 3)), np.float32)
            self._weights[stride] = _Weights.of(pooled)
        return self._weights[stride]


@dataclass(frozen=True)
class _Weights:
    """Weights of a tile, (side, side), of which the rows and columns from `first` to `last` weigh 1.

    Of all tiles those of a pixel sum to 1: no other tile has weight where one weighs 1.
    """

    values: Array
    first: int
    last: int

    @classmethod
    def of(cls, values: Array) -> _Weights:
        ones = np.flatnonzero(np.diagonal(values) == 1)
        return cls(values, *((int(ones[0]), int(ones[-1]) + 1) if len(ones) else (0, 0)))


def _accumulate(
    total: _Sum, cell: Window, value: Array, tile: Window, weights: _Weights, stride: int
) -> None:
    """Add a tile's part of a cell; value (channels, h, w) and the weights have one pixel per `stride`.

    Most pixels belong to one tile alone: there its answer is taken as it is, without adding it up.
    """
    common = cell.intersect(tile)
    height, width = -(-common.height // stride), -(-common.width // stride)
    down, across = (common.y - cell.y) // stride, (common.x - cell.x) // stride
    y, x = (common.y - tile.y) // stride, (common.x - tile.x) // stride
    top, bottom = (min(max(edge, y), y + height) for edge in (weights.first, weights.last))
    left, right = (min(max(edge, x), x + width) for edge in (weights.first, weights.last))
    for rows, columns, alone in (
        (slice(top, bottom), slice(left, right), True),
        (slice(y, top), slice(x, x + width), False),
        (slice(bottom, y + height), slice(x, x + width), False),
        (slice(top, bottom), slice(x, left), False),
        (slice(top, bottom), slice(right, x + width), False),
    ):
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        place = (
            slice(rows.start - y + down, rows.stop - y + down),
            slice(columns.start - x + across, columns.stop - x + across),
        )
        if alone:
            total.value[:, *place] = value[:, rows, columns]
            total.weight[place] = 1
        else:
            inside = weights.values[rows, columns]
            total.value[:, *place] += value[:, rows, columns] * inside
            total.weight[place] += inside
