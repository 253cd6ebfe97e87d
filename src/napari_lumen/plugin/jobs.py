"""Jobs: what the plugin does beside the GUI thread, but for reading ahead (`newest`).

A job is a plain function that takes `emit` and `cancel`. It runs in a thread of its own, fed to napari
through a generator worker: only those can be stopped (a function worker runs to its end), and every
callback comes back on the GUI thread.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import Any, Generic, Protocol, TypeVar

import scipy.spatial  # noqa: F401  # imports itself in a circle: of two threads that load it, one would fail

from napari_lumen.errors import Cancelled
from napari_lumen.plugin.own_warnings import OwnWarnings

T = TypeVar("T")
Emit = Callable[[Any], None]
Work = Callable[[Emit, Event], T]

_POLL = 0.05  # seconds between two looks at whether napari asks the worker to quit
_CLOSE_WAIT = 30.0  # seconds; a batch on a slow CPU takes seconds, never half a minute
_LEAVE_WAIT = 500  # ms; the pool is shared, and work of other windows may go on for long


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
        from qtpy.QtCore import QThreadPool

        self._closed = True
        waiting = list(self._workers.items())
        for job, _ in waiting:
            job.finished = True
            job.cancel.set()
        self._workers.clear()
        pool = QThreadPool.globalInstance()
        assert pool is not None
        deadline = time.monotonic() + _CLOSE_WAIT
        for _, worker in waiting:
            if worker.begun.is_set() or not _taken_back(pool, worker):
                worker.over.wait(max(0.0, deadline - time.monotonic()))
        if waiting:
            pool.waitForDone(_LEAVE_WAIT)  # its thread still lets go of the worker

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


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    """How a work ended. An error is a value here: raised in a worker, napari would show it a second time."""

    value: T | None = None
    error: BaseException | None = None


def _taken_back(pool: Any, worker: Any) -> bool:
    """Take a worker that has not begun out of a pool, and return whether it will never begin."""
    try:
        return bool(pool.tryTake(worker))
    except RuntimeError:  # it has begun and ended meanwhile, and Qt has deleted it
        return False


def _worker(work: Work[Any], cancel: Event, patience: float | None) -> Any:
    """Return a worker that leaves the process's warnings alone.

    superqt's own `run` puts its hook on `warnings` while it works: of two workers that overlap, the one
    that ends last puts back the hook of the other, and the window never hears of a warning again.
    """
    from superqt.utils import GeneratorWorker

    class Worker(GeneratorWorker):
        def __init__(self) -> None:
            super().__init__(_pumped, work, cancel, patience)
            self.begun = Event()
            self.over = Event()  # superqt's own flag falls before the last signals are sent

        def run(self) -> None:
            """Do the work and emit how it ended."""
            self.begun.set()
            try:
                self._run()
            finally:
                self.over.set()

        def _run(self) -> None:
            """Do it as superqt's own does, but for the warnings."""
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

    return Worker()


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
