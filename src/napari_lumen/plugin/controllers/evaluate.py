"""The Evaluate panel without its widgets: what is scored against what, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.geometry import Region
from napari_lumen.plugin.controllers.command import Command
from napari_lumen.plugin.controllers.correct_layers import results_of
from napari_lumen.plugin.controllers.correct_view import SlideView
from napari_lumen.plugin.controllers.evaluate_state import FILE, EvaluateState, Scored, Where
from napari_lumen.plugin.controllers.evaluate_truth import TruthChoice
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.error_layer import show_errors
from napari_lumen.plugin.evaluation_truth import InFile, classes_in_file
from napari_lumen.plugin.jobs import Emit, JobRunner
from napari_lumen.plugin.placing import facts_of, fingerprint_of, origin_of, step_of
from napari_lumen.plugin.regions import view_region
from napari_lumen.plugin.wording import run_title

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.comparison import SlideEvaluation
    from napari_lumen.comparison.truth import Truth

_AROUND = 0.5  # of a place's side, shown on either side of it


class EvaluateController:
    """State and rules of the Evaluate panel.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    """

    changed = Signal(EvaluateState)

    def __init__(self, viewer: ViewerModel, jobs: JobRunner) -> None:
        self._viewer = viewer
        self._jobs = jobs
        self._view = SlideView(viewer)
        self._slides = SlideLayers(viewer)
        self._command = Command(jobs, self._update, cancelling=False, done=None)
        self._heard: list[Layer] = []
        self._truth = TruthChoice(viewer)
        self._closed = False
        self.state = EvaluateState()
        self._slides.changed.connect(self.look)
        self.look()

    # what the user chooses

    def choose_slide(self, name: str) -> None:
        """Choose the slide, by its name."""
        self._slides.choose(name)

    def choose_run(self, run: Scored) -> None:
        """Choose what is scored."""
        self._update(run=run)
        self.look()

    def choose_truth(self, truth: str) -> None:
        """Choose what it is scored against, by its key."""
        self._update(truth=truth)
        self.look()

    def choose_file(self, path: Path) -> None:
        """Score against a file, whose classes are looked up."""

        def done(found: InFile) -> None:
            self._truth.in_file = found
            self._update(file=path, truth=FILE)
            self.look()

        self._run(f"Reading {path.name} …", lambda emit, cancel: classes_in_file(path), done)

    def count_as(self, name: str, target: str) -> None:
        """Say as which class of the run one of the truth counts; "" where it does not count."""
        self._update(counted={**self.state.counted, name: target})

    def choose_where(self, where: Where) -> None:
        """Choose what part of the slide counts."""
        self._update(where=where)

    def score_objects(self, on: bool) -> None:
        """Choose whether connected areas are scored, too."""
        self._update(objects=on)

    # what the user does

    def evaluate(self) -> None:
        """Score what is chosen; does nothing while `state.blocked` says why not."""
        state, layer = self.state, self._slides.named(self.state.slide)
        if state.busy or state.blocked or layer is None or state.run is None:
            return
        region = None
        if state.where == "view":
            region = view_region(
                self._viewer, step_of(layer), self._slides.slide(layer).shape, origin_of(layer)
            )
            if region.empty:
                self._update(message=f"The view shows nothing of {layer.name}: move it over the slide.")
                return
        read = self._truth.reader(self.state, layer)
        chosen, objects = state.run, state.objects

        def work(emit: Emit, cancel: Event) -> tuple[SlideEvaluation, Truth]:
            from napari_lumen.comparison import evaluate_slide
            from napari_lumen.inference.run import Run

            truth = read(Run.open(chosen.run).record.classes)
            found = evaluate_slide(
                chosen.run,
                truth.drawn,
                corrected=chosen.corrected,
                ignored_classes=truth.ignored,
                objects="areas" if objects else None,
                region=region,
                renamed=truth.renamed,
                on_progress=emit,
                cancel=cancel,
            )
            return found, truth

        def done(outcome: tuple[SlideEvaluation, Truth]) -> None:
            found, truth = outcome
            said = ""
            if truth.unknown:
                said = f"Not counted, since the run has no such class: {', '.join(truth.unknown)}."
            self._update(result=found, message=said)
            if layer in self._viewer.layers:
                show_errors(self._viewer, found, layer)

        self._run("Comparing …", work, done)

    def cancel(self) -> None:
        """Ask what is being done to stop; it does so after the tile that it is at."""
        self._command.cancel()

    def save(self, folder: Path) -> None:
        """Write the report, as the command line does."""
        found = self.state.result
        if found is not None and not self.state.busy:
            self._run(
                "Writing the report …",
                lambda emit, cancel: found.write(folder),
                lambda page: self._update(message=f"Report: {page}"),
            )

    def go_to(self, index: int) -> None:
        """Move the view to one of the worst places."""
        found = self.state.result
        if found is None or not 0 <= index < len(found.places):
            return
        alike = (x for x in self._slides.layers() if fingerprint_of(x) == found.run.record.fingerprint)
        layer = next(alike, None)
        if layer is not None:
            region = found.places[index].region
            down, across = region.height * _AROUND, region.width * _AROUND
            seen = Region(
                region.y - down, region.x - across, region.height + 2 * down, region.width + 2 * across
            )
            self._view.move_to(layer, seen, fit=True)

    def close(self) -> None:
        """Stop everything and wait for it; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._jobs.close()
        self._slides.changed.disconnect(self.look)
        self._hear([])
        self._slides.close()

    # what happens

    def look(self, event: Any = None) -> None:
        """See which slides, runs and truths there are now."""
        names = self._slides.names()
        slide = self._slides.chosen(self.state.slide)
        layer = self._slides.named(slide)
        runs = () if layer is None else self._runs(layer)
        come = (item for item in runs if item not in self.state.runs and not item.corrected)
        same = (item for item in runs if item == self.state.run)
        run = (
            next(come, None) or next(same, None) or next(iter(runs), None)
        )  # one that has just come is meant
        truths = () if layer is None else self._truth.offered(layer, self.state.file, runs)
        keys = [key for key, _ in truths]
        truth = self.state.truth if self.state.truth in keys else next(iter(keys), None)
        classes = {} if layer is None or run is None else self._known(layer, run)
        known = tuple(classes.values())
        drawn = () if layer is None or truth is None else self._truth.classes(layer, truth, known)
        self._update(
            slides=names,
            slide=slide,
            runs=runs,
            run=run,
            truths=truths,
            truth=truth,
            drawn=drawn,
            values={} if truth is None else self._truth.values(truth, classes),
            known=known,
        )

    def _runs(self, layer: Layer) -> tuple[Scored, ...]:
        """Return the runs that are shown over a slide, topmost first; with corrections where there are."""
        shown = list(reversed(results_of(fingerprint_of(layer), self._viewer.layers)))
        self._hear(shown)
        found: dict[str, str] = {}
        for result in shown:
            facts = facts_of(result)
            found.setdefault(facts["run"], run_title(facts["model"], Path(facts["run"])))
        choices = []
        for run, title in found.items():
            choices.append(Scored(run, False, title))
            if _is_corrected(Path(run)):
                choices.append(Scored(run, True, f"{title}, corrected"))
        return tuple(choices)

    def _hear(self, layers: list[Layer]) -> None:
        """Hear of corrections to the runs of these layers, and of no others."""
        for layer in self._heard:
            layer.events.metadata.disconnect(self.look)
        self._heard = layers
        for layer in layers:
            layer.events.metadata.connect(self.look)

    def _known(self, slide: Layer, run: Scored) -> dict[int, str]:
        """Return the classes of a run that is shown: values and names."""
        shown = results_of(fingerprint_of(slide), self._viewer.layers)
        layer = next(item for item in shown if facts_of(item)["run"] == run.run)
        features = layer.features[1:]  # the first is the background
        return dict(zip(features["index"], features["class"], strict=True))

    def _run(self, busy: str, work: Callable[[Emit, Event], Any], done: Callable[[Any], None]) -> None:
        self._command.run(busy, work, done, lambda share: self._update(done=share))

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self.changed.emit(state)


def _is_corrected(run: Path) -> bool:
    from napari_lumen.corrections import corrections_folder
    from napari_lumen.corrections.index import INDEX

    return (corrections_folder(run) / INDEX).is_file()
