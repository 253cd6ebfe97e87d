"""The open project, the state of its panel, and running one command at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.corrections.author import this_user
from napari_lumen.plugin.controllers.command import Command
from napari_lumen.plugin.controllers.project_state import ProjectState
from napari_lumen.plugin.jobs import Emit, JobRunner

if TYPE_CHECKING:
    from napari_lumen.project import Project, SlideStanding


class ProjectBoard:
    """Holds project and state, tells of their changes, and runs one command at a time.

    Parameters
    ----------
    jobs : JobRunner
    """

    changed = Signal(ProjectState)
    taken = Signal()  # the project as it stands now

    def __init__(self, jobs: JobRunner) -> None:
        self.jobs = jobs
        self.project: Project | None = None
        self.state = ProjectState(author=this_user())
        self._command = Command(jobs, self.update, cancelling=False, done=None)

    def update(self, **changes: Any) -> None:
        """Change fields of the state."""
        state = replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self.changed.emit(state)

    def open(self, busy: str, work: Callable[[], Project]) -> None:
        """Make what some work returns the open project, and show how it stands."""
        self.run(busy, lambda emit, cancel: _standing(work()), self._take)

    def change(
        self,
        busy: str,
        work: Callable[[Project, Emit, Event], str],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Change the project, say what came of it, show how it stands, and call `then`."""
        folder = self.state.folder
        if folder is None:
            return

        def all_of_it(emit: Emit, cancel: Event) -> tuple[str, tuple[Project, tuple[SlideStanding, ...]]]:
            from napari_lumen.project import Project

            project = Project(folder)
            said = work(project, emit, cancel)
            return said, _standing(project)

        def done(outcome: tuple[str, tuple[Project, tuple[SlideStanding, ...]]]) -> None:
            said, standing = outcome
            self._take(standing)
            self.update(message=said)
            then()

        self.run(busy, all_of_it, done)

    def run(self, busy: str, work: Callable[[Emit, Event], Any], done: Callable[[Any], None]) -> None:
        """Do the work of a command beside the GUI thread, then call `done` with what came of it.

        Does nothing while another command is at work. An error is shown, and `done` is not called.
        """
        if self.state.busy:
            return
        self._command.run(busy, work, done, lambda share: self.update(done=share))

    def cancel(self) -> None:
        """Ask what is being done to stop."""
        self._command.cancel()

    def _take(self, outcome: tuple[Project, tuple[SlideStanding, ...]]) -> None:
        project, standings = outcome
        fresh = self.project is None or self.project.folder != project.folder
        self.project = project
        names = [item.entry.name for item in standings]
        selected = self.state.selected if self.state.selected in names else next(iter(names), None)
        self.update(
            folder=project.folder,
            name=project.name,
            classes=tuple(item.name for item in project.classes),
            standings=standings,
            selected=selected,
            **({"agreement": None, "compared": None, "differences": None} if fresh else {}),
        )
        self.taken.emit()


def _standing(project: Project) -> tuple[Project, tuple[SlideStanding, ...]]:
    """Return a project with how its slides stand; opens each, so not for the GUI thread."""
    return project, tuple(project.standings())
