"""The Run model panel without its widgets: what is chosen, what may be run, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.counting import counted
from napari_lumen.errors import Cancelled, LumenError
from napari_lumen.geometry import Region
from napari_lumen.plugin import notices
from napari_lumen.plugin.catalogue import Catalogue, ModelChoice, look_up
from napari_lumen.plugin.controllers.run_overlay import RunOverlay
from napari_lumen.plugin.controllers.run_state import Result, RunState, Where, why_blocked
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.growing import growing_layers
from napari_lumen.plugin.jobs import Callbacks, Emit, Job, JobRunner
from napari_lumen.plugin.layers import RunLayers, run_layers
from napari_lumen.plugin.placing import origin_of
from napari_lumen.plugin.regions import selected_area, view_region
from napari_lumen.plugin.wording import area, duration

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.inference.live import Live
    from napari_lumen.inference.progress import Progress
    from napari_lumen.inference.run import Run
    from napari_lumen.models import Model
    from napari_lumen.slides import Slide

Predict = Callable[..., "Run"]


class RunModelController:
    """State and rules of the Run model panel.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    predict : callable, optional
        As `napari_lumen.predict`.
    catalogue : callable, optional
        Returns the models and devices; called on a worker thread.
    out : Path, optional
        Folder of the next run; one in the user's data folder when left out.
    """

    changed = Signal(RunState)
    finished = Signal(object)  # Result
    counted = Signal(tuple)  # of ClassCount: of the newest result, with what people have corrected
    result_gone = Signal()  # the last layer of the newest result was removed
    trust_asked = Signal(ModelChoice)  # a foreign model is to run; call `trust`, then `run`, if it may

    def __init__(
        self,
        viewer: ViewerModel,
        jobs: JobRunner,
        predict: Predict | None = None,
        catalogue: Callable[[], Catalogue] = look_up,
        out: Path | None = None,
    ) -> None:
        self.out = out
        self._viewer = viewer
        self._jobs = jobs
        self._predict = predict or _predict
        self._slides = SlideLayers(viewer)
        self._slides.changed.connect(self._on_layers)
        self._job: Job | None = None
        self._running_on: Layer | None = None
        self._begun = Event()  # set when the run has told of itself
        self._overlay = RunOverlay(viewer, self.counted.emit)
        self._newest: Run | None = None  # whose layers are shown
        self._looked_at = Region(0, 0, 0, 0)
        self._asked_of: Layer | None = None
        self._known: float | None = None
        self._trusted: set[Path] = set()
        self._catalogue_read = False
        self.state = RunState()
        self._on_layers()
        self._catalogue = catalogue
        self.look_again()

    def look_again(self) -> None:
        """Read anew which models and devices there are; what is chosen stays chosen."""
        self._jobs.start(
            lambda emit, cancel: self._catalogue(),
            Callbacks(lambda event: None, self._on_catalogue, self._on_catalogue_failed, lambda: None),
        )

    # what the user chooses

    def choose_slide(self, name: str) -> None:
        """Choose the slide to run on, by its layer's name."""
        self._slides.choose(name)

    def choose_model(self, path: Path) -> None:
        """Choose a model by its folder."""
        self._update(model=next((item for item in self.state.models if item.path == path), self.state.model))

    def choose_where(self, where: Where) -> None:
        """Choose what part of the slide to run on."""
        self._update(where=where)

    def choose_device(self, device: str) -> None:
        """Choose the device by its name."""
        self._update(device=device)

    def give_pixel_size(self, size: float | None) -> None:
        """Give the pixel size in µm of a slide whose file does not state it; None takes it back."""
        self._update(pixel_size=size)

    def trust(self, model: ModelChoice) -> None:
        """Let a foreign model run the code that it brings along, until the window is closed."""
        self._trusted.add(model.path)

    def run(self) -> None:
        """Start a run with what is chosen; does nothing while `state.blocked` says why not.

        A foreign model that was not trusted before is asked about instead.
        """
        layer = self._slides.named(self.state.slide)
        if self.state.running or self._blocked(self.state) or layer is None or self.state.model is None:
            self._update()
            return
        if self.state.model.danger and self.state.model.path not in self._trusted:
            self.trust_asked.emit(self.state.model)
            return
        slide = self._slides.slide(layer)
        region = self._region(layer)
        if isinstance(region, Region) and region.empty:
            self._update(message=f"The view shows nothing of {layer.name}: move it over the slide.")
            return
        size = self.state.pixel_size if self.state.asks_pixel_size else None
        if size not in (None, _known_size(slide)) and not self._slides.give_pixel_size(layer, size):
            return
        model, device, out, name = self.state.model, self.state.device, self.out, layer.name
        self._looked_at = self._view(layer)
        grows = self._overlay.begin()

        begun = self._begun = Event()

        def work(emit: Emit, cancel: Event) -> tuple[Run, RunLayers]:
            def tell(progress: Progress) -> None:
                begun.set()
                emit(progress)

            def begin(live: Live) -> None:
                grows(live, growing_layers(live, slide, name))

            run = self._predict(
                slide,
                _trusted(model) if model.danger else model.path,
                region=region,
                out=out,
                device=device,
                on_progress=tell,
                cancel=cancel,
                focus=lambda: self._looked_at,
                on_live=begin,
            )
            return run, run_layers(run, name)

        self._running_on = layer
        self._update(running=True, cancelling=False, progress=None, message="")
        self._job = self._jobs.start(
            work, Callbacks(self._on_progress, self._on_done, self._on_failed, self._on_cancelled)
        )

    def cancel(self) -> None:
        """Ask the run to stop; it does so within one batch, and the same run goes on from there.

        One that still loads the model has nothing to end, and nobody waits for it.
        """
        if self._job is None or not self.state.running:
            return
        self._job.cancel.set()
        if self._begun.is_set():
            self._update(cancelling=True)
        else:
            self._job.finished = True
            self._on_cancelled()

    def save_objects(self, path: Path) -> None:
        """Write the objects of the newest result, with what people have corrected; by the file's ending."""
        run = self._newest
        if run is None or self.state.saving:
            return

        def work(emit: Emit, cancel: Event) -> int:
            from napari_lumen.corrections import corrections_folder
            from napari_lumen.inference import export_corrected_objects, export_objects

            def check() -> None:
                if cancel.is_set():
                    raise Cancelled("Nothing was saved.")

            if corrections_folder(run.path).is_dir():
                return export_corrected_objects(run, path, check)
            return export_objects(run, path)

        def done(count: int) -> None:
            self._update(saving=False, message=f"{counted(count, 'object')} saved: {path}")

        def failed(error: BaseException) -> None:
            ours = isinstance(error, LumenError)
            self._update(saving=False, message=str(error) if ours else "Nothing was saved.")
            notices.show(error)

        self._update(saving=True, message="Saving the objects …")
        self._jobs.start(
            work, Callbacks(lambda event: None, done, failed, lambda: self._update(saving=False, message=""))
        )

    def close(self) -> None:
        """Stop everything and wait for it; to be called before the window goes."""
        self._overlay.close()
        self._slides.close()
        self._jobs.close()

    # what happens

    def _on_catalogue(self, found: Catalogue) -> None:
        known, self._catalogue_read = self._catalogue_read, True
        chosen = self.state.model
        same = (item for item in found.models if chosen is not None and item.path == chosen.path)
        model = next(same, None) or next(iter(found.models), None)
        device = self.state.device if known else "auto"
        self._update(models=found.models, model=model, devices=found.devices, device=device)
        for problem in () if known else found.problems:
            notices.warn(problem)
        if model is not None and not model.danger and not known and self._predict is _predict:
            path = model.path

            def ended(outcome: object = None) -> None:
                """Run says what is wrong with a model."""

            self._jobs.start(lambda emit, cancel: _make_ready(path), Callbacks(ended, ended, ended, ended))

    def _on_catalogue_failed(self, error: BaseException) -> None:
        self._catalogue_read = True
        self._update()
        notices.show(error)

    def _on_layers(self) -> None:
        if self._overlay.gone():
            self._newest = None
            self._update(savable=False)
            self.result_gone.emit()
        if self._running_on is not None and self._running_on not in self._viewer.layers:
            self.cancel()
        self._update(slides=self._slides.names(), slide=self._slides.chosen(self.state.slide))

    def _on_progress(self, progress: Progress) -> None:
        self._update(progress=progress)
        layer = self._running_on
        if layer is None or layer not in self._viewer.layers:
            return
        self._looked_at = self._view(layer)
        if progress.done:
            self._overlay.refresh(layer, self._looked_at)

    def _on_done(self, outcome: tuple[Run, RunLayers]) -> None:
        run, shown = outcome
        layer = self._end()
        if layer is None or layer not in self._viewer.layers:
            self._overlay.end()
            return
        self._overlay.finish(layer, shown)
        self._newest = run
        seconds = sum(run.record.seconds.values())
        self._update(message=f"Done in {duration(seconds)}.", savable=run.record.card.objects != "none")
        self.finished.emit(Result(run, shown, layer.name))
        found = ", ".join(
            f"{count.name}: {area(count.area_mm2) if count.objects is None else f'{count.objects:,}'}"
            for count in run.record.counts
        )
        notices.tell(
            f"Found {found} in {area(run.record.analysed_mm2)}\n{run.record.model_title} on {layer.name}"
        )
        for warning in run.record.warnings:
            notices.warn(warning)
        if run.record.failed_tiles:
            notices.warn(
                f"{counted(len(run.record.failed_tiles), 'tile')} of {layer.name} could not be read and "
                f"left out; {run.path / 'run.json'} lists them."
            )

    def _on_failed(self, error: BaseException) -> None:
        self._overlay.stop()
        self._end()
        is_ours = isinstance(error, LumenError)
        self._update(message=str(error) if is_ours else "The run stopped on an unexpected error.")
        notices.show(error)

    def _on_cancelled(self) -> None:
        self._overlay.stop()
        self._end()
        self._update(message="Cancelled. What is finished is kept: Run goes on from there.")

    def _end(self) -> Layer | None:
        layer, self._running_on, self._job = self._running_on, None, None
        self._update(running=False, cancelling=False, progress=None)
        return layer

    # rules

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        layer = self._slides.named(state.slide)
        state = replace(state, asks_pixel_size=layer is not None and self._slides.asks_pixel_size(layer))
        known = None if layer is None else _known_size(self._slides.slide(layer))
        if layer is not self._asked_of or known != self._known:  # never another slide's answer
            self._asked_of, self._known = layer, known
            state = replace(state, pixel_size=known if state.asks_pixel_size else None)
        state = replace(state, blocked=self._blocked(state))
        if state != self.state:
            self.state = state
            self.changed.emit(state)

    def _blocked(self, state: RunState) -> str | None:
        layer = self._slides.named(state.slide)
        slide = None if layer is None else self._slides.slide(layer)
        return why_blocked(
            state, slide, self._catalogue_read, lambda: selected_area(self._viewer, (1.0, 1.0)) is not None
        )

    def _view(self, layer: Layer) -> Region:
        per_pixel = (float(layer.scale[0]), float(layer.scale[1]))
        return view_region(self._viewer, per_pixel, self._slides.slide(layer).shape, origin_of(layer))

    def _region(self, layer: Layer) -> Any:
        """Return what `predict` takes for the chosen part of the slide."""
        per_pixel = (float(layer.scale[0]), float(layer.scale[1]))  # of the world that the user sees
        if self.state.where == "view":
            return self._view(layer)
        if self.state.where == "shapes":
            return selected_area(self._viewer, per_pixel, origin_of(layer))
        return None


def _known_size(slide: Slide) -> float | None:
    """Return the pixel size (µm) that is known of a slide, or None."""
    return None if slide.mpp is None else slide.mpp[1]


def _trusted(model: ModelChoice) -> Model:
    from napari_lumen.models import load_model

    return load_model(model.path, trust=True)


def _make_ready(path: Path) -> None:
    """Load a model once while the user still chooses: the first time takes seconds of imports."""
    from napari_lumen.models import load_model
    from napari_lumen.plugin.priority import come_last

    come_last()
    load_model(path)


def _predict(*arguments: Any, **keywords: Any) -> Run:
    from napari_lumen.inference import predict
    from napari_lumen.plugin.priority import give_way

    give_way()
    return predict(*arguments, **keywords)
