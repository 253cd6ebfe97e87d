"""The only place of the plugin that starts threads.

A job is a plain function that takes `emit` and `cancel`. It runs in a thread of its own, fed to napari
through a generator worker: only those can be stopped (a function worker runs to its end), and every
callback comes back on the GUI thread.
"""

from __future__ import annotations

import os
import queue
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Event, Thread, get_native_id
from typing import Any, Generic, Protocol, TypeVar

from napari_lumen.errors import Cancelled
from napari_lumen.plugin.own_warnings import OwnWarnings

T = TypeVar("T")
Emit = Callable[[Any], None]
Work = Callable[[Emit, Event], T]

_POLL = 0.05  # seconds between two looks at whether napari asks the worker to quit
_LOW_PRIORITY = 15  # of 19: below all that the user waits for
_TILE_WAIT = 0.5  # seconds
_CLOSE_WAIT = 30_000  # ms; a batch on a slow CPU takes seconds, never half a minute


@dataclass(frozen=True)
class Callbacks(Generic[T]):
    """What a job calls, always on the GUI thread; exactly one of the last three is called, once.

    Attributes
    ----------
    progress : callable
        Takes what the work emitted; values that came faster than the GUI took them are dropped.
    done : callable
        Takes the work's result. Never called once the job was cancelled.
    failed : callable
        Takes the exception.
    cancelled : callable
        Takes nothing.
    """

    progress: Callable[[Any], None]
    done: Callable[[T], None]
    failed: Callable[[BaseException], None]
    cancelled: Callable[[], None]


@dataclass(eq=False)
class Job:
    """One piece of work under way.

    Attributes
    ----------
    cancel : threading.Event
        The token that the work looks at.
    finished : bool
        Whether one of the closing callbacks has been called.
    """

    cancel: Event = field(default_factory=Event)
    finished: bool = False


class JobRunner(Protocol):
    """What a controller needs of `Jobs`; tests give one that runs at once or step by step."""

    def start(self, work: Work[T], callbacks: Callbacks[T]) -> Job:
        """Start some work and return its job."""
        ...

    def close(self) -> None:
        """Cancel everything and wait."""
        ...


class Jobs:
    """Starts jobs on worker threads and stops them all when its panel goes.

    Parameters
    ----------
    patience : float, optional
        Seconds that cancelled work is waited for; then it is left to its next look at its token, and what
        becomes of it is nobody's concern. For work that may hang on a network and leaves nothing behind.
        None waits to the end.
    """

    def __init__(self, patience: float | None = None) -> None:
        self._patience = patience
        self._workers: dict[Job, Any] = {}
        self._closed = False

    def start(self, work: Work[T], callbacks: Callbacks[T]) -> Job:
        """Start some work.

        Parameters
        ----------
        work : callable
            Takes ``emit`` (call it with progress) and ``cancel`` (a `threading.Event` to look at often);
            raises `Cancelled` when it stopped because of it.
        callbacks : Callbacks

        Returns
        -------
        Job
        """
        job = Job()
        worker = _worker(work, job.cancel, self._patience)
        self._workers[job] = worker
        worker.yielded.connect(partial(_on_progress, job, callbacks))
        worker.returned.connect(partial(self._on_returned, job, callbacks))
        worker.aborted.connect(partial(self._on_aborted, job, callbacks))
        worker.errored.connect(partial(self._on_errored, job, callbacks))
        worker.start()
        return job

    def close(self) -> None:
        """Cancel every job and wait until its thread has ended, or is left; no callback comes afterwards."""
        from qtpy.QtCore import QDeadlineTimer, QThread

        self._closed = True
        waiting = list(self._workers.items())
        for job, _ in waiting:
            job.finished = True
            job.cancel.set()
        self._workers.clear()
        deadline = QDeadlineTimer(_CLOSE_WAIT)
        while any(worker.is_running for _, worker in waiting) and not deadline.hasExpired():
            QThread.msleep(10)

    def _finish(self, job: Job) -> bool:
        """Close a job's books; False when it was closed before."""
        first = not job.finished
        job.finished = True
        self._workers.pop(job, None)
        return first and not self._closed

    def _on_returned(self, job: Job, callbacks: Callbacks[T], outcome: _Outcome[T]) -> None:
        if not self._finish(job):
            return
        if job.cancel.is_set() or isinstance(outcome.error, Cancelled):
            callbacks.cancelled()
        elif outcome.error is not None:
            callbacks.failed(outcome.error)
        else:
            callbacks.done(outcome.value)  # type: ignore[arg-type]  # a value there is without an error

    def _on_aborted(self, job: Job, callbacks: Callbacks[Any]) -> None:
        job.cancel.set()
        if self._finish(job):
            callbacks.cancelled()

    def _on_errored(self, job: Job, callbacks: Callbacks[Any], error: BaseException) -> None:
        if self._finish(job):
            callbacks.failed(error)


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
        if sys.platform == "linux":  # elsewhere a priority is the whole process's
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _LOW_PRIORITY)
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


def leave_one_core() -> None:
    """Let torch, in the calling thread, use every core but one: the viewer keeps drawing."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    """How a work ended. An error is a value here: raised in a worker, napari would show it a second time."""

    value: T | None = None
    error: BaseException | None = None


def _worker(work: Work[Any], cancel: Event, patience: float | None) -> Any:
    """Return a worker that leaves the process's warnings alone.

    superqt's own `run` puts its hook on `warnings` while it works: of two workers that overlap, the one
    that ends last puts back the hook of the other, and the window never hears of a warning again.
    """
    from superqt.utils import GeneratorWorker

    class Worker(GeneratorWorker):
        def run(self) -> None:
            """Do the work and emit how it ended, as superqt's own does, but for the warnings."""
            self.started.emit()
            self._running = True
            hook = OwnWarnings.put_on()
            try:
                result = self.work()
                if isinstance(result, Exception):  # its window is gone: there is nobody to tell
                    return
                if not self.abort_requested:
                    self.returned.emit(result)
            except Exception as error:
                self.errored.emit(error)
            finally:
                hook.take_off()
            self._running = False
            self.finished.emit()
            self._finished.emit(self)

    return Worker(_pumped, work, cancel, patience)


def _on_progress(job: Job, callbacks: Callbacks[Any], event: Any) -> None:
    if event is not None and not job.finished and not job.cancel.is_set():
        callbacks.progress(event)


def _pumped(work: Work[T], cancel: Event, patience: float | None) -> Generator[Any, None, _Outcome[T]]:
    """Run work in a thread and yield what it emits, or None now and then so that the worker can be quit."""
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            if cancel.is_set():
                raise Cancelled("Cancelled before it started.")
            outcome: _Outcome[T] = _Outcome(value=work(events.put, cancel))
        except BaseException as error:  # the outcome carries it to the GUI thread
            outcome = _Outcome(error=error)
        events.put(outcome)

    thread = Thread(target=run, name="lumen-job", daemon=True)
    thread.start()
    try:
        while True:
            event = _latest(events)
            if isinstance(event, _Outcome):
                return event
            if cancel.is_set() and patience is not None:
                return _Outcome(error=Cancelled("Cancelled."))
            yield event
    except GeneratorExit:
        cancel.set()
        raise
    finally:
        thread.join(patience)


def _latest(events: queue.SimpleQueue[Any]) -> Any:
    """Return the newest event, older ones dropped, or None when none comes for a moment."""
    event = None
    wait = True
    while not isinstance(event, _Outcome):
        try:
            event = events.get(block=wait, timeout=_POLL)
        except queue.Empty:
            break
        wait = False
    return event
