"""How two maps are laid out on the canvas: in a grid, one over the other, or as their difference."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lumen.plugin.attention_layers import COMPARED, MAP, map_layer, napari_colormap
from napari_lumen.plugin.layers import KEY, PLACED, placement
from napari_lumen.plugin.placing import facts_of, fingerprint_of, is_result, lay_on

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.plugin.attention_source import MapSource
    from napari_lumen.plugin.controllers.attention_compare_state import Compared, Shown
    from napari_lumen.plugin.controllers.attention_state import Legend, Look

COPY = "tissue"  # kind in the facts of a second layer of the slide
_PAIR = 2  # layers in each part of the grid: tissue, and the map over it
_NAME_SIZE = 8  # points, which napari draws larger
_DIFFERENCE = "difference"
Chosen = tuple["MapSource", "RunMap"]


class CompareLayers:
    """Puts a comparison on the canvas and leaves the canvas as it was.

    Parameters
    ----------
    viewer : ViewerModel

    Attributes
    ----------
    pair : tuple of Layer
        The layers of the first map and of the second; empty while they are not shown.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.pair: tuple[Layer, ...] = ()
        self._added: list[Layer] = []
        self._hidden: list[Layer] = []
        self._grid: dict[str, Any] | None = None

    def show(
        self, how: Shown, found: Compared, first: Chosen, second: Chosen, slide: Layer, look: Look
    ) -> None:
        """Show a comparison in place of the one before; nothing with "none"."""
        self.clear()
        if how == "none":
            return
        active = self._viewer.layers.selection.active
        if how == "difference":
            self._hide(results=True)
            self._add(difference_layer(found, slide))
        else:
            one = _map(first, found.legends[0], slide, look, f"first: {found.titles[0]}")
            other = _map(second, found.legends[1], slide, look, f"second: {found.titles[1]}")
            self._hide(results=how == "swipe")
            for layer in (one, other):  # the swipe writes names of its own
                layer.name_overlay.visible = how == "beside"
            tissue = [] if how == "swipe" else [tissue_layer(slide, name) for name in ("first", "second")]
            if tissue:  # the topmost pair comes first in the grid
                self._add(tissue[1], other, tissue[0], one)
                self._to_grid()
            else:
                self._add(other, one)
            self.pair = (one, other)
        if active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def clear(self) -> None:
        """Take the comparison away."""
        added, hidden = self._added, self._hidden
        self._added, self._hidden, self.pair = [], [], ()
        if self._grid is not None:
            self._viewer.canvas.grid.update(self._grid)
            self._grid = None
        for layer in added:
            with suppress(ValueError):  # the user has removed it
                self._viewer.layers.remove(layer)
        for layer in hidden:
            layer.visible = True

    def holds(self, layer: Layer) -> bool:
        """Whether a layer is of the comparison that is shown."""
        return any(item is layer for item in self._added)

    def _hide(self, *, results: bool) -> None:
        """Hide what would cover the maps, or in a grid make parts of its own: results alone, or all."""
        for layer in self._viewer.layers:
            covers = is_result(layer) or facts_of(layer).get("kind") == MAP
            if layer.visible and (covers or not results):
                layer.visible = False
                self._hidden.append(layer)

    def _add(self, *layers: Layer) -> None:
        for layer in layers:
            self._added.append(layer)
            self._viewer.layers.append(layer)

    def _to_grid(self) -> None:
        grid = self._viewer.canvas.grid
        self._grid = {"enabled": grid.enabled, "stride": grid.stride, "shape": grid.shape}
        # counted from the top, so that the layers below, which are hidden, change nothing
        grid.update({"stride": -_PAIR, "shape": (1, -1), "enabled": True})


def difference_layer(found: Compared, slide: Layer) -> Image:
    """Return the first map less the second, laid on the slide; no difference is clear."""
    from napari.layers import Image

    legend, grid = found.legends[2], found.agreement.grid
    facts = {
        "kind": _DIFFERENCE,
        "fingerprint": fingerprint_of(slide),
        "description": f"{found.titles[0]} less {found.titles[1]}.",
        PLACED: (found.mpp, (0.0, 0.0)),
    }
    layer = Image(
        np.asarray(found.agreement.difference, np.float32),
        name=f"{_stem(slide)} · first less second",
        rgb=False,
        colormap=napari_colormap("difference"),
        contrast_limits=legend.limits,
        interpolation2d="nearest",
        blending="translucent",
        metadata={KEY: facts},
        **placement(grid, found.mpp),
    )
    lay_on(layer, slide)
    layer.editable = False
    return layer


def tissue_layer(slide: Layer, which: str) -> Layer:
    """Return a second layer of a slide, which reads through the same handle."""
    from napari.layers import Layer

    data, attributes, kind = slide.as_layer_data_tuple()
    facts = {"kind": COPY, "fingerprint": fingerprint_of(slide)}
    attributes = {
        **attributes,
        "name": f"{_stem(slide)} · tissue, {which}",
        "metadata": {KEY: facts},
        "visible": True,
    }
    layer = Layer.create(data, attributes, kind)
    layer.editable = False
    return layer


def _map(chosen: Chosen, legend: Legend, slide: Layer, look: Look, name: str) -> Image:
    source, item = chosen
    layer = map_layer(source, item, slide, look, legend.limits, _stem(slide))
    layer.metadata[KEY] = {**facts_of(layer), COMPARED: True}
    layer.name = name
    layer.name_overlay.box = True
    layer.name_overlay.font_size = _NAME_SIZE
    return layer


def _stem(slide: Layer) -> str:
    return slide.name.partition(".")[0] or slide.name
