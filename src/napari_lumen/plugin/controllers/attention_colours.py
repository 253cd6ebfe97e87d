"""Between which values the colours of a map run, and what its legend says of that."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.annotations.decision import DECISION, STATES
from napari_lumen.plugin.attention_layers import STATE_LIMITS
from napari_lumen.plugin.controllers.attention_state import Legend, Look
from napari_lumen.plugin.placing import origin_of, step_of
from napari_lumen.plugin.regions import selected_area, view_region

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.explain.distribution import Distribution
    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.attention_source import MapSource

_PREVIEW = 200_000  # values that tell the colours until all are read
_NOT_COMPARABLE = "Normalised in each tile: values of two tiles cannot be compared."
_KEPT = 6  # distributions, of up to 16 MB each
Key = tuple[str, str, "Region | None"]  # of a source, a map, and what of it counts: None for all


class MapColours:
    """Limits and legends of maps; keeps how the values of the last maps are spread.

    Parameters
    ----------
    viewer : ViewerModel

    Attributes
    ----------
    tile : Region or None
        Whose values count where colours run over a tile, level-0 px.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._spreads: OrderedDict[Key, Distribution] = OrderedDict()
        self.tile: Region | None = None

    def of(
        self, source: MapSource, item: RunMap, slide: Layer, look: Look
    ) -> tuple[tuple[float, float], Legend]:
        """Return the values at the two ends of the colours, and the legend.

        Until all values are read, see `unread`, some of them tell.
        """
        from napari_lumen.explain.colours import colormap
        from napari_lumen.explain.scaling import Scaling

        note = ""
        if not item.comparable:
            note = _NOT_COMPARABLE
            if item.raw is None and source.run is not None:
                note += " The run does not keep the map before its softmax: right-click a tile for it."
        if look.colormap == STATES:
            names = tuple(state.name for state in DECISION)
            colors = tuple(
                (r / 255, g / 255, b / 255, 1.0) for r, g, b in (state.color for state in DECISION)
            )
            said = "tumour from 0.5 on, normal below, no label where there is no value"
            return STATE_LIMITS, Legend(item.title, (0.0, 1.0), said, colors, note, item.raw, names)
        over = self._over(source, slide, look)
        spread = self._spreads.get((source.key, item.name, over))
        if spread is None:
            spread = _previewed(item, over)
        scaling = Scaling(
            look.mode, "tile" if source.explained is not None else look.over, look.low, look.high
        )
        low, high, said = scaling.limits(spread, item.value_range)
        legend = Legend(item.title, (low, high), said, colormap(look.colormap).colors, note, item.raw)
        return (low, high), legend

    def spread(self, source: MapSource, item: RunMap) -> Distribution | None:
        """Return how all values of a map are spread; None until they are read."""
        return self._spreads.get((source.key, item.name, None))

    def unread(self, source: MapSource, item: RunMap, slide: Layer, look: Look) -> list[Key]:
        """Return of what of a map the values are to be read."""
        over = self._over(source, slide, look)
        wanted = dict.fromkeys(((source.key, item.name, over), (source.key, item.name, None)))
        return [key for key in wanted if key not in self._spreads]

    def keep(self, found: Mapping[Key, Distribution]) -> None:
        """Keep what was read; the oldest goes."""
        self._spreads.update(found)
        while len(self._spreads) > _KEPT:
            self._spreads.popitem(last=False)

    def forget(self) -> None:
        """Let go of all that was read."""
        self._spreads.clear()

    def _over(self, source: MapSource, slide: Layer, look: Look) -> Region | None:
        """Return whose values count; None for all."""
        if source.explained is not None or look.over == "slide":
            return None
        return self.tile if look.over == "tile" else _selection(self._viewer, slide)


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
