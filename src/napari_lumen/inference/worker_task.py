"""The Dask task that a thread of a worker works on, and who waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Any

from distributed import get_worker

from napari_lumen.errors import Cancelled
from napari_lumen.models.allocator import memory_kept

OFTEN = 0.2  # s between two reports of progress, and two looks at what is wanted
one_at_a_time = Lock()  # the networks of two tasks would not fit into a GPU


class Task:
    """The Dask task that this thread works on, and who waits for it.

    Parameters
    ----------
    index : int
        By which the client knows it.
    topic : str
        That messages are told under.
    """

    def __init__(self, index: int, topic: str) -> None:
        self._worker = get_worker()
        self._key = self._worker.get_current_task()
        self._index = index
        self._topic = topic
        self._last = 0.0
        self.address: str = self._worker.address

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for it: Dask leaves a thread running when its task is cancelled."""
        task = self._worker.state.tasks.get(self._key)
        return task is not None and task.state != "cancelled"

    def tell(self, what: str, message: Any = None) -> None:
        """Send a message to the client."""
        self._last = monotonic()
        self._worker.log_event(self._topic, {"index": self._index, "what": what, "message": message})

    def due(self) -> bool:
        """Return whether the last message was sent some time ago."""
        return monotonic() - self._last > OFTEN

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other task works in this process, then work, and tell of both ends."""
        while not one_at_a_time.acquire(timeout=OFTEN):
            self.require_wanted()
        try:
            self.tell("begun", self.address)
            with memory_kept():
                yield
        finally:
            self.tell("stopped")
            one_at_a_time.release()

    def require_wanted(self) -> None:
        """Raise Cancelled when nobody waits any more."""
        if not self.wanted:
            raise Cancelled("The run was cancelled.")
