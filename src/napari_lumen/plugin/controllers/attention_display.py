"""The one map of the Attention panel that is shown: its layer, its colours and what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.annotations.decision import STATES
from napari_lumen.plugin import notices
from napari_lumen.plugin.attention_boxes import RunBoxes, box_layer, run_boxes
from napari_lumen.plugin.attention_layers import (
    COMPARED,
    MAP,
    map_layer,
    napari_colormap,
    replace_map,
    set_limits,
)
from napari_lumen.plugin.attention_map_level import choose_level, drawn_once
from napari_lumen.plugin.attention_tree import Node
from napari_lumen.plugin.controllers.attention_colours import Key, MapColours
from napari_lumen.plugin.controllers.attention_state import ChosenMap, Look
from napari_lumen.plugin.jobs import Callbacks, Emit, JobRunner
from napari_lumen.plugin.placing import facts_of, fingerprint_of, is_result

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.explain.distribution import Distribution
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.attention_source import MapSource

_FINE = 8.0  # µm: labels of larger pixels are filled, not outlined


class MapDisplay:
    """Shows one map at a time over its slide.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    """

    legend_changed = Signal(object)  # Legend | None
    shown = Signal(object)  # ChosenMap | None
    edited = Signal(dict)  # fields of `Look` that were changed in napari's own controls

    def __init__(self, viewer: ViewerModel, jobs: JobRunner) -> None:
        self._viewer = viewer
        self._jobs = jobs
        self.current: ChosenMap | None = None
        self._boxes: Layer | None = None
        self._run_boxes = RunBoxes()
        self._look = Look()
        self._setting = False  # what we set ourselves is nothing that the user has edited
        self._colours = MapColours(viewer)

    def show(self, source: MapSource, name: str, slide: Layer, look: Look) -> None:
        """Show a map instead of the one before.

        Raises
        ------
        RunError
            When the source has no such map, or it cannot be read.
        """
        item = source.find(name.removesuffix(STATES))
        self._look = _states(look) if name.endswith(STATES) else look
        stem = slide.name.partition(".")[0] or slide.name
        limits, legend = self._colours.of(source, item, slide, self._look)
        before = self.current
        if before is not None and before.layer in self._viewer.layers:
            layer = before.layer
            with self._own(), drawn_once(layer):
                replace_map(layer, source, item, slide, self._look, limits, stem)
                choose_level(self._viewer, layer)
            if before.source is not source:  # a run brings layers of its own
                self._hide_other_maps(slide)
        else:
            self._remove_left(slide)
            layer = map_layer(source, item, slide, self._look, limits, stem)
            self._viewer.layers.insert(self._place(slide), layer)
            self._viewer.layers.selection.active = layer
            self._hide_other_maps(slide)
            for event in (layer.events.contrast_limits, layer.events.opacity, layer.events.gamma):
                event.connect(self._on_edited)
        class_name = item.name.removeprefix("probability.") if item.kind == "probability" else None
        self.current = ChosenMap(source, item, name, item.title, class_name, layer, slide)
        self.legend_changed.emit(legend)
        self.shown.emit(self.current)
        self._read_spread()

    def show_boxes(self, source: MapSource, node: Node, slide: Layer) -> bool:
        """Show boxes with their scores above the map; False where there are none."""
        self.clear_boxes()
        kept = run_boxes(source, node.name, self._viewer.layers)
        if kept is not None:
            kept.visible = True
            return True
        stem = slide.name.partition(".")[0] or slide.name
        self._boxes = box_layer(source, node.name, node.title, slide, stem)
        if self._boxes is None:
            return False
        active = self._viewer.layers.selection.active
        self._viewer.layers.append(self._boxes)
        self._viewer.layers.selection.active = active
        return True

    def set_look(self, look: Look) -> None:
        """Draw the map that is shown in another way."""
        current = self.current
        if current is None:
            self._look = look
            return
        before, self._look = self._look, _states(look) if current.name.endswith(STATES) else look
        layer: Any = current.layer
        with self._own():
            if self._look.colormap != before.colormap:
                layer.colormap = napari_colormap(self._look.colormap)
            for name, value in (
                ("opacity", self._look.opacity),
                ("gamma", self._look.gamma),
                ("interpolation2d", self._look.interpolation),
            ):
                if getattr(layer, name) != value:
                    setattr(layer, name, value)
        if replace(self._look, opacity=before.opacity, gamma=before.gamma) != before:
            self.recolour()

    def recolour(self) -> None:
        """Find the limits of the colours anew: what they run over has changed."""
        current = self.current
        if current is not None:
            self._set_colours()
            self._read_spread()

    def clear(self) -> None:
        """Take away the map and the boxes."""
        current = self.current
        self.forget()
        if current is not None:
            self._remove(current.layer)
        self.clear_boxes()

    def clear_boxes(self) -> None:
        """Take away the boxes."""
        self._remove(self._boxes)
        self._boxes = None

    def follow(self, source: MapSource | None) -> None:
        """Take away the boxes of the source before, and hide those of runs that are not looked at."""
        self.clear_boxes()
        self._run_boxes.follow(None if source is None else source.key, self._viewer.layers)

    def forget(self) -> None:
        """Note that the map's layer is gone."""
        if self.current is not None:
            self.current = None
            self.legend_changed.emit(None)
            self.shown.emit(None)

    def close(self) -> None:
        """Let go; the layers stay, as what the user was looking at."""
        self._colours.forget()

    def spread(self) -> Distribution | None:
        """Return how the values of the shown map are spread over slide or field; None until it is read."""
        return None if self.current is None else self._colours.spread(self.current.source, self.current.item)

    def count_tile(self, tile: Region) -> None:
        """Let the values of a tile count where colours run over a tile."""
        self._colours.tile = tile

    # what happens

    @contextmanager
    def _own(self) -> Iterator[None]:
        """Change the layer ourselves: that is nothing that the user has edited."""
        self._setting = True
        try:
            yield
        finally:
            self._setting = False

    def _on_edited(self, event: Any = None) -> None:
        """Follow what the user sets in napari's own controls of the layer."""
        current = self.current
        if self._setting or current is None:
            return
        layer: Any = current.layer
        self._look = replace(self._look, opacity=float(layer.opacity), gamma=float(layer.gamma))
        self.edited.emit({"opacity": self._look.opacity, "gamma": self._look.gamma})
        low, high = (float(value) for value in layer.contrast_limits)
        limits, legend = self._colours.of(current.source, current.item, current.slide, self._look)
        if (low, high) != limits:
            said = f"{low:.4g} to {high:.4g}, set by hand"
            legend = replace(legend, limits=(low, high), said=said)
        self.legend_changed.emit(legend)

    def _place(self, slide: Layer) -> int:
        layers = self._viewer.layers
        fingerprint = fingerprint_of(slide)
        return 1 + max(layers.index(item) for item in layers if fingerprint_of(item) == fingerprint)

    def _hide_other_maps(self, slide: Layer) -> None:
        """Hide what covers the same pixels in other colours; outlines stay."""
        for layer in self._viewer.layers:
            facts = facts_of(layer)
            if not is_result(layer) or fingerprint_of(layer) != fingerprint_of(slide):
                continue
            coarse = facts.get("kind") == "labels" and max(layer.scale) > _FINE
            if coarse or facts.get("kind") in ("attention", "probability"):
                layer.visible = False

    def _remove_left(self, slide: Layer) -> None:
        """Take away the map that a panel which was closed has left: two would tint each other."""
        for layer in list(self._viewer.layers):
            facts = facts_of(layer)
            left = facts.get("kind") == MAP and not facts.get(COMPARED)
            if left and fingerprint_of(layer) == fingerprint_of(slide):
                self._viewer.layers.remove(layer)

    def _remove(self, layer: Layer | None) -> None:
        if layer is not None:
            with suppress(ValueError):  # the user has removed it
                self._viewer.layers.remove(layer)

    def _set_colours(self) -> None:
        current = self.current
        if current is None:
            return
        limits, legend = self._colours.of(current.source, current.item, current.slide, self._look)
        with self._own():
            set_limits(current.layer, limits)
        self.legend_changed.emit(legend)

    def _read_spread(self) -> None:
        """Read all values of the shown map in a job, where it has more than the preview has looked at."""
        current = self.current
        if current is None:
            return
        missing = self._colours.unread(current.source, current.item, current.slide, self._look)
        if not missing:
            return

        def work(emit: Emit, cancel: Event) -> dict[Key, Distribution]:
            return {key: current.item.distribution(key[2]) for key in missing}

        def done(found: dict[Key, Distribution]) -> None:
            self._colours.keep(found)
            if self.current is current:
                self._set_colours()

        self._jobs.start(work, Callbacks(lambda event: None, done, notices.show, lambda: None))


def _states(look: Look) -> Look:
    return replace(look, colormap=STATES, interpolation="nearest", gamma=1.0)
