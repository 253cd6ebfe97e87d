"""The state of the Correct panel, which its controllers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

from psygnal import Signal

from napari_lumen.corrections.author import this_user
from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.controllers.correct_state import CorrectState
from napari_lumen.plugin.jobs import Callbacks, Emit, Job, JobRunner


class CorrectBoard:
    """Holds the state, tells of its changes, and runs one command at a time.

    Parameters
    ----------
    jobs : JobRunner
    """

    changed = Signal(CorrectState)

    def __init__(self, jobs: JobRunner) -> None:
        self.jobs = jobs
        self.state = CorrectState(author=this_user())

    def update(self, **changes: Any) -> None:
        """Change fields of the state."""
        state = replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self.changed.emit(state)

    def run(self, busy: str, work: Callable[[Emit, Event], Any], done: Callable[[Any], None]) -> Job:
        """Do the work of a command beside the GUI thread, then call `done` with what came of it.

        Parameters
        ----------
        busy : str
            What to show meanwhile.
        work, done : callable
            As of `Callbacks`. What is emitted is shown instead of `busy`. An error is shown, and `done` is
            not called.

        Returns
        -------
        Job
        """
        self.update(busy=busy, message="")

        def finished(outcome: Any) -> None:
            self.update(busy="")
            done(outcome)

        def failed(error: BaseException) -> None:
            ours = isinstance(error, LumenError)
            self.update(busy="", message=str(error) if ours else "That stopped on an unexpected error.")
            notices.show(error)

        def cancelled() -> None:
            self.update(busy="")

        return self.jobs.start(
            work, Callbacks(lambda text: self.update(busy=text), finished, failed, cancelled)
        )
