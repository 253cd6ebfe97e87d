"""The Attention panel without its widgets: whose maps are looked at, which one, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.errors import RunError
from napari_lumen.geometry import Region
from napari_lumen.plugin import notices
from napari_lumen.plugin.attention_source import FieldSource, MapSource, RunSource
from napari_lumen.plugin.attention_tree import find_node, first_map
from napari_lumen.plugin.catalogue import Catalogue, look_up
from napari_lumen.plugin.controllers.attention_asked import Asked, explaining, point_asked, view_asked
from napari_lumen.plugin.controllers.attention_display import MapDisplay
from napari_lumen.plugin.controllers.attention_reading import CursorReader, numbers_said, point_under
from napari_lumen.plugin.controllers.attention_sources import (
    add_below_run,
    missing_slide,
    open_moved,
    open_run,
    shown_runs,
)
from napari_lumen.plugin.controllers.attention_state import (
    FIELD,
    AttentionState,
    ChosenMap,
    SourceChoice,
)
from napari_lumen.plugin.controllers.command import Command
from napari_lumen.plugin.controllers.correct_view import SlideView
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.explainers import Asker, Explainers
from napari_lumen.plugin.jobs import Callbacks, JobRunner
from napari_lumen.plugin.opening import opening_text
from napari_lumen.plugin.placing import fingerprint_of
from napari_lumen.plugin.right_click import RightClick

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.explain.distribution import Distribution
    from napari_lumen.geometry import Pair
    from napari_lumen.plugin.controllers.attention_state import Legend


class AttentionController:
    """State and rules of the Attention panel.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    catalogue : callable, optional
        Returns the models; called on a worker thread.

    Attributes
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    slides : SlideLayers
    view : SlideView
    explainers : Explainers
        Models that are ready; for jobs of the tools.
    source : MapSource or None
        Whose maps are looked at.
    field : FieldSource or None
        The last explained field, which is kept.
    current : ChosenMap or None
        The map that is shown.
    """

    changed = Signal(AttentionState)
    chosen = Signal(object)  # ChosenMap | None
    sourced = Signal(object)  # MapSource | None
    explained = Signal(object)  # FieldSource: a field was explained
    gates_chosen = Signal(str)  # name of the channel gates that were chosen in the tree
    read = Signal(object)  # Reading | None: what lies under the cursor

    def __init__(
        self, viewer: ViewerModel, jobs: JobRunner, catalogue: Callable[[], Catalogue] = look_up
    ) -> None:
        self.viewer = viewer
        self.jobs = jobs
        self.slides = SlideLayers(viewer)
        self.view = SlideView(viewer)
        self.explainers = Explainers()
        self.source: MapSource | None = None
        self.field: FieldSource | None = None
        self._display = MapDisplay(viewer, jobs)
        self._opened: dict[str, RunSource] = {}
        self._task = Command(jobs, self._update, cancelling=False)
        self._cursor = CursorReader(viewer)
        self._closed = False
        self.state = AttentionState()
        self._display.legend_changed.connect(self._on_legend)
        self._display.shown.connect(self._on_shown)
        self._display.edited.connect(self._on_edited)
        self._click = RightClick(viewer, self._on_right_click)
        self.slides.changed.connect(self.look)
        viewer.layers.events.removed.connect(self._on_removed)
        jobs.start(
            lambda emit, cancel: catalogue(),
            Callbacks(lambda event: None, self._on_catalogue, notices.show, lambda: None),
        )
        self.look()

    @property
    def current(self) -> ChosenMap | None:
        """The map that is shown, None where none is."""
        return self._display.current

    @property
    def spread(self) -> Distribution | None:
        """How the values of the shown map are spread over slide or field; None until all are read."""
        return self._display.spread()

    @property
    def slide_layer(self) -> Layer | None:
        """The layer of the slide that is looked at."""
        return self.slides.named(self.state.slide)

    # what the user chooses

    def choose_slide(self, name: str) -> None:
        """Choose the slide, by its name."""
        layer = self.slides.named(name)
        if layer is not None:
            self.viewer.layers.selection.active = layer  # the selected slide is the one that is meant
            self.look()

    def choose_model(self, path: Path) -> None:
        """Choose the model that explains views, by its folder."""
        model = next((item for item in self.state.models if item.path == path), self.state.model)
        self._update(model=model)

    def choose_source(self, key: str) -> None:
        """Look at the maps of a run, by its folder, or of the explained field."""
        if key == FIELD and self.field is not None:
            self._take(self.field)
        elif any(item.key == key for item in self.state.sources):
            title = next(item.title for item in self.state.sources if item.key == key)
            known = self._opened.get(key)
            # in a job even if it is known: the layers of the run may still be on their way into the window
            self._task.run(
                "Opening the run …", lambda emit, cancel: known or open_run(key, title), self._on_opened
            )

    def choose_map(self, name: str) -> None:
        """Show a map, boxes or gates of the source, by their name in the tree."""
        node, source, slide = find_node(self.state.tree, name), self.source, self.slide_layer
        if node is None or source is None or slide is None:
            return
        self._update(chosen=name, message="")
        try:
            if node.kind == "map":
                self._display.show(source, name, slide, self.state.look)
            elif node.kind == "boxes" and not self._display.show_boxes(source, node, slide):
                self._update(message=f"{node.title}: there is none here.")
            elif node.kind == "channels":
                self.gates_chosen.emit(name)
            elif node.kind in ("classes", "table"):  # numbers of the whole field: no map of places
                self._update(message=numbers_said(source, node))
        except RunError as error:
            self._update(message=str(error))

    def choose_look(self, **changes: Any) -> None:
        """Change how maps are drawn, by fields of `Look`."""
        look = replace(self.state.look, **changes)
        if look != self.state.look:
            self._update(look=look)
            self._display.set_look(look)

    def recolour(self) -> None:
        """Take the values of what is selected, or in view, now."""
        self._display.recolour()

    # what the user does

    def explain_view(self) -> None:
        """Send the current view through the chosen model and look at all that it records."""
        layer, model = self.slide_layer, self.state.model
        if self.state.busy or self.state.blocked or layer is None or model is None:
            return
        self._explain(view_asked(self.viewer, layer, self.slides.slide(layer), model))

    def explain_at(self, y: float, x: float) -> None:
        """Explain the tile at a point, level-0 px: that of the run that is looked at, else one around it."""
        asked = point_asked(self.source, self.state.model, (y, x))
        if isinstance(asked, Asked) and isinstance(asked.place, Region):
            self._display.count_tile(asked.place)
        self._explain(asked)

    def explain(
        self, asker: Asker, place: Region | Pair, title: str, channels: tuple[str, ...] | None = None
    ) -> None:
        """Explain a field in a job; `explained` tells when it is there."""
        self._explain(Asked(asker, place, title, channels))

    def take_field(self, field: FieldSource, name: str) -> None:
        """Keep a field instead of the last one, and show a map of it."""
        self.field = field
        self.look()
        self._take(field, name)

    def open_missing(self, path: Path) -> None:
        """Open the slide of a shown run from where it lies now; it is found there from then on.

        Another slide is not taken.

        Parameters
        ----------
        path : Path
        """
        missing = self.state.missing
        if missing is not None and not self.state.busy:
            self._task.run(
                opening_text(path),
                lambda emit, cancel: open_moved(path, missing, emit, cancel),
                lambda opened: add_below_run(self.viewer.layers, missing, opened),
            )

    def cancel(self) -> None:
        """Ask what is being done to stop."""
        if self.state.busy:
            self._task.cancel()

    def go_to(self, region: Region) -> None:
        """Move the view to a region of the slide, level-0 px, and zoom so that it fills most of it."""
        layer = self.slide_layer
        if layer is not None:
            self.view.move_to(layer, region, fit=True)

    def read_cursor(self) -> None:
        """Say what lies under the cursor, where it has moved; called often."""
        slide, source = self.slide_layer, self.source
        if slide is None or source is None:
            self._cursor.forget()
            return
        found = self._cursor.read(slide, source, self.current, self.spread)
        if found is not None:
            self.read.emit(found)

    def close(self) -> None:
        """Stop everything and wait for it; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self.jobs.close()
        self.slides.changed.disconnect(self.look)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self._click.close()
        self._cursor.close()
        self._display.close()
        self.slides.close()

    # what happens

    def look(self, event: Any = None) -> None:
        """See which slides and runs there are now."""
        names = self.slides.names()
        selected = self.slides.selected()
        slide = self.state.slide if self.state.slide in names else next(iter(names), None)
        if selected is not None:
            slide = self.slides.name(selected)
        layer = self.slides.named(slide)
        fingerprint = None if layer is None else fingerprint_of(layer)
        sources = shown_runs(self.viewer.layers, fingerprint)
        if self.field is not None and self.field.fingerprint == fingerprint:
            sources = (*sources, SourceChoice(FIELD, self.field.title))
        missing = missing_slide(self.viewer.layers)
        sized = layer is None or self.slides.slide(layer).mpp is not None
        self._update(slides=names, slide=slide, sources=sources, missing=missing, sized=sized)
        keys = [item.key for item in sources]
        if self.source is not None and self.source.key not in keys:
            # later: a layer of it is just being removed, and napari's list takes no second one meanwhile
            self.jobs.start(
                lambda emit, cancel: None,
                Callbacks(lambda event: None, self._on_gone, notices.show, lambda: None),
            )
            return
        if self.source is None and keys and not self.state.busy:
            self.choose_source(keys[0])

    def _explain(self, asked: Asked | str | None) -> None:
        layer = self.slide_layer
        if isinstance(asked, str):
            self._update(message=asked)
        elif not self.state.sized:
            self._update(message=self.state.blocked or "")
        elif asked is not None and layer is not None and not self.state.busy:
            work = explaining(self.explainers, self.slides.slide(layer), asked)
            self._task.run("Explaining the field …", work, self._on_explained)

    def _on_gone(self, nothing: None) -> None:
        """Let go of the source, where it still is not there."""
        if self.source is not None and self.source.key not in [item.key for item in self.state.sources]:
            self._take(None)
        self.look()

    def _on_catalogue(self, found: Catalogue) -> None:
        models = tuple(item for item in found.models if not item.danger)
        model = self.state.model or next(iter(models), None)
        self._update(models=models, model=model)

    def _on_opened(self, source: RunSource) -> None:
        self._opened[source.key] = source
        if any(item.key == source.key for item in self.state.sources):
            self._take(source)

    def _on_explained(self, source: FieldSource) -> None:
        before = self.source
        self.field = source
        self.look()
        if before is None or before.run is None:
            self._take(source)
        self.explained.emit(source)

    def _take(self, source: MapSource | None, wanted: str | None = None) -> None:
        """Look at the maps of a source: the one that is wanted, else that which was shown, if it has it."""
        wanted = wanted or self.state.chosen
        before = self.source
        if source is None or before is None or source.fingerprint != before.fingerprint:
            self._display.clear()
        self._display.follow(source)
        self.source = source
        if source is None:
            self._update(source=None, tree=(), chosen=None, legend=None, hint="")
            self.sourced.emit(None)
            return
        self._update(source=source.key, tree=source.tree, chosen=None, hint=source.hint() or "")
        self.sourced.emit(source)
        first = first_map(source.tree, *([wanted] if wanted else []), *source.card.attention)
        if first is not None:
            self.choose_map(first)
        else:
            self._display.clear()

    def _on_shown(self, current: ChosenMap | None) -> None:
        if current is None:
            self._update(legend=None)
        self.chosen.emit(current)

    def _on_legend(self, legend: Legend | None) -> None:
        self._update(legend=legend)

    def _on_right_click(self, position: tuple[float, ...]) -> None:
        layer = self.slide_layer
        if layer is None or self.state.busy:
            return
        point = point_under(position, layer)
        height, width = self.slides.slide(layer).shape
        if 0 <= point[0] < height and 0 <= point[1] < width:
            self.explain_at(*point)

    def _on_edited(self, changes: dict[str, Any]) -> None:
        self._update(look=replace(self.state.look, **changes))

    def _on_removed(self, event: Any) -> None:
        if self.current is not None and event.value is self.current.layer:
            self._display.forget()
            self._update(chosen=None)

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self.changed.emit(state)
