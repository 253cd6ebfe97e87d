"""Objects of a label raster too large to hold: found block by block, whole across their borders."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_lumen.inference.measures import Objects
from napari_lumen.inference.object_blocks import BlockLook, Rasters, Seen
from napari_lumen.inference.plan import Cell

_MOST_THREADS = 4  # each may hold some 100 MB for a moment


def seen_by_threads(
    rasters: Rasters, how: BlockLook, blocks: Iterable[Cell], check: Callable[[], None] = lambda: None
) -> Generator[tuple[Cell, Seen]]:
    """Yield what is seen of blocks (row, column), in their order.

    Parameters
    ----------
    rasters : Rasters
    how : BlockLook
    blocks : iterable of (int, int)
    check : callable
        Called often; what it raises ends the search.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    waiting = deque(blocks)
    ahead: deque[tuple[Cell, Future[Seen]]] = deque()
    with ThreadPoolExecutor(threads, "lumen-objects") as pool:
        try:
            while waiting or ahead:
                while waiting and len(ahead) <= threads:
                    ahead.append((waiting[0], pool.submit(how.at, rasters, waiting.popleft(), check)))
                block, seen = ahead.popleft()
                yield block, seen.result()
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass
class ObjectJoiner:
    """Puts together the objects of a raster of what is seen of its blocks.

    Where an object reaches beyond its block, the piece in each block is measured on its own, and the pieces
    of one object are joined at the end: no pixel is lost or counted twice, and an object may be as large as
    the raster.

    Parameters
    ----------
    side : int
        Of the blocks, px.
    check : callable
        Called often; what it raises ends the search.

    Attributes
    ----------
    pixels : ndarray
        (256,) how many pixels have each label in the blocks so far, those of small objects included.
    """

    side: int
    check: Callable[[], None] = lambda: None
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64), init=False)
    _open: list[Objects] = field(default_factory=list, init=False)
    _pieces: int = field(default=0, init=False)
    _pairs: list[npt.NDArray[np.int64]] = field(default_factory=list, init=False)
    _beyond: dict[Cell, _Beyond] = field(default_factory=dict, init=False)

    def join(self, blocks: Iterable[tuple[Cell, Seen]]) -> Iterator[Objects]:
        """Yield the objects: after each block those that are whole, at last those that crossed borders.

        Parameters
        ----------
        blocks : iterable of ((int, int), Seen)
            By rows, and by columns within a row; those that hold nothing may be left out.
        """
        for block, seen in blocks:
            yield self._whole_in(block, seen)
        if self._open:
            yield self._crossing()

    def _whole_in(self, block: Cell, seen: Seen) -> Objects:
        """Return the objects that are whole in a block, and keep the pieces of others."""
        self.pixels += seen.pixels
        numbers, pieces = seen.numbers, seen.pieces
        reaching = np.isin(numbers, np.concatenate(seen.around))
        named = self._named_before(block, seen)
        crosses = reaching | np.isin(numbers, named[:, 1])
        piece = np.zeros(int(numbers.max(initial=0)) + 1, np.int64)  # from 1; 0 is none
        piece[numbers[crosses]] = np.arange(self._pieces, self._pieces + crosses.sum()) + 1
        self._pieces += int(crosses.sum())
        self._open.append(pieces[crosses])
        self._pairs.append(np.stack([named[:, 0], piece[named[:, 1]]], axis=1))
        _, below, _, right = seen.around
        going_on = (np.where(edge < len(piece), edge, 0) for edge in (right[1:-1], below))
        self._beyond[block] = _Beyond(*(piece[edge] for edge in going_on))
        for earlier in [cell for cell in self._beyond if cell[0] < block[0] - 1]:
            del self._beyond[earlier]
        return pieces[~crosses]

    def _named_before(self, block: Cell, seen: Seen) -> npt.NDArray[np.int64]:
        """Return (n, 2): pieces of earlier blocks that go on in this one, and as which of its instances."""
        row, column = block
        none = _Beyond(*(np.zeros(0, np.int64),) * 2)
        left = self._beyond.get((row, column - 1), none).right
        above, upper_left, upper_right = (
            self._beyond.get((row - 1, column + side), none).below for side in (0, -1, 1)
        )
        facing = [
            (left, seen.left),
            (above[1:-1], seen.top),
            (upper_left[-1:], seen.top[:1]),
            (upper_right[:1], seen.top[-1:]),
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
class _Beyond:
    """Which pieces of a block go on just outside it: along its right edge, and below it, corners included."""

    right: npt.NDArray[np.int64]
    below: npt.NDArray[np.int64]
