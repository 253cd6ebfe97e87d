"""The one map of the Attention panel that is shown: its layer, its colours and what they mean."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_lumen.plugin import notices
from napari_lumen.plugin.attention_layers import (
    STATE_COLORS,
    box_layer,
    map_layer,
    napari_colormap,
    replace_map,
    set_limits,
)
from napari_lumen.plugin.attention_tree import STATES, Node
from napari_lumen.plugin.controllers.attention_state import ChosenMap, Legend, Look
from napari_lumen.plugin.jobs import Callbacks, Emit, JobRunner
from napari_lumen.plugin.placing import facts_of, fingerprint_of, is_result, origin_of, step_of
from napari_lumen.plugin.regions import selected_area, view_region

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.explain.distribution import Distribution
    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.attention_source import MapSource

_PREVIEW = 200_000  # values that tell the colours until all are read
_FINE = 8.0  # µm: labels of larger pixels are filled, not outlined
_NOT_COMPARABLE = "Normalised in each tile: values of two tiles cannot be compared."
_KEPT = 6  # distributions, of up to 16 MB each
_Key = tuple[str, str, "Region | None"]


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
        self._look = Look()
        self._setting = False  # what we set ourselves is nothing that the user has edited
        self._spreads: OrderedDict[_Key, Distribution] = OrderedDict()
        self.tile: Region | None = None  # whose values count where colours run over a tile

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
        limits, legend = self._colours(source, item, slide)
        before = self.current
        if before is not None and before.layer in self._viewer.layers:
            layer = before.layer
            with self._own():
                replace_map(layer, source, item, slide, self._look, limits, stem)
        else:
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

    def forget(self) -> None:
        """Note that the map's layer is gone."""
        if self.current is not None:
            self.current = None
            self.legend_changed.emit(None)
            self.shown.emit(None)

    def close(self) -> None:
        """Let go; the layers stay, as what the user was looking at."""
        self._spreads.clear()

    def spread(self) -> Distribution | None:
        """Return how the values of the shown map are spread over slide or field; None until it is read."""
        if self.current is None:
            return None
        return self._spreads.get((self.current.source.key, self.current.item.name, None))

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
        limits, legend = self._colours(current.source, current.item, current.slide)
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

    def _remove(self, layer: Layer | None) -> None:
        if layer is not None:
            with suppress(ValueError):  # the user has removed it
                self._viewer.layers.remove(layer)

    def _over(self, source: MapSource, slide: Layer) -> Region | None:
        """Return whose values count; None for all."""
        if source.explained is not None or self._look.over == "slide":
            return None
        if self._look.over == "tile":
            return self.tile
        return _selection(self._viewer, slide)

    def _colours(self, source: MapSource, item: RunMap, slide: Layer) -> tuple[tuple[float, float], Legend]:
        from napari_lumen.explain.colours import colormap
        from napari_lumen.explain.scaling import Scaling

        note = ""
        if not item.comparable:
            note = _NOT_COMPARABLE
            if item.raw is None and source.run is not None:
                note += " The run does not keep the map before its softmax: right-click a tile for it."
        if self._look.colormap == STATES:
            colors = tuple(color for _, color in STATE_COLORS)
            said = "tumour from 0.5 on, normal below, no label where there is no value"
            return (0.0, 1.0), Legend(item.title, (0.0, 1.0), said, colors, note, item.raw)
        over = self._over(source, slide)
        spread = self._spreads.get((source.key, item.name, over))
        if spread is None:
            spread = _previewed(item, over)
        look = self._look
        scaling = Scaling(
            look.mode, "tile" if source.explained is not None else look.over, look.low, look.high
        )
        low, high, said = scaling.limits(spread, item.value_range)
        legend = Legend(item.title, (low, high), said, colormap(look.colormap).colors, note, item.raw)
        return (low, high), legend

    def _set_colours(self) -> None:
        current = self.current
        if current is None:
            return
        limits, legend = self._colours(current.source, current.item, current.slide)
        with self._own():
            set_limits(current.layer, limits)
        self.legend_changed.emit(legend)

    def _read_spread(self) -> None:
        """Read all values of the shown map in a job, where it has more than the preview has looked at."""
        current = self.current
        if current is None:
            return
        source, item = current.source, current.item
        over = self._over(source, current.slide)
        wanted = dict.fromkeys(((source.key, item.name, over), (source.key, item.name, None)))
        missing = [key for key in wanted if key not in self._spreads]
        if not missing:
            return

        def work(emit: Emit, cancel: Event) -> dict[_Key, Distribution]:
            return {key: item.distribution(key[2]) for key in missing}

        def done(found: dict[_Key, Distribution]) -> None:
            self._spreads.update(found)
            while len(self._spreads) > _KEPT:
                self._spreads.popitem(last=False)
            if self.current is current:
                self._set_colours()

        self._jobs.start(work, Callbacks(lambda event: None, done, notices.show, lambda: None))


def _states(look: Look) -> Look:
    return replace(look, colormap=STATES, interpolation="nearest", gamma=1.0)


def _previewed(item: RunMap, over: Region | None) -> Distribution:
    from napari_lumen.explain.distribution import Distribution

    values, _ = item.read(over, _PREVIEW)
    step = max(1, int(np.ceil(np.sqrt(values.size / _PREVIEW))))
    return Distribution.of(values[::step, ::step])


def _selection(viewer: ViewerModel, slide: Layer) -> Region | None:
    """Return the rectangle around the selected shapes, else the current view, level-0 px."""
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.controllers.slides import SlideLayers

    area = selected_area(viewer, step_of(slide), origin_of(slide))
    if area is not None:
        left, top, right, bottom = area.bounds
        return Region(top, left, bottom - top, right - left)
    return view_region(viewer, step_of(slide), SlideLayers.slide(slide).shape, origin_of(slide))
