"""The one command of the Attention panel that is being done, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.jobs import Callbacks, Emit, Job, JobRunner


class AttentionTask:
    """Does one command at a time in a job.

    Parameters
    ----------
    jobs : JobRunner
    update : callable
        Takes the fields ``busy``, ``cancelling`` and ``message`` of `AttentionState`.
    """

    def __init__(self, jobs: JobRunner, update: Callable[..., None]) -> None:
        self._jobs = jobs
        self._update = update
        self._job: Job | None = None

    def run(self, busy: str, work: Callable[[Emit, Event], Any], done: Callable[[Any], None]) -> None:
        """Do work in a job and say so; `done` takes what it returns, in the GUI thread."""
        self._update(busy=busy, cancelling=False, message="")

        def ended(message: str = "") -> None:
            self._job = None
            self._update(busy="", cancelling=False, message=message)

        def finished(outcome: Any) -> None:
            ended()
            done(outcome)

        def failed(error: BaseException) -> None:
            ours = isinstance(error, LumenError)
            ended(str(error) if ours else "That stopped on an unexpected error.")
            if not ours:
                notices.show(error)

        self._job = self._jobs.start(
            work, Callbacks(lambda event: None, finished, failed, lambda: ended("Cancelled."))
        )

    def cancel(self) -> None:
        """Ask what is being done to stop."""
        if self._job is not None:
            self._job.cancel.set()
            self._update(cancelling=True)
