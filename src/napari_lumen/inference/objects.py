"""Objects of a label raster too large to hold: found block by block, whole across their borders."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_lumen.geometry import Window
from napari_lumen.inference.instances import Numbers, components, split_touching
from napari_lumen.inference.measures import Objects, measure
from napari_lumen.inference.plan import Cell

_MOST_THREADS = 4  # each may hold some 100 MB for a moment

Labels = npt.NDArray[np.uint8]


class Rasters(Protocol):
    """What objects are found in."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""

    def labels(self, window: Window) -> Labels:
        """Return a window of the labels, uint8 (h, w); 0 is background."""

    def probability(self, window: Window) -> Labels:
        """Return a window of the probabilities, uint8 (classes, h, w) in steps of 1/255."""


@dataclass
class ObjectFinder:
    """Finds the connected areas of each class, and splits them where nuclei touch.

    Every block is looked at with a margin. Where an object reaches beyond its block, the piece in each block
    is measured on its own, and the pieces of one object are joined at the end: no pixel is lost or counted
    twice, and an object may be as large as the raster.

    Parameters
    ----------
    rasters : Rasters
    values : sequence of int
        Labels of the classes, in the order of the channels of the probability.
    side : int
        Of the blocks, px.
    margin : int
        Px, at least 1. Areas that lie within it around a block are split as in the whole raster; larger ones
        are split by what is seen of them, and the block that comes first decides at a border.
    split : bool
        Whether to split areas at their necks.
    smallest : int
        Px. Areas that are seen whole and are smaller are left out, which costs less than to measure them;
        smaller objects still come of larger areas and of pieces.
    check : callable
        Called often; what it raises ends the search.

    Attributes
    ----------
    pixels : ndarray
        (256,) how many pixels have each label in the blocks so far, those of small objects included.
    """

    rasters: Rasters
    values: tuple[int, ...]
    side: int
    margin: int = 1
    split: bool = False
    smallest: int = 1
    check: Callable[[], None] = lambda: None
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64), init=False)
    _open: list[Objects] = field(default_factory=list, init=False)
    _pieces: int = field(default=0, init=False)
    _pairs: list[npt.NDArray[np.int64]] = field(default_factory=list, init=False)
    _beyond: dict[Cell, _Beyond] = field(default_factory=dict, init=False)

    def find(self, blocks: Iterable[Cell]) -> Iterator[Objects]:
        """Yield the objects: after each block those that are whole, at last those that crossed borders.

        Parameters
        ----------
        blocks : iterable of (int, int)
            Rows and columns of the blocks that hold anything.
        """
        waiting = deque(sorted(set(blocks)))
        ahead: deque[tuple[Cell, Future[_Seen]]] = deque()
        with ThreadPoolExecutor(_threads(), "lumen-objects") as pool:
            try:
                while waiting or ahead:
                    while waiting and len(ahead) <= _threads():
                        ahead.append((waiting[0], pool.submit(self._seen_in, waiting.popleft())))
                    block, seen = ahead.popleft()
                    yield self._whole_in(block, seen.result())
            finally:
                pool.shutdown(cancel_futures=True)
        if self._open:
            yield self._crossing()

    def _seen_in(self, block: Cell) -> _Seen:
        """Look at one block by itself; safe from several threads."""
        whole = Window(0, 0, *self.rasters.shape)
        core = Window(block[0] * self.side, block[1] * self.side, self.side, self.side).intersect(whole)
        seen = _grown(core, self.margin).intersect(whole)
        labels = self.rasters.labels(seen)
        place = Window(core.y - seen.y, core.x - seen.x, core.height, core.width)
        pixels = np.bincount(labels[place.slices].ravel(), minlength=256)
        if not pixels[1:].any():
            return _Seen(
                pixels,
                np.zeros((core.height + 2, core.width + 2), np.int32),
                np.zeros(0, np.intp),
                Objects.none(),
            )
        framed = _part(self._instances(labels, place), seen, _grown(core, 1))
        self.check()
        channels = np.zeros(256, np.intp)
        channels[list(self.values)] = np.arange(len(self.values))
        numbers, pieces = measure(
            framed, core, labels[place.slices], self.rasters.probability(core), channels, self.check
        )
        return _Seen(pixels, framed, numbers, pieces)

    def _whole_in(self, block: Cell, seen: _Seen) -> Objects:
        """Return the objects that are whole in a block, and keep the pieces of others."""
        self.pixels += seen.pixels
        framed, numbers, pieces = seen.framed, seen.numbers, seen.pieces
        reaching = np.isin(numbers, np.concatenate(_edges(framed)))
        named = self._named_before(block, framed[1:-1, 1:-1])
        crosses = reaching | np.isin(numbers, named[:, 1])
        piece = np.zeros(int(numbers.max(initial=0)) + 1, np.int64)  # from 1; 0 is none
        piece[numbers[crosses]] = np.arange(self._pieces, self._pieces + crosses.sum()) + 1
        self._pieces += int(crosses.sum())
        self._open.append(pieces[crosses])
        self._pairs.append(np.stack([named[:, 0], piece[named[:, 1]]], axis=1))
        right, below = (np.where(edge < len(piece), edge, 0) for edge in (framed[1:-1, -1], framed[-1]))
        self._beyond[block] = _Beyond(piece[right], piece[below])
        for earlier in [cell for cell in self._beyond if cell[0] < block[0] - 1]:
            del self._beyond[earlier]
        return pieces[~crosses]

    def _instances(self, labels: Labels, core: Window) -> Numbers:
        """Number the instances of all classes from 1; areas outside a core, or too small, are left out."""
        found = np.zeros(labels.shape, np.int32)
        last = 0
        for value in self.values:
            areas = components(labels == value)
            wanted = np.bincount(areas.ravel()) >= self.smallest
            wanted[np.concatenate(_edges(areas))] = True  # they may be larger than is seen of them
            touching = np.zeros(len(wanted), bool)
            touching[areas[core.slices]] = True
            wanted &= touching
            wanted[0] = False
            self.check()
            if self.split and wanted.any():
                areas = split_touching(np.where(wanted[areas], areas, 0), self.check)
                wanted = np.arange(int(areas.max()) + 1) > 0
            found += np.where(wanted, np.cumsum(wanted, dtype=np.int32) + last, 0)[areas]
            last += int(wanted.sum())
        return found

    def _named_before(self, block: Cell, inside: Numbers) -> npt.NDArray[np.int64]:
        """Return (n, 2): pieces of earlier blocks that go on in this one, and as which of its instances."""
        row, column = block
        none = _Beyond(*(np.zeros(0, np.int64),) * 2)
        left = self._beyond.get((row, column - 1), none).right
        above, upper_left, upper_right = (
            self._beyond.get((row - 1, column + side), none).below for side in (0, -1, 1)
        )
        facing = [
            (left, inside[:, 0]),
            (above[1:-1], inside[0]),
            (upper_left[-1:], inside[0, :1]),
            (upper_right[:1], inside[0, -1:]),
        ]
        pairs = np.concatenate(
            [np.stack([before, here], axis=1) for before, here in facing if len(before)] or [np.zeros((0, 2))]
        ).astype(np.int64)
        return np.unique(pairs[(pairs > 0).all(axis=1)], axis=0)

    def _crossing(self) -> Objects:
        pieces = Objects.concatenated(self._open)
        pairs = np.concatenate(self._pairs) - 1
        graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(pieces),) * 2)
        count, owner = connected_components(graph, directed=False)
        return pieces.joined(owner, count, self.side, self.check)


@dataclass(frozen=True)
class _Seen:
    """What is seen of one block: pixels of each label, instances with a frame of one pixel, their pieces."""

    pixels: npt.NDArray[np.int64]
    framed: Numbers
    numbers: npt.NDArray[np.intp]
    pieces: Objects


@dataclass(frozen=True)
class _Beyond:
    """Which pieces of a block go on just outside it: along its right edge, and below it, corners included."""

    right: npt.NDArray[np.int64]
    below: npt.NDArray[np.int64]


def _threads() -> int:
    return min(_MOST_THREADS, os.cpu_count() or 1)


def _edges(values: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    return values[0], values[-1], values[:, 0], values[:, -1]


def _grown(window: Window, by: int) -> Window:
    return Window(window.y - by, window.x - by, window.height + 2 * by, window.width + 2 * by)


def _part(values: Numbers, of: Window, wanted: Window) -> Numbers:
    """Return a window of a raster of which another is known; 0 beyond it."""
    part = np.zeros((wanted.height, wanted.width), values.dtype)
    common = of.intersect(wanted)
    here = Window(common.y - wanted.y, common.x - wanted.x, common.height, common.width)
    there = Window(common.y - of.y, common.x - of.x, common.height, common.width)
    part[here.slices] = values[there.slices]
    return part
