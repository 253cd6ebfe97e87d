"""The line that is drawn while the mouse is dragged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.plugin.layers import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_lumen.geometry import Pair

_WIDTH = 2.0  # px on the screen
_COLOR = "#ffbf00"  # that of the window's border


class Stroke:
    """A layer above an edit window that shows what is being drawn; it is never selected.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Labels
        Of the edit window.
    """

    def __init__(self, viewer: ViewerModel, layer: Labels) -> None:
        from napari.layers import Vectors

        self._viewer = viewer
        self._layer = layer
        self._line = Vectors(
            np.zeros((0, 2, 2)),
            ndim=2,
            name="Stroke",
            scale=layer.scale,
            translate=layer.translate,
            units=layer.units,
            edge_color=_COLOR,
            vector_style="line",
            opacity=1.0,
            metadata={KEY: {"kind": "stroke"}},
        )
        viewer.layers.append(self._line)
        viewer.layers.selection.active = layer

    def show(self, places: Sequence[Pair]) -> None:
        """Show a line through places, (row, column) of the window."""
        corners = np.asarray(places, float)
        self._line.edge_width = _WIDTH / float(self._viewer.scene.camera.zoom * min(self._layer.scale))
        self._line.data = np.stack([corners[:-1], np.diff(corners, axis=0)], axis=1)

    def clear(self) -> None:
        """Show nothing."""
        self._line.data = np.zeros((0, 2, 2))

    def close(self) -> None:
        """Take the layer away."""
        if self._line in self._viewer.layers:
            self._viewer.layers.remove(self._line)
        if self._layer in self._viewer.layers:
            self._viewer.layers.selection.active = self._layer
