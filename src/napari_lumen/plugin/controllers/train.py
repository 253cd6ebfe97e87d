"""The Train panel without its widgets: what is chosen, what may be trained, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.errors import Cancelled, LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.controllers.train_config import configured, wrong_number
from napari_lumen.plugin.controllers.train_sources import TrainingSources
from napari_lumen.plugin.controllers.train_state import TrainState, next_name, why_blocked
from napari_lumen.plugin.jobs import Callbacks, Emit, Job, JobRunner
from napari_lumen.plugin.recipe_fields import changed
from napari_lumen.plugin.training_data import DataFound, DataKind, Elsewhere, look_at_data
from napari_lumen.plugin.training_work import (
    OUT,
    Trained,
    TrainingCatalogue,
    look_up_training,
    put_down,
    throw_away,
    train_in,
    trainings_folder,
    unfinished,
)
from napari_lumen.plugin.wording import duration

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_lumen.plugin.live_training import LiveTraining
    from napari_lumen.training.estimate import Estimate


class TrainController:
    """State and rules of the Train panel.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    catalogue : callable, optional
        Returns recipes, models and devices; called on a worker thread.
    work : callable, optional
        As `train_in`.
    """

    changed = Signal(TrainState)
    model_made = Signal(Path)  # the folder of a model that is there from now on

    def __init__(
        self,
        viewer: ViewerModel,
        jobs: JobRunner,
        catalogue: Callable[[], TrainingCatalogue] = look_up_training,
        work: Callable[..., Trained] = train_in,
    ) -> None:
        self._viewer, self._jobs, self._work = viewer, jobs, work
        self._catalogue = catalogue
        self._slides = SlideLayers(viewer)
        self._slides.changed.connect(self._on_layers)
        self._models: frozenset[str] = frozenset()
        self._looking: Job | None = None
        self._estimating: Job | None = None
        self._training: Job | None = None
        self._sources = TrainingSources(viewer, self._slides)
        self._pauses = False
        self.state = TrainState()
        self._on_layers()
        self._look_up()

    # what the user chooses

    def choose_data(self, kind: DataKind) -> None:
        """Choose what to learn from."""
        self._update(data=kind, found=None, folder=None, author="", estimate=None, data_problem="")
        self.look()

    def choose_slide(self, name: str) -> None:
        """Choose the slide whose annotations or corrections are learned from."""
        self._slides.choose(name)

    def choose_folder(self, folder: Path) -> None:
        """Choose a folder of data or corrections."""
        self._update(folder=folder, author="", found=None, estimate=None)
        self.look()

    def choose_author(self, author: str) -> None:
        """Choose whose annotations of a project are learned from; "" for whoever drew last on each slide."""
        self._update(author=author, estimate=None)
        self.look()

    def choose_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Choose what the parts of a window are that nobody has annotated."""
        self._update(elsewhere=elsewhere, found=None, estimate=None)
        self.look()

    def choose_held_out(self, per_cent: int) -> None:
        """Choose how much is validated on."""
        self._update(held_out=per_cent, estimate=None)
        self.look()

    def choose_recipe(self, name: str) -> None:
        """Choose a recipe with its own numbers, from random weights."""
        recipe = next(item for item in self.state.recipes if item.name == name)
        self._update(recipe=recipe, numbers={}, start=None, estimate=None)

    def choose_start(self, path: Path | None) -> None:
        """Choose the model to begin with, and the recipe and numbers that it fits; None for none."""
        start = next((item for item in self.state.starts if item.path == path), None)
        if start is None:
            self._update(start=None, estimate=None)
            return
        recipe = next(item for item in self.state.recipes if item.name == start.recipe)
        self._update(start=start, recipe=recipe, numbers=dict(start.numbers), estimate=None)
        if self.state.data in ("annotations", "project"):  # they are cut at the model's pixel size
            self.look()

    def set_number(self, name: str, value: Any) -> None:
        """Set a number of the recipe."""
        if self.state.recipe is not None:
            numbers = changed(self.state.recipe.fields, {**self.state.numbers, name: value})
            self._update(numbers=numbers, estimate=None)

    def choose_name(self, name: str) -> None:
        """Choose the name of the new model."""
        self._update(name=name.strip())

    def choose_device(self, device: str) -> None:
        """Choose the device by its name."""
        self._update(device=device, estimate=None)

    def look(self) -> None:
        """Look at the data that are chosen, and count their classes."""
        if self._looking is not None:
            self._looking.cancel.set()
            self._looking = None
        request = self._sources.request(self.state)
        if request is None or self.state.busy:
            self._update(looking=False, found=None, data_problem=self._sources.nothing(self.state))
            return

        def work(emit: Emit, cancel: Event) -> DataFound:
            return look_at_data(request, lambda: _check(cancel))

        self._update(looking=True, found=None, estimate=None, data_problem="", result="")
        self._looking = self._jobs.start(
            work, Callbacks(lambda event: None, self._on_found, self._on_not_found, lambda: None)
        )

    def estimate(self) -> None:
        """Say how long it would take, by doing a few steps."""
        config = configured(self.state) if self.state.stage == "idle" else None
        if config is None:
            return

        def work(emit: Emit, cancel: Event) -> Estimate:
            from napari_lumen.plugin.priority import give_way
            from napari_lumen.training.estimate import dry_run

            give_way()
            return dry_run(config, on_stage=emit, cancel=cancel)

        self._update(stage="estimating", message="Looking …", estimate=None)
        callbacks = Callbacks[Any](
            lambda stage: self._update(message=f"{stage[:1].upper()}{stage[1:]} …"),
            self._on_estimate,
            self._on_estimate_failed,
            lambda: self._update(stage="idle", message=""),
        )
        self._estimating = self._jobs.start(work, callbacks)

    def start(self) -> None:
        """Start the training that is chosen; does nothing while `state.blocked` says why not."""
        config = configured(self.state) if self.state.stage == "idle" else None
        if config is None or self.state.found is None:
            self._update()
            return
        data = Path(self.state.found.source["folder"]) if self.state.data == "annotations" else None
        try:
            folder = put_down(config, data)
        except LumenError as error:
            self._update(message=str(error))
            notices.show(error)
            return
        self._go(folder)

    def go_on(self, name: str) -> None:
        """Go on with a training that was paused or broken off."""
        if self.state.stage == "idle" and name in self.state.unfinished:
            self._go(trainings_folder() / name)

    def discard(self, name: str) -> None:
        """Throw a training that was paused or broken off away."""
        if not self.state.busy and name in self.state.unfinished:
            throw_away(trainings_folder() / name)
            self._update(unfinished=unfinished(), message=f"{name} was discarded.")

    def pause(self) -> None:
        """Stop after the step that is being made; the training can go on later, also after a restart."""
        self._stop(pauses=True)

    def cancel(self) -> None:
        """Stop and throw away what was learned, or stop estimating."""
        if self._estimating is not None:
            self._estimating.cancel.set()
        self._stop(pauses=False)

    def close(self) -> None:
        """Stop everything and wait for it; a training is paused."""
        self._slides.close()
        self._jobs.close()
        self._sources.close()

    # what happens

    def _look_up(self) -> None:
        self._jobs.start(
            lambda emit, cancel: self._catalogue(),
            Callbacks(lambda event: None, self._on_catalogue, self._on_catalogue_failed, lambda: None),
        )

    def _on_catalogue(self, found: TrainingCatalogue) -> None:
        self._models = found.names
        recipe = self.state.recipe or next(iter(found.recipes), None)
        self._update(
            recipes=found.recipes,
            recipe=recipe,
            starts=found.starts,
            devices=found.devices,
            unfinished=found.unfinished,
        )
        if self.state.found is None:
            self.look()

    def _on_catalogue_failed(self, error: BaseException) -> None:
        self._update(message="The recipes and models could not be read.")
        notices.show(error)

    def _on_layers(self) -> None:
        names = self._slides.names()
        before = self.state.slide
        keeps = self.state.busy and before in names  # what a training learns from stays shown
        slide = before if keeps else self._slides.chosen(before)
        self._update(slides=names, slide=slide)
        if slide != before and self.state.recipe is not None and self._sources.asks_slide(self.state):
            self.look()

    def _on_found(self, found: DataFound) -> None:
        self._looking = None
        self._update(looking=False, found=found)

    def _on_not_found(self, error: BaseException) -> None:
        self._looking = None
        self._update(looking=False, found=None, data_problem=_sentence(error))

    def _on_estimate(self, estimate: Estimate) -> None:
        self._estimating = None
        self._update(stage="idle", estimate=estimate, message="")

    def _on_estimate_failed(self, error: BaseException) -> None:
        self._estimating = None
        self._update(stage="idle", message=_sentence(error))
        notices.show(error)

    def _go(self, folder: Path) -> None:
        self._pauses = False
        self._update(stage="training", training=folder.name, live=None, estimate=None, message="", result="")
        self._training = self._jobs.start(
            lambda emit, cancel: self._work(folder, emit, cancel),
            Callbacks[Any](self._on_progress, self._on_done, self._on_failed, self._on_cancelled),
        )

    def _stop(self, *, pauses: bool) -> None:
        if self._training is not None and self.state.stage == "training":
            self._pauses = pauses
            self._update(stage="pausing" if pauses else "cancelling")
            self._training.cancel.set()

    def _on_progress(self, live: LiveTraining) -> None:
        self._update(live=live)

    def _on_done(self, trained: Trained) -> None:
        self._training = None
        self._models |= {trained.model.name}
        state = trained.training.state
        self._update(
            stage="idle",
            name=next_name(self.state.training, self._models | set(self.state.unfinished)),
            message=f"{trained.title} is in the Run model panel now. Trained in {duration(state.seconds)}.",
            result=_comparison(trained),
            unfinished=unfinished(),
        )
        self._look_up()
        self.model_made.emit(trained.model)
        notices.tell(f"The training {self.state.training} has finished.")

    def _on_failed(self, error: BaseException) -> None:
        self._training = None
        if not self._has_learned():  # it would only be in the way of another one
            throw_away(trainings_folder() / self.state.training)
        self._update(stage="idle", message=_sentence(error), unfinished=unfinished())
        notices.show(error)

    def _on_cancelled(self) -> None:
        self._training = None
        if self._pauses:
            message = "Paused. What is learned is kept."
            if not self._has_learned():
                message = "Paused before its first step. It is kept, and can go on."
        else:
            throw_away(trainings_folder() / self.state.training)
            message = "Cancelled. Nothing was kept."
        self._update(stage="idle", message=message, live=None, unfinished=unfinished())

    def _has_learned(self) -> bool:
        return (trainings_folder() / self.state.training / OUT / "checkpoint.pt").is_file()

    # rules

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        taken = self._models | set(state.unfinished)
        state = replace(state, blocked=why_blocked(state, taken, wrong_number(state)))
        if state != self.state:
            self.state = state
            self.changed.emit(state)


def _comparison(trained: Trained) -> str:
    """Return the new model beside the one it came from, of the scores that both have."""
    lines = [
        f"{name}: {before:.3f} before, {now:.3f} now" for name, (before, now) in trained.compared.items()
    ]
    return "\n".join(["On the same held-out images", *lines]) if lines else ""


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, LumenError) else "It stopped on an unexpected error."


def _check(cancel: Event) -> None:
    if cancel.is_set():
        raise Cancelled("Not looked at to the end.")
