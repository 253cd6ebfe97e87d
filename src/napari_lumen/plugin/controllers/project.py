"""The Project panel without its widgets: the cohort, opening its slides, and keeping what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.corrections.author import this_user
from napari_lumen.errors import LumenError, ProjectError
from napari_lumen.plugin import notices
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.controllers.correct_target import results_of
from napari_lumen.plugin.controllers.project_state import ProjectState
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.evaluation_truth import truth_layers
from napari_lumen.plugin.jobs import Callbacks, Emit, Job, JobRunner
from napari_lumen.plugin.placing import facts_of, fingerprint_of
from napari_lumen.plugin.project_layers import AUTHOR, Part, add_part, add_slide, parts_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.project import Agreement, Project, SlideStanding

_Standings = tuple["SlideStanding", ...]


class ProjectController:
    """State and rules of the Project panel.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    """

    changed = Signal(ProjectState)

    def __init__(self, viewer: ViewerModel, jobs: JobRunner) -> None:
        self._viewer = viewer
        self._jobs = jobs
        self._slides = SlideLayers(viewer)
        self._project: Project | None = None
        self._job: Job | None = None
        self._closed = False
        self.state = ProjectState(author=this_user())
        self._slides.changed.connect(self._look)
        self._look()

    # the project

    def create(self, folder: Path) -> None:
        """Make a project of a folder, and open it."""
        from napari_lumen.project import Project

        self._run("Making the project …", lambda emit, cancel: _standing(Project.create(folder)), self._take)

    def open(self, folder: Path) -> None:
        """Open a project."""
        from napari_lumen.project import Project

        self._run("Opening the project …", lambda emit, cancel: _standing(Project(folder)), self._take)

    def look_again(self) -> None:
        """Look at all slides again: what others have added, and whether the files are there."""
        self._do("Looking at the slides …", lambda project, emit, cancel: "")

    def add_open(self) -> None:
        """Add the slide in use, with its runs that are shown."""
        layer = self._chosen()
        if layer is None:
            return
        place = self._slides.slide(layer).location
        runs = [facts_of(x)["run"] for x in results_of(fingerprint_of(layer), self._viewer.layers)]

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            entry = next((x for x in project.slides if x.fingerprint == fingerprint_of(layer)), None)
            entry = entry or project.add_slide(place)
            for run in dict.fromkeys(runs):
                project.add_run(run)
            return f"{entry.name} is in the project, with {len(set(runs))} of its runs."

        self._do("Adding the slide …", work)

    def add_path(self, path: Path) -> None:
        """Add a slide, a run, a model, or annotations of the selected slide or the one their file names."""
        slide, author = self.state.selected, self.state.author

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            named = any(path.name.startswith(item.name) for item in project.slides)
            return f"Added {project.add(path, slide=None if named else slide, author=author)}."

        self._do(f"Adding {path.name} …", work)

    def find_moved(self, folder: Path) -> None:
        """Look in a folder, and all below it, for slides that are not where they were."""

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            found = project.find_moved([folder])
            return f"Found again: {', '.join(found)}." if found else "None of the missing slides is there."

        self._do("Looking for slides …", work)

    # a slide

    def select(self, name: str | None) -> None:
        """Select a slide of the table."""
        self._update(selected=name)

    def open_slide(self, name: str) -> None:
        """Open a slide with its newest run and what each person has drawn on it."""
        project = self._project
        standing = next((item for item in self.state.standings if item.entry.name == name), None)
        if project is None or standing is None or self.state.busy:
            return
        self._update(selected=name)
        known = self._layer_of(standing.entry.fingerprint)
        if known is not None:
            self._viewer.layers.selection.active = known
            self._update(message=f"{name} is open already.")
            return
        if standing.state == "missing":
            self._update(message=standing.problems[0] + " If it was moved, Find moved … finds it.")
            return
        place, fingerprint = standing.place, standing.entry.fingerprint

        def work(emit: Emit, cancel: Event) -> Any:
            from napari_lumen.plugin.opening import AnotherSlideError, open_ready

            try:
                return open_ready(place, cancel=cancel, fingerprint=fingerprint)
            except AnotherSlideError as error:
                raise ProjectError(
                    f"{place} is another slide than the one in the project, though it is named the same: put "
                    "that one back. Nothing was opened."
                ) from error

        def done(opened: Any) -> None:
            layer = add_slide(self._viewer, *opened)
            self._add_parts(name, layer, parts_of(project, name, Frame.of(layer), layer.name))

        self._run(f"Opening {name} …", work, done)

    def name_author(self, author: str) -> None:
        """Say who draws."""
        self._update(author=author.strip() or this_user())

    def keep_drawn(self) -> None:
        """Write the layer that `state.drawn` names into the project, as what its author has drawn."""
        found = self._drawn()
        if found is None:
            return
        slide, layer, name = found
        author = facts_of(layer).get(AUTHOR) or self.state.author
        data, frame = layer.as_layer_data_tuple(), Frame.of(slide)

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            from napari_lumen.plugin.annotation_writer import annotations_in

            drawn = annotations_in([data], frame)
            project.save_annotations(name, drawn, author)
            return f"{len(drawn):,} annotations of {author} are kept on {name}."

        self._do("Writing the annotations …", work)

    def compare(self, first: str, second: str) -> None:
        """Compare what two people have drawn on the selected slide."""
        project, slide = self._project, self.state.selected
        if project is None or slide is None:
            return

        def done(found: Agreement) -> None:
            self._update(agreement=found, compared=(slide, first, second))

        self._run("Comparing …", lambda emit, cancel: project.compare(slide, first, second), done)

    def score(self, author: str, *, corrected: bool = False) -> None:
        """Score the newest run of the selected slide against what a person has drawn."""
        slide = self.state.selected
        if slide is None:
            return

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            project.score(slide, author, corrected=corrected, on_progress=emit, cancel=cancel)
            return f"{slide} is scored against {author}."

        self._do("Scoring …", work)

    def cancel(self) -> None:
        """Ask what is being done to stop."""
        if self._job is not None and self.state.busy:
            self._job.cancel.set()
            self._update(cancelling=True)

    def close(self) -> None:
        """Stop everything and wait for it; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._jobs.close()
        self._slides.changed.disconnect(self._look)
        self._slides.close()

    # what happens

    def _take(self, outcome: tuple[Project, _Standings]) -> None:
        project, standings = outcome
        fresh = self._project is None or self._project.folder != project.folder
        self._project = project
        names = [item.entry.name for item in standings]
        selected = self.state.selected if self.state.selected in names else next(iter(names), None)
        self._update(
            folder=project.folder,
            name=project.name,
            standings=standings,
            selected=selected,
            **({"agreement": None, "compared": None} if fresh else {}),
        )
        self._look()

    def _add_parts(self, name: str, layer: Layer, left: Sequence[Callable[[], Part]]) -> None:
        """Read and show what belongs to a slide, one part after the other."""
        if not left or layer not in self._viewer.layers:
            return

        def done(part: Part) -> None:
            if layer in self._viewer.layers:
                add_part(self._viewer, layer, part)
            if part.problem:
                notices.warn(part.problem)
            self._add_parts(name, layer, left[1:])

        self._run(f"Reading what belongs to {name} …", lambda emit, cancel: left[0](), done)

    def _look(self, event: Any = None) -> None:
        """See which slide and which drawing are in use."""
        found = self._drawn()
        chosen = self._chosen()
        self._update(
            drawn="" if found is None else found[1].name,
            can_add=self._project is not None and chosen is not None,
        )

    def _chosen(self) -> Layer | None:
        return self._slides.selected() or next(reversed(self._slides.layers()), None)

    def _layer_of(self, fingerprint: str) -> Layer | None:
        return next((x for x in self._slides.layers() if fingerprint_of(x) == fingerprint), None)

    def _drawn(self) -> tuple[Layer, Layer, str] | None:
        """Return the slide in use, what is drawn on it, and its name in the project."""
        slide = self._chosen()
        if slide is None or self._project is None:
            return None
        entry = next((x for x in self._project.slides if x.fingerprint == fingerprint_of(slide)), None)
        layers: Sequence[Layer] = truth_layers(slide, self._viewer.layers)
        active = self._viewer.layers.selection.active
        layer = next((x for x in layers if x is active), None) or next(iter(layers), None)
        return None if entry is None or layer is None else (slide, layer, entry.name)

    def _do(self, busy: str, work: Callable[[Project, Emit, Event], str]) -> None:
        """Change the project, and show how it stands then."""
        folder = self.state.folder
        if folder is None:
            return

        def all_of_it(emit: Emit, cancel: Event) -> tuple[str, tuple[Project, _Standings]]:
            from napari_lumen.project import Project

            project = Project(folder)
            said = work(project, emit, cancel)
            return said, _standing(project)

        def done(outcome: tuple[str, tuple[Project, _Standings]]) -> None:
            said, standing = outcome
            self._take(standing)
            self._update(message=said)

        self._run(busy, all_of_it, done)

    def _run(self, busy: str, work: Callable[[Emit, Event], Any], done: Callable[[Any], None]) -> None:
        if self.state.busy:
            return
        self._update(busy=busy, cancelling=False, done=None, message="")

        def ended(message: str = "") -> None:
            self._job = None
            self._update(busy="", cancelling=False, done=None, message=message)

        def finished(outcome: Any) -> None:
            ended()
            done(outcome)

        def failed(error: BaseException) -> None:
            ours = isinstance(error, LumenError)
            ended(str(error) if ours else "That stopped on an unexpected error.")
            if not ours:
                notices.show(error)

        callbacks: Callbacks[Any] = Callbacks(
            lambda share: self._update(done=share), finished, failed, lambda: ended("Cancelled.")
        )
        self._job = self._jobs.start(work, callbacks)

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self.changed.emit(state)


def _standing(project: Project) -> tuple[Project, _Standings]:
    """Return a project with how its slides stand; opens each, so not for the GUI thread."""
    return project, tuple(project.standings())
