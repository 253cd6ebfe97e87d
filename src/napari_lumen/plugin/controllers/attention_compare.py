"""The Compare tool without its widgets: two maps of a slide, how far they agree, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.attention_compare_layers import Chosen, CompareLayers
from napari_lumen.plugin.attention_compare_work import compared
from napari_lumen.plugin.controllers.attention_compare_sources import ComparedSources, key_of, open_run
from napari_lumen.plugin.controllers.attention_compare_state import (
    Compared,
    CompareState,
    Shown,
    Side,
    Where,
    Which,
)
from napari_lumen.plugin.controllers.command import Command
from napari_lumen.plugin.jobs import Callbacks, Emit, Job, JobRunner
from napari_lumen.plugin.placing import fingerprint_of, origin_of, step_of
from napari_lumen.plugin.regions import view_region

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_lumen.explain.agreement import Overlap
    from napari_lumen.plugin.attention_source import FieldSource, MapSource
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.controllers.attention_state import AttentionState, ChosenMap


class CompareController:
    """State and rules of the Compare tool.

    Parameters
    ----------
    attention : AttentionController
        Whose sources are compared.
    jobs : JobRunner
    """

    changed = Signal(CompareState)

    def __init__(self, attention: AttentionController, jobs: JobRunner) -> None:
        self._attention, self._jobs = attention, jobs
        self._command = Command(jobs, self._update)
        self._layers = CompareLayers(attention.viewer)
        self._sources = ComparedSources()
        self._counting: Job | None = None
        self._chosen: tuple[Chosen, Chosen] | None = None  # of what was found
        self._slide: Layer | None = None
        self._closed = False
        self.state = CompareState()
        attention.changed.connect(self._on_attention)
        attention.sourced.connect(self._on_sourced)
        attention.explained.connect(self._on_explained)
        attention.chosen.connect(self._on_map)
        attention.viewer.layers.events.removed.connect(self._on_removed)
        if attention.source is not None:
            self._on_sourced(attention.source)
        self._on_attention(attention.state)

    @property
    def pair(self) -> tuple[Layer, ...]:
        """The layers of the first and the second map, while they are shown."""
        return self._layers.pair

    # what the user chooses

    def choose_source(self, which: Which, key: str) -> None:
        """Take one of the two maps from another run or field, by its key; a run is opened in a job."""
        known = self._sources.get(key)
        if known is not None:
            self._take(which, key, known)
            return
        title = next((text for value, text in self.state.sources if value == key), key)

        def opened(source: MapSource) -> None:
            self._sources.add(source)
            self._take(which, key, source)

        self._run("Opening the run …", lambda emit, cancel: open_run(key, title), opened)

    def choose_map(self, which: Which, name: str) -> None:
        """Choose one of the two maps, by its name in its source."""
        self._set_side(which, replace(getattr(self.state, which), name=name))

    def take_chosen(self, which: Which) -> None:
        """Take the map that is shown now as one of the two."""
        current = self._attention.current
        if current is not None:
            key = key_of(current.source)
            self._take(which, key, current.source, current.item.name)

    def choose_where(self, where: Where) -> None:
        """Choose what part of the slide counts."""
        self._update(where=where)

    def set_threshold(self, which: Which, value: float) -> None:
        """Choose from which value on a place counts as high."""
        first, second = self.state.thresholds
        self._update(thresholds=(value, second) if which == "first" else (first, value))
        self._count()

    def show(self, how: Shown) -> None:
        """Show the comparison side by side, as a swipe, as its difference, or not at all."""
        found, slide = self.state.found, self._slide
        if (
            found is None
            or self._chosen is None
            or slide is None
            or slide not in self._attention.viewer.layers
        ):
            how = "none"
            self._layers.clear()
        else:
            self._layers.show(how, found, *self._chosen, slide, self._attention.state.look)
        self._update(shown=how)

    # what the user does

    def compare(self) -> None:
        """Compare the two maps; does nothing while `state.blocked` says why not."""
        state, slide = self.state, self._attention.slide_layer
        first, second = self._side(state.first), self._side(state.second)
        if state.busy or state.blocked or slide is None or first is None or second is None:
            return
        region = None
        if state.where == "view":
            shape = self._attention.slides.slide(slide).shape
            region = view_region(self._attention.viewer, step_of(slide), shape, origin_of(slide))
            if region.empty:
                self._update(message=f"The view shows nothing of {slide.name}: move it over the slide.")
                return
        look = self._attention.state.look
        how = state.shown if state.shown != "none" else "beside"

        def done(found: Compared) -> None:
            self._chosen, self._slide = (first, second), slide
            self._update(found=found, thresholds=found.thresholds, overlap=None)
            self.show(how)
            self._count()

        self._run("Comparing …", lambda emit, cancel: compared(first, second, region, look), done)

    def close(self) -> None:
        """Stop everything and wait for it; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._jobs.close()
        attention = self._attention
        attention.changed.disconnect(self._on_attention)
        attention.sourced.disconnect(self._on_sourced)
        attention.explained.disconnect(self._on_explained)
        attention.chosen.disconnect(self._on_map)
        attention.viewer.layers.events.removed.disconnect(self._on_removed)
        self._layers.clear()

    # what happens

    def _on_attention(self, state: AttentionState) -> None:
        """See what can be compared now; what is gone is not compared any more."""
        layer = self._attention.slide_layer
        fingerprint = None if layer is None else fingerprint_of(layer)
        sources = self._sources.choices(state, fingerprint)
        keys = [key for key, _ in sources]
        first, second = (
            side if side.source in keys else Side() for side in (self.state.first, self.state.second)
        )
        self._update(sources=sources, first=first, second=second)
        self._propose()

    def _on_sourced(self, source: MapSource | None) -> None:
        if source is None:
            return
        if source.explained is None:
            self._sources.add(source)
        elif self._attention.field is not None:
            self._sources.keep(self._attention.field)
        self._on_attention(self._attention.state)

    def _on_explained(self, field: FieldSource) -> None:
        self._sources.keep(field)
        self._on_attention(self._attention.state)

    def _on_map(self, chosen: ChosenMap | None) -> None:
        """Another map is looked at: what is compared gives way."""
        if chosen is not None and self.state.shown != "none":
            self.show("none")
        self._propose()

    def _on_removed(self, event: Any) -> None:
        if self._layers.holds(event.value) or event.value is self._slide:
            self._layers.clear()
            self._update(shown="none")

    def _propose(self) -> None:
        """Take the map that is shown as the first, and another one as the second, where none is chosen."""
        current = self._attention.current
        if current is None:
            return
        key = key_of(current.source)
        if key not in [value for value, _ in self.state.sources]:
            return
        if self.state.first.name is None:
            self._take("first", key, current.source, current.item.name)
        if self.state.second.name is None and self.state.first.source == key:
            others = [item.name for item in current.source.maps if item.name != self.state.first.name]
            self._take("second", key, current.source, next(iter(others), None))

    def _take(self, which: Which, key: str, source: MapSource, name: str | None = None) -> None:
        names = tuple((item.name, item.title) for item in source.maps)
        known = [value for value, _ in names]
        before = getattr(self.state, which).name
        wanted = next((value for value in (name, before) if value in known), next(iter(known), None))
        self._set_side(which, Side(key, wanted, names))

    def _set_side(self, which: Which, side: Side) -> None:
        self._update(**{which: side})

    def _side(self, side: Side) -> Chosen | None:
        source = self._sources.get(side.source)
        item = None
        if source is not None and side.name is not None:
            with suppress(LumenError):
                item = source.find(side.name)
        return None if source is None or item is None else (source, item)

    def _count(self) -> None:
        """Find the overlap at the thresholds; the newest question is answered."""
        found, thresholds = self.state.found, self.state.thresholds
        if found is None:
            return
        if self._counting is not None:
            self._counting.cancel.set()

        def done(overlap: Overlap) -> None:
            if (self.state.found, self.state.thresholds) == (found, thresholds):
                self._update(overlap=overlap)

        self._counting = self._jobs.start(
            lambda emit, cancel: found.agreement.overlap(*thresholds),
            Callbacks(lambda event: None, done, notices.show, lambda: None),
        )

    def _run(self, busy: str, work: Callable[[Emit, Event], Any], done: Callable[[Any], None]) -> None:
        if self.state.busy:
            return
        self._command.run(busy, work, done)

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self.changed.emit(state)
