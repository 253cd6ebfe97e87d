"""The pipeline of a run: tiles are read in threads while the batch before them is in the network."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

import numpy as np

from napari_lumen.errors import Cancelled, LumenError, RunError, first_line
from napari_lumen.geometry import Window
from napari_lumen.inference.forward import Answer, Forward, Pending
from napari_lumen.inference.reading import TileReader, Views

NO_NUMBER = "The network answered no number for it."
_BATCHES_AHEAD = 2
_MOST_READERS = 8


class Tiles(Protocol):
    """Tiles that are still to do, see `Order`."""

    def __bool__(self) -> bool: ...

    def take(self, count: int) -> list[Window]:
        """Return the next tiles, at most `count`."""


@dataclass(frozen=True)
class Processed:
    """A batch that has been through the network.

    Attributes
    ----------
    tiles : tuple of Window
        Of which `answer` speaks, in its order.
    answer : Answer or None
        None when no tile was answered.
    failed : tuple of Window
        Tiles that could not be read, or for which the network answered no number.
    """

    tiles: tuple[Window, ...]
    answer: Answer | None
    failed: tuple[Window, ...]


@dataclass
class Pipeline:
    """Readers, then the network.

    Parameters
    ----------
    reader : TileReader
    forward : Forward
    cancel : threading.Event
        Looked at before every batch.
    title : str
        Of the model, for what is said when its network fails.

    Attributes
    ----------
    waited, computed : float
        Seconds in which the network waited for tiles, and in which it computed.
    """

    reader: TileReader
    forward: Forward
    cancel: Event
    title: str
    waited: float = 0.0
    computed: float = 0.0
    _ahead: deque[tuple[Window, Future[Views | None]]] = field(default_factory=deque)

    def run(self, tiles: Tiles) -> Iterator[Processed]:
        """Yield batch after batch until no tile is left.

        Raises
        ------
        Cancelled
            Within one batch of the event, on a CPU within a part of one.
        RunError
            When the slide has gone meanwhile, or the network fails.
        """
        readers = min(_MOST_READERS, self.forward.cores)
        under_way: deque[tuple[tuple[Window, ...], Pending | None, tuple[Window, ...]]] = deque()
        with ThreadPoolExecutor(readers, thread_name_prefix="lumen-read") as pool:
            try:
                while tiles or self._ahead or under_way:
                    batch = self._next_batch(tiles, pool)
                    if self.cancel.is_set():
                        raise Cancelled("The run was cancelled.")
                    if batch is not None:
                        under_way.append(batch)
                    # one batch is computed while the one before it is put away
                    while under_way and (batch is None or len(under_way) > 1 or _is_ready(under_way[0][1])):
                        finished = self._finished(*under_way[0])
                        under_way.popleft()  # not before: what is cancelled is dropped below
                        yield finished
                self.reader.watch.ended()
            finally:
                self._ahead.clear()
                for _, pending, _ in under_way:
                    if pending is not None:
                        pending.drop()
                pool.shutdown(wait=True, cancel_futures=True)

    def _next_batch(
        self, tiles: Tiles, pool: ThreadPoolExecutor
    ) -> tuple[tuple[Window, ...], Pending | None, tuple[Window, ...]] | None:
        size = self.forward.batch
        missing = size * (_BATCHES_AHEAD + 1) - len(self._ahead)
        self._ahead.extend((tile, pool.submit(self.reader.read, tile)) for tile in tiles.take(missing))
        if not self._ahead:
            return None
        start = time.perf_counter()
        read: list[tuple[Window, Views | None]] = []
        while self._ahead and len(read) < size and not self.cancel.is_set():
            tile, future = self._ahead.popleft()
            read.append((tile, future.result()))
        self.waited += time.perf_counter() - start
        readable = [(tile, views) for tile, views in read if views is not None]
        failed = tuple(tile for tile, views in read if views is None)
        if not readable or self.cancel.is_set():
            return (), None, failed
        stacked = [np.stack(arrays) for arrays in zip(*(views for _, views in readable), strict=True)]
        start = time.perf_counter()
        with network_watched(self.title):
            pending = self.forward.submit(stacked)
        self.computed += time.perf_counter() - start
        return tuple(tile for tile, _ in readable), pending, failed

    def _finished(
        self, tiles: tuple[Window, ...], pending: Pending | None, failed: tuple[Window, ...]
    ) -> Processed:
        self.reader.watch.note(len(tiles), failed)
        if pending is None:
            return Processed(tiles, None, failed)
        start = time.perf_counter()
        with network_watched(self.title):
            answer = pending.result(self.cancel)
        self.computed += time.perf_counter() - start
        # the largest is NaN where any is, and costs the least of all ways to see it
        good = ~np.isnan(answer.probability.reshape(len(tiles), -1).max(axis=1))
        if good.all():
            return Processed(tiles, answer, failed)
        bad = tuple(tile for tile, fine in zip(tiles, good, strict=True) if not fine)
        self.reader.failures.update(dict.fromkeys(bad, NO_NUMBER))
        attention = {name: values[good] for name, values in answer.attention.items()}
        kept = Answer(answer.probability[good], attention) if good.any() else None
        return Processed(tuple(tile for tile in tiles if tile not in bad), kept, (*failed, *bad))


@contextmanager
def network_watched(title: str) -> Iterator[None]:
    """Say in one sentence that the network of a model fails; of memory and of a wish others tell.

    Raises
    ------
    RunError
        When it does.
    """
    try:
        yield
    except (LumenError, MemoryError):
        raise
    except Exception as error:  # torch and whoever wrote the network raise types of their own
        raise RunError(
            f"The network of {title} fails on tiles as its card describes them: {type(error).__name__}: "
            f"{first_line(error)}. Correct the model or choose another one; what is finished stays."
        ) from error


def _is_ready(pending: Pending | None) -> bool:
    return pending is None or pending.ready
