"""Putting a run's layers on its slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.plugin.layers import LayerData, RunLayers
from napari_lumen.plugin.placing import fingerprint_of, is_result, is_slide, lay_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

_CONTOUR = 2  # px of the level in view: an outline leaves the chromatin inside to be judged


def add_result(viewer: ViewerModel, slide: Layer, shown: RunLayers) -> list[Layer]:
    """Add the layers of a run above their slide and its earlier runs, which are hidden, not removed.

    Above any other slide that is shown, too, which would cover them.

    Returns
    -------
    list of Layer
        Bottom to top; the labels come last and are selected.
    """
    fingerprint = fingerprint_of(slide)
    for layer in viewer.layers:
        if is_result(layer) and fingerprint_of(layer) == fingerprint:
            layer.visible = False
    place = 1 + max(
        viewer.layers.index(layer)
        for layer in viewer.layers
        if fingerprint_of(layer) == fingerprint or (layer.visible and is_slide(layer))
    )
    added = _insert(viewer, place, slide, shown.layers)
    viewer.layers.selection.active = added[-1]
    return added


def add_below(viewer: ViewerModel, above: Layer, slide: Layer, layers: Sequence[LayerData]) -> list[Layer]:
    """Add further layers of a run right below one of its own; the selection stays."""
    active = viewer.layers.selection.active
    added = _insert(viewer, viewer.layers.index(above), slide, layers)
    viewer.layers.selection.active = active
    return added


def _insert(viewer: ViewerModel, place: int, slide: Layer, layers: Sequence[LayerData]) -> list[Layer]:
    from napari.layers import Layer

    added = []
    for offset, data in enumerate(layers):
        layer = Layer.create(*data)
        lay_on(layer, slide)
        outline(layer)
        viewer.layers.insert(place + offset, layer)
        added.append(layer)
    return added


def outline(layer: Layer) -> None:
    """Show the labels of a run as outlines; what a run found is not painted on."""
    from napari.layers import Labels

    layer.editable = False
    if isinstance(layer, Labels):
        layer.contour = _CONTOUR
