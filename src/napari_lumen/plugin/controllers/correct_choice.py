"""Choosing what is corrected: the slide, its run or none, the classes, and where it is kept."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.counting import counted
from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.controllers.correct_layers import results_of
from napari_lumen.plugin.controllers.correct_state import sizes_of
from napari_lumen.plugin.controllers.correct_target import Standing, Target, target_of
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.jobs import Callbacks, Emit
from napari_lumen.plugin.placing import facts_of, fingerprint_of
from napari_lumen.plugin.wording import run_title

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.plugin.controllers.correct_board import CorrectBoard

_NO_SLIDE = "Open a slide first: drop it on the window, or File > Open Sample > Lumen."
_NO_SIZE = "Give the pixel size in the Slide panel first: the slide's file does not state it."
_READING = "Reading the corrections …"
_NONE = ("", "No run")


class CorrectChoice:
    """Follows the slides and runs that are shown, and reads what is chosen of them.

    Parameters
    ----------
    viewer : ViewerModel
    board : CorrectBoard
        While a window is open nothing else can be chosen.
    """

    loaded = Signal(object)  # Target

    def __init__(self, viewer: ViewerModel, board: CorrectBoard) -> None:
        self.target: Target | None = None
        self._viewer = viewer
        self._board = board
        self._slides = SlideLayers(viewer)
        self._asked: tuple[Any, ...] = ()
        self._named: tuple[str | None, Path | None] | None = None  # slide and folder that names were given to
        self._slides.changed.connect(self.look)

    @property
    def layer(self) -> Layer | None:
        """The layer of the chosen slide."""
        return self._slides.named(self._board.state.slide)

    def choose_slide(self, name: str) -> None:
        """Choose the slide to correct on, by its name."""
        if not self._board.state.open:
            self._slides.choose(name)
            self.look()

    def choose_run(self, run: str) -> None:
        """Choose the run to correct by its folder; "" to begin with nothing."""
        if not self._board.state.open:
            self._board.update(run=run, folder=None, message="")
            self._load()

    def name_classes(self, names: str) -> None:
        """Name the classes, between commas, where there is no run.

        To those of corrections that there are some can be added; none of them can be left out.
        """
        state = self._board.state
        given = [name.strip() for name in names.split(",")]
        known = () if self.target is None or not state.windows else self.target.store.classes
        if lost := [item.name for item in known if item.name not in given]:
            message = (
                f'"{lost[0]}" is a class of {counted(len(state.windows), "corrected window")} and stays: '
                "revert them first, or choose another folder. New names can be added behind a comma."
            )
            self._board.update(message=message)
            notices.warn(message)
            return
        self._named = (state.slide, state.folder)
        self._board.update(class_names=names)
        self._load()

    def choose_folder(self, folder: Path) -> None:
        """Choose where corrections without a run are kept."""
        self._board.update(folder=folder)
        self._load()

    def slide_of(self, fingerprint: str) -> Layer | None:
        """Return the layer of the open slide of a fingerprint, or None."""
        return next((x for x in self._slides.layers() if fingerprint_of(x) == fingerprint), None)

    def name_of(self, layer: Layer) -> str:
        """Return the name of the slide that a layer stands for."""
        return self._slides.name(layer)

    def has_run(self, layer: Layer, run: str) -> bool:
        """Whether a run is shown over a slide."""
        return run in [path for path, _ in self._runs(layer)]

    def look(self) -> None:
        """See which slides and runs there are now."""
        state = self._board.state
        names = self._slides.names()
        self._board.update(slides=names)
        if state.open:
            return
        slide = self._slides.chosen(state.slide)
        layer = self._slides.named(slide)
        runs = () if layer is None else (*self._runs(layer), _NONE)
        paths = [path for path, _ in runs]
        fresh = slide != state.slide or runs != state.runs  # a run that has just come is meant
        run = state.run if state.run in paths and not (fresh and state.run == "") else next(iter(paths), "")
        folder = state.folder if (slide, run) == (state.slide, state.run) else None
        self._board.update(slide=slide, runs=runs, run=run, folder=folder)
        self._load()

    def take(self, target: Target, standing: Standing) -> None:
        """Make a target that was read the one that is corrected."""
        self.target = target
        sizes = sizes_of(target.grid.step, target.slide.require_mpp())
        state = self._board.state
        size = state.size if state.size in [factor for factor, _ in sizes] else 1.0
        classes = target.store.classes
        names = ", ".join(item.name for item in classes)
        run = "" if target.run is None else str(target.run.path)
        folder = target.store.folder
        self._asked = _asked(target.slide, run, folder, names)
        self._board.update(
            run=run,
            blocked=None,
            classes=classes,
            class_names=state.class_names if run else names,
            sizes=sizes,
            size=size,
            folder=folder,
            windows=standing.windows,
            counts=standing.counts,
        )
        self.loaded.emit(target)

    def close(self) -> None:
        """Let go of the viewer."""
        self._slides.changed.disconnect(self.look)
        self._slides.close()

    def _runs(self, layer: Layer) -> tuple[tuple[str, str], ...]:
        """Return folder and title of the runs that are shown over a slide, topmost first."""
        found: dict[str, str] = {}
        for result in reversed(results_of(fingerprint_of(layer), self._viewer.layers)):
            facts = facts_of(result)
            found.setdefault(facts["run"], run_title(facts["model"], Path(facts["run"])))
        return tuple(found.items())

    def _load(self) -> None:
        """Read what is chosen, if that is not what was read last."""
        state, layer = self._board.state, self.layer
        slide = None if layer is None else self._slides.slide(layer)
        if slide is None or slide.mpp is None:
            self._forget(_NO_SLIDE if slide is None else _NO_SIZE, ())
            return
        asked = _asked(slide, state.run, state.folder, state.class_names)
        if asked == self._asked or state.open:
            return
        self._forget(_READING, asked)
        run, folder, names = state.run, state.folder, state.class_names
        more = self._named == (state.slide, folder)

        def work(emit: Emit, cancel: Event) -> tuple[Target, Standing]:
            target = target_of(slide, run, folder, names, more=more)
            return target, target.update()

        def done(outcome: tuple[Target, Standing]) -> None:
            if asked == self._asked:
                self.take(*outcome)

        def failed(error: BaseException) -> None:
            if asked == self._asked:
                self._board.update(blocked=str(error))
                if not isinstance(error, LumenError):
                    notices.show(error)

        self._board.jobs.start(work, Callbacks(lambda event: None, done, failed, lambda: None))

    def _forget(self, why: str, asked: tuple[Any, ...]) -> None:
        self.target, self._asked = None, asked
        self._board.update(blocked=why, classes=None, counts=(), windows=(), sizes=())


def _asked(slide: Any, run: str, folder: Path | None, names: str) -> tuple[Any, ...]:
    """Return what decides a target: with a run, neither folder nor names."""
    return (slide, run) if run else (slide, run, folder, names)
