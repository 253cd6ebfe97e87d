"""Maps of a field end on the canvas where the field does, also where that is inside the network's last cells.

The layers say so by napari's clipping planes, which reach no image of two dimensions (0.9): those get a
filter of vispy's that draws nothing beyond them. So a layer keeps the cells of the network, whole and in
their place, and ends all the same within a pixel of the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari._qt.qt_viewer import QtViewer
from vispy.visuals.filters.clipping_planes import PlanesClipper  # type: ignore[import-untyped]

from napari_lumen.plugin.attention_layers import MAP
from napari_lumen.plugin.placing import facts_of

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer
    from qtpy.QtWidgets import QWidget


class MapEdges:
    """Cuts the layers of maps, on the canvas, at their clipping planes.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        window: QWidget = viewer.window._qt_window
        self._canvas: Any = window.findChild(QtViewer).canvas  # napari has no public name for it
        self._viewer = viewer
        self._filters: dict[Layer, PlanesClipper] = {}
        self._followed: dict[Layer, Callable[..., None]] = {}
        # last: napari draws a new layer at the same event
        viewer.layers.events.inserted.connect(self._on_inserted, position="last")
        viewer.layers.events.removed.connect(self._on_removed)
        for layer in viewer.layers:
            self._take(layer)

    def close(self) -> None:
        """Let go; layers stay cut as they are. May be called twice."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in list(self._followed):
            self._leave(layer)

    def _on_inserted(self, event: Any) -> None:
        self._take(event.value)

    def _on_removed(self, event: Any) -> None:
        self._filters.pop(event.value, None)
        self._leave(event.value)

    def _take(self, layer: Layer) -> None:
        if facts_of(layer).get("kind") == MAP:
            self._followed[layer] = follow = partial(self._cut, layer)
            for events in _events(layer):
                events.connect(follow)
            self._cut(layer)

    def _leave(self, layer: Layer) -> None:
        follow = self._followed.pop(layer, None)
        for events in _events(layer) if follow is not None else ():
            events.disconnect(follow)

    def _cut(self, layer: Layer, event: Any = None) -> None:
        """Put the planes of a layer where they lie in the world, which is where vispy cuts."""
        planes = layer.experimental_clipping_planes.as_array()
        if layer not in self._viewer.layers or (not len(planes) and layer not in self._filters):
            return
        if layer not in self._filters:
            self._filters[layer] = PlanesClipper()
            self._canvas.layer_to_visual[layer].node.attach(self._filters[layer])
        placed = np.zeros(planes.shape, np.float32)
        for number, (position, normal) in enumerate(planes):
            # vispy counts x, y, z
            placed[number, 0, :2] = np.asarray(layer.data_to_world(position[-2:]))[::-1]
            placed[number, 1, :2] = normal[-2:][::-1]
        self._filters[layer].clipping_planes = placed


def _events(layer: Layer) -> tuple[Any, ...]:
    """Return what moves the edges of a layer."""
    return layer.experimental_clipping_planes.events, layer.events.scale, layer.events.translate
