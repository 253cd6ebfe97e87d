"""The threshold of the Attention panel without its widgets: outline, area, and making annotations of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.annotation_reader import MOST_SHAPES
from napari_lumen.plugin.attention_threshold_annotations import add_annotations
from napari_lumen.plugin.attention_threshold_outline import Outline, Segments, segments_of
from napari_lumen.plugin.attention_threshold_reading import Reading, Tissue, areas_above, read_map
from napari_lumen.plugin.controllers.attention_threshold_state import ThresholdState, measured
from napari_lumen.plugin.jobs import Callbacks, Emit, Job

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_lumen.annotations.classes import Color
    from napari_lumen.annotations.shapes import Annotation
    from napari_lumen.explain.contour import Edges
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.controllers.attention_state import ChosenMap

_COLOR: Color = (0, 120, 60)  # of the outline where the map is of no class
_HALF = 0.5  # a class is found from there on


class ThresholdController:
    """State and rules of the threshold: it follows the map that is chosen, while it is looked at.

    Parameters
    ----------
    attention : AttentionController
    """

    changed = Signal(ThresholdState)

    def __init__(self, attention: AttentionController) -> None:
        self._attention = attention
        self._outline = Outline(attention.viewer)
        self._watched = False
        self._wanted: ChosenMap | None = None
        self._ready: Reading | None = None
        self._tissue: Tissue | None = None
        self._generation = 0
        self._job: Job | None = None
        self._drawing = False
        self._drawn_for: object = None
        self._closed = False
        self.state = ThresholdState()
        self._camera = attention.viewer.scene.camera.events.zoom
        attention.chosen.connect(self._on_chosen)
        self._camera.connect(self._outline.fit_width)

    # what the user does

    def watch(self, on: bool) -> None:
        """Note whether the threshold is looked at: nothing is read, or drawn, for one that is not."""
        self._watched = on
        if on:
            self._refresh()
            self._draw()
        else:
            self._hide()

    def set_threshold(self, value: float) -> None:
        """Choose the value; area and share follow at once, the outline as soon as it is made."""
        if self._ready is not None and self.state.limits is not None and math.isfinite(value):
            self._update(threshold=value, **measured(self._ready, value))
            self._draw()

    def show_outline(self, on: bool) -> None:
        """Show the outline, or not."""
        self._update(on=on, areas=None)
        if on:
            self._draw()
        else:
            self._hide()

    def smooth(self, on: bool) -> None:
        """Let the outline run between the middles of cells, or along their edges."""
        self._update(smooth=on, areas=None)
        self._draw()

    def choose_class(self, name: str | None) -> None:
        """Choose what annotations become of; None for no class."""
        self._update(class_name=name)

    def leave_out(self, least_um2: float) -> None:
        """Make no annotations of smaller areas."""
        self._update(least_um2=least_um2)
        self._draw()

    def annotate(self) -> None:
        """Add the outlines to the annotations of the slide."""
        ready, state = self._ready, self.state
        if ready is None or state.busy or state.limits is None:
            return
        slide, color = ready.chosen.slide, self._color(state.class_name)
        card, run = ready.chosen.source.card, ready.chosen.source.run

        def work(emit: Emit, cancel: Event) -> tuple[Annotation, ...]:
            from napari_lumen.explain.contour import contour, to_annotations

            edges: Edges = "interpolated" if state.smooth else "cells"
            return to_annotations(
                contour(ready.values, ready.grid, state.threshold, edges, ready.chosen.item.within),
                model=card.name,
                run=None if run is None else run.path.name,
                title=ready.chosen.title,
                threshold=state.threshold,
                mpp=ready.chosen.source.mpp,
                class_name=state.class_name,
                color=color,
                least_um2=state.least_um2,
            )

        def done(found: tuple[Annotation, ...]) -> None:
            self._update(busy="", message=self._add(slide, found))

        self._update(busy="Making annotations …", message="")
        self._start(work, lambda event: None, done)

    def close(self) -> None:
        """Let go; may be called twice. What is on the slide stays, as the map does."""
        if self._closed:
            return
        self._closed = True
        self._stop()
        self._attention.chosen.disconnect(self._on_chosen)
        self._camera.disconnect(self._outline.fit_width)

    # what happens

    def _on_chosen(self, chosen: Any = None) -> None:
        self._refresh()

    def _refresh(self) -> None:
        """Read the map that is chosen, if it is another than before."""
        if not self._watched or self._closed:
            return
        chosen = self._attention.current
        before = self._wanted
        if chosen is before and chosen is not None:
            return
        same = before is not None and chosen is not None and before.item.name == chosen.item.name
        self._stop()
        self._wanted, self._ready = chosen, None
        self._hide()
        self._update(limits=None, areas=None, note="", busy="", message="", title="")
        if chosen is None:
            self._update(message="Choose a map in the tree to outline where it is high.")
            return
        classes = tuple(item.name for item in chosen.source.card.classes)
        own = chosen.class_name if chosen.class_name in classes else None
        keeps = self.state.class_name in classes and own is None
        self._update(
            title=chosen.title,
            classes=classes,
            class_name=self.state.class_name if keeps else own,
            threshold=self.state.threshold if same else math.nan,
            busy="Reading the map …",
        )
        slide, known = self._attention.slides.slide(chosen.slide), self._tissue

        def work(emit: Emit, cancel: Event) -> Reading:
            return read_map(chosen, slide, known, emit, cancel)

        self._start(work, self._take, self._take)

    def _take(self, found: Reading) -> None:
        """Take a map that is read; its tissue may follow."""
        self._ready, self._tissue = found, found.tissue or self._tissue
        if found.problem is not None:
            self._update(busy="", message=found.problem)
            return
        low, high = found.limits
        start, busy = self.state.threshold, "Finding the tissue …" if found.tissue is None else ""
        if not low <= start <= high:
            start = _HALF if found.chosen.class_name is not None else (low + high) / 2
        self._update(
            limits=(low, high), busy=busy, note=found.note, threshold=start, **measured(found, start)
        )
        self._draw()

    def _draw(self) -> None:
        """Outline the threshold in a job; one at a time, the newest threshold next."""
        ready, state = self._ready, self.state
        if ready is None or state.limits is None or not (self._watched and state.on) or self._drawing:
            return
        wanted = (ready.chosen, state.threshold, state.smooth, state.least_um2)
        if wanted == self._drawn_for:
            return
        mine, self._drawing = self._generation, True

        def work(emit: Emit, cancel: Event) -> tuple[Segments, int]:
            from napari_lumen.explain.contour import contour

            edges: Edges = "interpolated" if state.smooth else "cells"
            within = ready.chosen.item.within
            found = contour(ready.drawn, ready.drawn_grid, state.threshold, edges, within)
            if not state.smooth:
                return segments_of(found), areas_above(ready, state.threshold, state.least_um2)
            um2 = math.prod(ready.chosen.source.mpp)
            return segments_of(found), sum(outline.area * um2 >= state.least_um2 for outline in found)

        def done(found: tuple[Segments, int]) -> None:
            self._drawing = False
            fresh = mine == self._generation and self._watched and self.state.on
            if fresh and ready.chosen.slide in self._attention.viewer.layers:
                self._drawn_for = wanted
                self._outline.show(ready.chosen.slide, found[0], self._color(ready.chosen.class_name))
                coarser = ready.drawn_grid.step != ready.grid.step
                self._update(areas=found[1], about=state.smooth and coarser)
            self._draw()

        def failed(error: BaseException) -> None:
            self._drawing = False
            notices.show(error)

        def cancelled() -> None:
            self._drawing = False

        self._attention.jobs.start(work, Callbacks(lambda event: None, done, failed, cancelled))

    def _hide(self) -> None:
        self._drawn_for = None
        self._outline.remove()

    def _color(self, name: str | None) -> Color:
        chosen = self._wanted
        classes = () if chosen is None else chosen.source.card.classes
        return next((item.color for item in classes if item.name == name), _COLOR)

    def _add(self, slide: Layer, found: tuple[Annotation, ...]) -> str:
        """Add annotations and say so."""
        if slide not in self._attention.viewer.layers:
            return "The slide was closed: nothing was added."
        if not found:
            return "Nothing lies above the threshold, or all of it is smaller than what is left out."
        if len(found) > MOST_SHAPES:
            return f"{len(found):,} outlines are too many to edit: leave out small areas, or raise the value."
        layer = add_annotations(self._attention.viewer, slide, found)
        return f"{len(found):,} {'annotation' if len(found) == 1 else 'annotations'} added to {layer}."

    def _start(
        self, work: Callable[[Emit, Event], Any], progress: Callable[[Any], None], done: Callable[[Any], None]
    ) -> None:
        mine = self._generation

        def if_fresh(then: Callable[[Any], None]) -> Callable[[Any], None]:
            return lambda value: then(value) if mine == self._generation else None

        def failed(error: BaseException) -> None:
            ours = isinstance(error, LumenError)
            self._update(busy="", message=str(error) if ours else "That stopped on an unexpected error.")
            if not ours:
                notices.show(error)

        self._job = self._attention.jobs.start(
            work, Callbacks(if_fresh(progress), if_fresh(done), if_fresh(failed), lambda: None)
        )

    def _stop(self) -> None:
        """Stop reading; what still comes of it is not shown."""
        self._generation += 1
        if self._job is not None:
            self._job.cancel.set()
            self._job = None

    def _update(self, **changes: Any) -> None:
        if self.state.differs(**changes):
            self.state = replace(self.state, **changes)
            self.changed.emit(self.state)
