"""A frame around the place that was gone to from the gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.plugin.layers import KEY
from napari_lumen.plugin.placing import origin_of, step_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Vectors

    from napari_lumen.explain.ranking import Entry

KIND_MARKER = "place in the gallery"
_NO_CLASS = (150, 150, 150)
_SHARE = 1 / 80  # of the longer side: the width of the line
_THINNEST = 0.3  # µm


class GalleryMarker:
    """Keeps one frame on a slide: lines, which nobody can take for an annotation.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Vectors | None = None

    def show(self, slide: Layer, entry: Entry) -> None:
        """Frame an entry, in the colour of its class."""
        from napari.layers import Vectors

        region = entry.region
        width = max(max(region.height, region.width) * _SHARE, _THINNEST / step_of(slide)[0])
        top, left = region.y - 0.5 - width / 2, region.x - 0.5 - width / 2  # around, not over it
        down, across = region.height + width, region.width + width
        corners = np.array(
            [(top, left), (top, left + across), (top + down, left + across), (top + down, left)]
        )
        data = np.stack([corners, np.roll(corners, -1, axis=0) - corners], axis=1)
        color = np.array([(*(entry.color or _NO_CLASS), 255)]) / 255
        if self._layer is None or self._layer not in self._viewer.layers:
            self._layer = Vectors(
                data,
                name="Place in the gallery",
                vector_style="line",
                edge_width=width,
                edge_color=color,
                units=slide.units[-2:],
                metadata={KEY: {"kind": KIND_MARKER}},
            )
            active = self._viewer.layers.selection.active
            self._viewer.add_layer(self._layer)
            self._viewer.layers.selection.active = active
        layer = self._layer
        layer.data = data
        layer.edge_width, layer.edge_color = width, color
        layer.scale, layer.translate = step_of(slide), origin_of(slide)

    def remove(self) -> None:
        """Take the frame away."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None
