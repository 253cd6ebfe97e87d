"""Where a map lies above a value, drawn on its slide as lines: quick enough to follow a slider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from napari_lumen.plugin.layers import KEY
from napari_lumen.plugin.placing import origin_of, step_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Vectors
    from shapely import Polygon

    from napari_lumen.annotations.classes import Color

Segments = npt.NDArray[np.float32]
KIND_OUTLINE = "threshold"
_WIDTH = 2.0  # px of the screen


def segments_of(outlines: Sequence[Polygon]) -> Segments:
    """Return the lines of outlines, rings of holes included, as napari's Vectors take them.

    Parameters
    ----------
    outlines : sequence of Polygon
        (x, y) in level-0 px.

    Returns
    -------
    ndarray
        (n, 2, 2): start (y, x) from pixel centres, and the way to the end.
    """
    rings = shapely.get_rings(np.array(outlines, object))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    if not len(points):
        return np.empty((0, 2, 2), np.float32)
    inside = ring[1:] == ring[:-1]
    yx = points[:, ::-1] - 0.5
    return np.stack([yx[:-1][inside], np.diff(yx, axis=0)[inside]], axis=1).astype(np.float32)


class Outline:
    """Keeps one layer of lines on a slide, as thin at every zoom: no annotation, and never taken for one.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Vectors | None = None
        self._slide: Layer | None = None

    def show(self, slide: Layer, segments: Segments, color: Color) -> None:
        """Draw lines instead of those before."""
        if self._layer is None or self._layer not in self._viewer.layers or self._slide is not slide:
            self.remove()
            self._slide = slide
            self._layer = self._made(slide, segments, color)
            active = self._viewer.layers.selection.active
            self._viewer.add_layer(self._layer)
            self._viewer.layers.selection.active = active
            return
        layer, wanted = self._layer, _rgba(color)
        if not np.array_equal(layer.scale, step_of(slide)):  # a pixel size was given
            layer.scale, layer.translate = step_of(slide), origin_of(slide)
        if not np.array_equal(layer.edge_color[:1], wanted):  # each change draws all lines anew
            layer.edge_color = wanted
        layer.data = segments
        self.fit_width()

    def _made(self, slide: Layer, segments: Segments, color: Color) -> Vectors:
        from napari.layers import Vectors

        return Vectors(
            segments,
            name="Threshold",
            ndim=2,
            vector_style="line",
            edge_color=_rgba(color),
            edge_width=self._width(slide),
            opacity=1.0,
            scale=step_of(slide),
            translate=origin_of(slide),
            units=slide.units[-2:],
            metadata={KEY: {"kind": KIND_OUTLINE}},
        )

    def _width(self, slide: Layer) -> float:
        return float(_WIDTH / (self._viewer.scene.camera.zoom * step_of(slide)[1]))

    def fit_width(self, event: Any = None) -> None:
        """Draw the lines as wide as they are to be at the present zoom."""
        if self._layer is None or self._slide is None or self._layer not in self._viewer.layers:
            return
        width = self._width(self._slide)
        if abs(width / self._layer.edge_width - 1) > 0.2:
            self._layer.edge_width = width

    def remove(self) -> None:
        """Take the lines away."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = self._slide = None


def _rgba(color: Color) -> npt.NDArray[np.float64]:
    return np.array([(*color, 255)]) / 255
