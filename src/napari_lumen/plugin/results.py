"""Putting a run's layers on its slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.plugin.layers import KEY, RunLayers

_CONTOUR = 2  # px of the level in view: an outline leaves the chromatin inside to be judged

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def add_result(viewer: ViewerModel, slide: Layer, shown: RunLayers) -> list[Layer]:
    """Add the layers of a run above their slide and its earlier runs, which are hidden, not removed.

    Above any other slide that is shown, too, which would cover them.

    Returns
    -------
    list of Layer
        Bottom to top; the labels come last and are selected.
    """
    from napari.layers import Labels, Layer

    fingerprint = slide.metadata[KEY]["fingerprint"]
    for layer in viewer.layers:
        facts = layer.metadata.get(KEY, {})
        if "run" in facts and facts.get("fingerprint") == fingerprint:
            layer.visible = False
    place = 1 + max(
        viewer.layers.index(layer)
        for layer in viewer.layers
        if layer is slide or _belongs(layer, fingerprint) or _covers(layer)
    )
    added = []
    for offset, data in enumerate(shown.layers):
        layer = Layer.create(*data)
        layer.editable = False
        if isinstance(layer, Labels):
            layer.contour = _CONTOUR
        viewer.layers.insert(place + offset, layer)
        added.append(layer)
    viewer.layers.selection.active = added[-1]
    return added


def _belongs(layer: Layer, fingerprint: str) -> bool:
    return bool(layer.metadata.get(KEY, {}).get("fingerprint") == fingerprint)


def _covers(layer: Layer) -> bool:
    return bool(layer.visible) and layer.metadata.get(KEY, {}).get("kind") == "slide"
