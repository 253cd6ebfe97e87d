"""Tiles on their way from a server: one reader waits until they come, a viewer for only a moment."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from functools import partial
from threading import Condition, Thread
from typing import Any

import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.slides.damage import Cell, Damage

Tile = npt.NDArray[Any]

_PATIENCE = 2.0  # seconds that a viewer waits: its window stands still as long
_BRIEF = 0.2  # seconds, of a server that was late or failed, until it delivers again
_IDLE = 5.0  # seconds after which a thread goes: it would keep the slide in memory


class Fetches:
    """Fetches tiles, each once however many ask for it, and first those that a viewer asked for last.

    The threads are daemons: no process has to wait for a server before it can end.

    Parameters
    ----------
    name : str
        Of the slide, for the sentences.
    fetch : callable
        Returns the tile of a cell; raises `SlideError`.
    damage : Damage
        Told of what a viewer did not get.
    threads : int
        Tiles that are on their way at once.
    """

    def __init__(self, name: str, fetch: Callable[[Cell], Tile], damage: Damage, threads: int) -> None:
        self._name = name
        self._fetch = fetch
        self._damage = damage
        self._most = threads
        self._changed = Condition()
        self._futures: dict[Cell, Future[Tile]] = {}  # asked for and not here yet
        self._viewed: list[Cell] = []  # by viewers, the newest last
        self._queue: deque[Cell] = deque()  # by all others, the oldest first
        self._threads = self._idle = 0
        self._prompt = True
        self._told = False

    def get(self, cells: Iterable[Cell]) -> dict[Cell, Tile]:
        """Return tiles, however long they take.

        Raises
        ------
        SlideError
        """
        cells = list(cells)
        futures = self._ask(cells, self._queue.extend)
        return {cell: futures[cell].result() for cell in cells}

    def get_in_time(self, cells: Iterable[Cell]) -> dict[Cell, Tile]:
        """Return the tiles that come within a moment.

        The others are put down as damage: until they have come, or for some seconds where they failed.
        """
        cells = [cell for cell in cells if cell not in self._damage]
        futures = self._ask(cells, lambda new: self._viewed.extend(reversed(list(new))))
        wait(futures.values(), _PATIENCE if self._prompt else _BRIEF)
        late = [cell for cell, future in futures.items() if not future.done()]
        for cell, future in futures.items():
            if cell in late:
                self._damage.put_off(cell)
            if cell in late or future.exception() is not None:
                future.add_done_callback(partial(self._settle, cell))
        if late:
            self._prompt = False
            self._tell()
        done = (cell for cell in futures if cell not in late and futures[cell].exception() is None)
        return {cell: futures[cell].result() for cell in done}

    def close(self) -> None:
        """Fetch nothing more of what has been asked for."""
        with self._changed:
            for cell in (*self._viewed, *self._queue):
                future = self._futures.pop(cell, None)
                if future is not None and not future.running():
                    future.set_exception(SlideError(f"{self._name} is closed; open it again."))
            self._viewed.clear()
            self._queue.clear()

    def _ask(self, cells: list[Cell], put: Callable[[Iterable[Cell]], None]) -> dict[Cell, Future[Tile]]:
        """Return the future of each cell, and put those that are not being fetched into a queue."""
        with self._changed:
            new = [cell for cell in cells if cell not in self._futures]
            self._futures.update({cell: Future() for cell in new})
            put(cell for cell in cells if not self._futures[cell].running())
            for _ in range(min(len(new) - self._idle, self._most - self._threads)):
                self._threads += 1
                Thread(target=self._run, name="lumen-fetch", daemon=True).start()
            self._changed.notify_all()
            return {cell: self._futures[cell] for cell in cells}

    def _run(self) -> None:
        while (found := self._next()) is not None:
            cell, future = found
            try:
                tile = self._fetch(cell)
            except BaseException as error:  # whoever waits gets it
                outcome = partial(future.set_exception, error)
            else:
                self._prompt = True
                outcome = partial(future.set_result, tile)
                del tile
            with self._changed:
                self._futures.pop(cell, None)
            outcome()
            del found, future, outcome

    def _next(self) -> tuple[Cell, Future[Tile]] | None:
        """Return what to fetch next, or None when nothing has been asked for in a while."""
        with self._changed:
            while True:
                while self._viewed or self._queue:
                    cell = self._viewed.pop() if self._viewed else self._queue.popleft()
                    future = self._futures.get(cell)
                    if future is not None and not future.running() and future.set_running_or_notify_cancel():
                        return cell, future
                self._idle += 1
                asked = self._changed.wait(_IDLE)
                self._idle -= 1
                if not asked and not self._viewed and not self._queue:
                    self._threads -= 1
                    return None

    def _settle(self, cell: Cell, future: Future[Tile]) -> None:
        """Put down how a tile ended that a viewer did not get."""
        error = future.exception()
        if isinstance(error, SlideError):
            self._prompt = False
            self._damage.tell(error)
            self._damage.add(cell, error)
        else:
            self._damage.lift(cell)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            warnings.warn(
                f"{self._name} is slow to come from its server; what is missing is shown hatched until then.",
                UserWarning,
                stacklevel=2,
            )
