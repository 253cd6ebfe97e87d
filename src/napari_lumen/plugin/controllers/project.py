"""The Project panel without its widgets: the cohort, opening its slides, and keeping what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from napari_lumen.corrections.author import this_user
from napari_lumen.counting import counted
from napari_lumen.errors import ProjectError
from napari_lumen.plugin import notices
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.controllers.correct_layers import results_of
from napari_lumen.plugin.controllers.project_board import ProjectBoard
from napari_lumen.plugin.controllers.project_differences import ProjectDifferences
from napari_lumen.plugin.controllers.project_state import ProjectState
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.evaluation_truth import truth_layers
from napari_lumen.plugin.jobs import Emit, JobRunner
from napari_lumen.plugin.keeping import changes_of, note_kept
from napari_lumen.plugin.layers import KEY
from napari_lumen.plugin.placing import facts_of, fingerprint_of
from napari_lumen.plugin.project_layers import (
    AUTHOR,
    Part,
    add_part,
    add_slide,
    keep_drawn,
    parts_of,
    read_drawn,
)
from napari_lumen.plugin.together import set_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.project import Project


class ProjectController:
    """State and rules of the Project panel.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    """

    def __init__(self, viewer: ViewerModel, jobs: JobRunner) -> None:
        self.board = ProjectBoard(jobs)
        self._viewer = viewer
        self._slides = SlideLayers(viewer)
        self._slide: str | None = None  # that is in use
        self.differences = ProjectDifferences(viewer, self.board, self._layer_of)
        self._closed = False
        self._slides.changed.connect(self._look)
        self.board.taken.connect(self._look)
        self._look()

    @property
    def state(self) -> ProjectState:
        """What the panel shows."""
        return self.board.state

    # the project

    def create(self, folder: Path) -> None:
        """Make a project of a folder, and open it."""
        from napari_lumen.project import Project

        self.board.open("Making the project …", lambda: Project.create(folder))

    def open(self, folder: Path) -> None:
        """Open a project."""
        from napari_lumen.project import Project

        self.board.open("Opening the project …", lambda: Project(folder))

    def look_again(self) -> None:
        """Look at all slides again: what others have added, and whether the files are there."""
        self.board.change("Looking at the slides …", lambda project, emit, cancel: "")

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

        self.board.change("Adding the slide …", work)

    def add_path(self, path: Path) -> None:
        """Add a slide, a run, a model, or annotations of the selected slide or the one their file names."""
        slide, author = self.state.selected, self.state.author

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            named = any(path.name.startswith(item.name) for item in project.slides)
            return f"Added {project.add(path, slide=None if named else slide, author=author)}."

        self.board.change(f"Adding {path.name} …", work)

    def take_classes(self, file: Path) -> None:
        """Give the project the classes of a file: of a model, a run, annotations, or a table."""

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            from napari_lumen.annotations.class_files import read_classes

            project.set_classes(read_classes(file))
            return f"The classes of the project are {', '.join(item.name for item in project.classes)}."

        self.board.change(f"Reading {file.name} …", work)

    def find_moved(self, folder: Path) -> None:
        """Look in a folder, and all below it, for slides that are not where they were."""

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            found = project.find_moved([folder])
            return f"Found again: {', '.join(found)}." if found else "None of the missing slides is there."

        self.board.change("Looking for slides …", work)

    # a slide

    def select(self, name: str | None) -> None:
        """Select a slide of the table."""
        self.board.update(selected=name)

    def open_slide(self, name: str) -> None:
        """Open a slide with its newest run and what each person has drawn on it."""
        project = self.board.project
        standing = next((item for item in self.state.standings if item.entry.name == name), None)
        if project is None or standing is None or self.state.busy:
            return
        self.board.update(selected=name)
        known = self._layer_of(standing.entry.fingerprint)
        if known is not None:
            self._viewer.layers.selection.active = known
            self.board.update(message=f"{name} is open already.")
            return
        if standing.state == "missing":
            self.board.update(message=standing.problems[0] + " If it was moved, Find moved … finds it.")
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

        self.board.run(f"Opening {name} …", work, done)

    def name_author(self, author: str) -> None:
        """Say who draws."""
        self.board.update(author=author.strip() or this_user())

    def keep_drawn(self) -> None:
        """Write the layers that `state.drawn` names into the project, as what their author has drawn.

        What that person drew before and is not shown is kept as well, and shown from then on.
        """
        found = self._drawn()
        if found is None:
            return
        slide, layers, name = found
        author = self._author_of(layers[0])
        shown = any(AUTHOR in facts_of(layer) for layer in layers)
        data, frame = [layer.as_layer_data_tuple() for layer in layers], Frame.of(slide)
        changes = list(map(changes_of, layers))
        before: list[Part] = []

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            known = project.slide(name).by(author)
            if known is not None and not shown:
                before.append(read_drawn(Path(project.place(known.path)), author, frame))
            count, hidden = keep_drawn(project, name, author, data, before, frame)
            more = f", and {hidden:,} of before, which are shown now" if hidden else ""
            return f"{counted(count, 'annotation')} of {author} kept on {name}{more}."

        def done() -> None:
            for layer, known in zip(layers, changes, strict=True):
                layer.metadata[KEY] = {**facts_of(layer), AUTHOR: author}
                note_kept(layer, known)
            for part in before:
                add_part(self._viewer, slide, part)
            self._look()

        self.board.change("Writing the annotations …", work, done)

    def compare(self, first: str, second: str) -> None:
        """Compare what two people have drawn on the selected slide; see `ProjectDifferences`."""
        self.differences.compare(first, second)

    def score(self, author: str, *, corrected: bool = False) -> None:
        """Score the newest run of the selected slide against what a person has drawn."""
        slide = self.state.selected
        if slide is None:
            return

        def work(project: Project, emit: Emit, cancel: Event) -> str:
            project.score(slide, author, corrected=corrected, on_progress=emit, cancel=cancel)
            return f"{slide} is scored against {author}."

        self.board.change("Scoring …", work)

    def cancel(self) -> None:
        """Ask what is being done to stop."""
        self.board.cancel()

    def close(self) -> None:
        """Stop everything and wait for it; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self.board.jobs.close()
        self._slides.changed.disconnect(self._look)
        self._slides.close()

    # what happens

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

        self.board.run(f"Reading what belongs to {name} …", lambda emit, cancel: left[0](), done)

    def _look(self, event: Any = None) -> None:
        """See which slide and which drawing are in use."""
        found = self._drawn()
        chosen = self._chosen()
        self.board.update(
            drawn="" if found is None else ", ".join(layer.name for layer in found[1]),
            can_add=self.board.project is not None and chosen is not None,
        )

    def _chosen(self) -> Layer | None:
        self._slide = self._slides.chosen(self._slide)
        return self._slides.named(self._slide)

    def _layer_of(self, fingerprint: str) -> Layer | None:
        return next((x for x in self._slides.layers() if fingerprint_of(x) == fingerprint), None)

    def _author_of(self, layer: Layer) -> str:
        return str(facts_of(layer).get(AUTHOR) or self.state.author)

    def _drawn(self) -> tuple[Layer, list[Layer], str] | None:
        """Return the slide in use, all that one person has drawn on it, and its name in the project.

        That is the selected layer, else the topmost one, the layers of its set, and those of its author.
        """
        slide = self._chosen()
        if slide is None or self.board.project is None:
            return None
        entry = next((x for x in self.board.project.slides if x.fingerprint == fingerprint_of(slide)), None)
        layers = truth_layers(slide, self._viewer.layers)
        active = self._viewer.layers.selection.active
        chosen = next((x for x in layers if x is active), None) or next(iter(layers), None)
        if entry is None or chosen is None:
            return None
        of_set, author = set_of(chosen, layers), self._author_of(chosen)
        others = [x for x in layers if x not in of_set and facts_of(x).get(AUTHOR) == author]
        return slide, [chosen, *(x for x in of_set if x is not chosen), *others], entry.name
