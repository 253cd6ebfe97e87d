"""The one command of a panel that is being done beside the GUI thread, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.jobs import Callbacks, Emit, Job, JobRunner


class Command:
    """Does one command at a time in a job, and tells the panel's state of it.

    Parameters
    ----------
    jobs : JobRunner
    update : callable
        Takes fields of the panel's state: ``busy``, ``message`` and those of `blank`.
    **blank
        Further fields of the state, as they are before a command has told anything and when it has ended;
        ``cancelling`` among them where commands can be cancelled.
    """

    def __init__(self, jobs: JobRunner, update: Callable[..., None], **blank: Any) -> None:
        self._jobs = jobs
        self._update = update
        self._blank = blank
        self._job: Job | None = None

    def run(
        self,
        busy: str,
        work: Callable[[Emit, Event], Any],
        done: Callable[[Any], None],
        progress: Callable[[Any], None] = lambda event: None,
    ) -> None:
        """Do work in a job and say so; `done` takes what it returns, in the GUI thread.

        A mistake of the user's is told in ``message``, an error of ours as a notification as well.
        """
        self._update(busy=busy, message="", **self._blank)

        def ended(message: str = "") -> None:
            self._job = None
            self._update(busy="", message=message, **self._blank)

        def finished(outcome: Any) -> None:
            ended()
            done(outcome)

        def failed(error: BaseException) -> None:
            ours = isinstance(error, LumenError)
            ended(str(error) if ours else "That stopped on an unexpected error.")
            if not ours:
                notices.show(error)

        self._job = self._jobs.start(work, Callbacks(progress, finished, failed, lambda: ended("Cancelled.")))

    def cancel(self) -> None:
        """Ask what is being done to stop."""
        if self._job is not None:
            self._job.cancel.set()
            self._update(cancelling=True)

    def close(self) -> None:
        """Have what is being done stop, and tell nobody."""
        if self._job is not None:
            self._job.cancel.set()
