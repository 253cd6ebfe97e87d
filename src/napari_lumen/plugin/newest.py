"""A thread that works on the newest request alone, for what is done ahead of the user."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition, Thread
from typing import Generic, TypeVar

from napari_lumen.plugin.priority import come_last

T = TypeVar("T")

_TILE_WAIT = 0.5  # seconds


class Newest(Generic[T]):
    """A low-priority thread that works on the newest request, when no newer one has come for a moment.

    Parameters
    ----------
    work : callable
        Takes a request and ``stale``, a function to ask often: True when a newer request came or this one
        was dropped, and the work should stop.
    rest : float
        Seconds without a newer request before work begins.
    """

    def __init__(self, work: Callable[[T, Callable[[], bool]], None], rest: float) -> None:
        self._work = work
        self._rest = rest
        self._changed = Condition()
        self._request: T | None = None
        self._due = 0.0
        self._generation = 0
        self._thread: Thread | None = None
        self._closed = False

    def ask(self, request: T) -> None:
        """Put a request in the place of all earlier ones."""
        with self._changed:
            if self._closed:
                return
            self._generation += 1
            self._request, self._due = request, time.monotonic() + self._rest
            if self._thread is None:
                self._thread = Thread(target=self._run, name="lumen-ahead", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drop(self) -> None:
        """Forget the request and stop working on it."""
        with self._changed:
            self._generation += 1
            self._request = None

    def close(self) -> None:
        """Stop, and wait a moment for what is under way: a tile, which over a network may never come."""
        self.drop()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_TILE_WAIT)

    def _run(self) -> None:
        come_last()
        while (next_one := self._wait()) is not None:
            request, generation = next_one
            self._work(request, lambda generation=generation: generation != self._generation)  # type: ignore[misc]
            del next_one, request  # a slide that is closed must not live on in an idle thread

    def _wait(self) -> tuple[T, int] | None:
        """Return the next request and its generation, or None when it is over."""
        with self._changed:
            while not self._closed:
                left = self._due - time.monotonic()
                if self._request is not None and left <= 0:
                    request, self._request = self._request, None
                    return request, self._generation
                self._changed.wait(left if self._request is not None else None)
            return None
