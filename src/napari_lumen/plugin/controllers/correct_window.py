"""An edit window: a Labels layer over a part of a slide, painted on with napari's own tools."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lumen.plugin.layers import KEY, class_colors, class_features
from napari_lumen.plugin.placing import fingerprint_of, origin_of, step_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.corrections.images import Pixels
    from napari_lumen.corrections.objects import Patch
    from napari_lumen.geometry import Grid

_BRUSH = 24.0  # px on the screen
_BORDER = (1.0, 0.75, 0.0, 1.0)  # amber: neither stain nor class
_DIGITS = 9
# Outlines leave the chromatin inside to be judged, but napari traces those of the whole window at each undo:
# 0.15 s for these pixels, and 2.4 s for a window of 8,192 px a side, which is filled instead.
_MOST_OUTLINED = 2048 * 2048


class EditWindow:
    """The layer of an edit window.

    Parameters
    ----------
    viewer : ViewerModel
    slide : Layer
        Of the slide below.
    grid : Grid
        The window's pixels.
    before : ndarray
        uint8 (h, w), the labels to correct.
    after : ndarray
        uint8 (h, w), the labels to begin with: `before`, or what was painted earlier.
    classes : ClassTable
    """

    def __init__(
        self,
        viewer: ViewerModel,
        slide: Layer,
        grid: Grid,
        before: Pixels,
        after: Pixels,
        classes: ClassTable,
    ) -> None:
        self.grid = grid
        self.before = before
        self.classes = classes
        self.slide = slide
        self.tool_in_hand = False  # one of ours, which choosing a class does not put away
        self._viewer = viewer
        self.layer = _layer(slide, grid, after, classes)
        viewer.layers.append(self.layer)
        viewer.layers.selection.active = self.layer
        self.layer.selected_label = next(iter(classes)).value
        self.layer.mode = "paint"
        self.brush = ScreenBrush(viewer, self.layer)
        self.bind_digits(self.choose)
        self.layer.bind_key("G", _polygon, overwrite=True)  # napari's own key for it is 3

    def snapshot(self) -> Pixels:
        """Return a copy of the labels as they are now."""
        return np.array(self.layer.data, np.uint8)

    def edited(self) -> bool:
        """Whether anything differs from the labels that it was opened with."""
        return not np.array_equal(self.layer.data, self.before)

    def bind(self, keys: dict[str, Callable[[], None]]) -> None:
        """Bind keys while the window's layer is selected."""
        for key, call in keys.items():
            self.layer.bind_key(key, _calling(call), overwrite=True)

    def bind_digits(self, call: Callable[[int], None]) -> None:
        """Say what 0 to 9 do: called with the value of the class."""
        values = [0, *(item.value for item in self.classes)][: _DIGITS + 1]
        for digit, value in enumerate(values):
            self.layer.bind_key(str(digit), _calling(partial(call, value)), overwrite=True)
        for digit in range(len(values), _DIGITS + 1):  # napari would change the tool
            self.layer.bind_key(str(digit), _nothing, overwrite=True)

    def choose(self, value: int) -> None:
        """Choose what the brush paints; 0 is background."""
        self.layer.selected_label = value
        if not self.tool_in_hand and str(self.layer.mode) not in ("paint", "fill", "polygon"):
            self.layer.mode = "paint"  # the eraser would paint no class

    def change(self, patch: Patch) -> None:
        """Put labels in place of others, as one step of the layer's history."""
        place = patch.window
        rows, columns = np.nonzero(self.layer.data[place.slices] != patch.labels)
        self.layer.data_setitem((rows + place.y, columns + place.x), patch.labels[rows, columns])

    def close(self) -> None:
        """Take the layer away."""
        self.brush.close()
        if self.layer in self._viewer.layers:
            self.layer.mode = "pan_zoom"  # else its cursor stays on the canvas
            self._viewer.layers.remove(self.layer)


class ScreenBrush:
    """Keeps the brush of a layer at its size on the screen, however far the view is zoomed.

    What the user sets, by napari's slider or its keys, is the size from then on.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Labels
    """

    def __init__(self, viewer: ViewerModel, layer: Labels) -> None:
        self.on = True
        self._camera = viewer.scene.camera
        self._layer = layer
        self._size = _BRUSH
        self._setting = False
        self._camera.events.zoom.connect(self._on_zoom)
        layer.events.brush_size.connect(self._on_brush)
        self._on_zoom()

    def switch(self, on: bool) -> None:
        """Switch it on or off; the brush stays as it is."""
        self.on = on
        self._on_brush()

    def close(self) -> None:
        """Let go of the viewer."""
        self._camera.events.zoom.disconnect(self._on_zoom)
        self._layer.events.brush_size.disconnect(self._on_brush)

    @property
    def _per_pixel(self) -> float:
        """Pixels of the screen per pixel of the layer."""
        return float(self._camera.zoom * min(self._layer.scale))

    def _on_zoom(self, event: Any = None) -> None:
        if not self.on:
            return
        self._setting = True
        try:
            self._layer.brush_size = max(1, round(self._size / self._per_pixel))
        finally:
            self._setting = False

    def _on_brush(self, event: Any = None) -> None:
        if not self._setting:
            self._size = self._layer.brush_size * self._per_pixel


def _layer(slide: Layer, grid: Grid, labels: Pixels, classes: ClassTable) -> Labels:
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    mpp, (top, left) = step_of(slide), origin_of(slide)
    y, x = grid.translate(mpp)
    outlined = labels.size <= _MOST_OUTLINED
    layer = Labels(
        labels.copy(),
        name=f"Correct · {grid.step[0] * mpp[0]:.3g} µm/px",
        scale=grid.scale(mpp),
        translate=(y + top, x + left),
        units=slide.units,
        colormap=DirectLabelColormap(color_dict=class_colors(classes)),
        opacity=0.9 if outlined else 0.4,
        features=class_features(classes),
        metadata={KEY: {"kind": "edit", "fingerprint": fingerprint_of(slide)}},
    )
    layer.contour = 2 if outlined else 0
    box = layer.bounding_box
    box.visible, box.points, box.line_thickness, box.line_color = True, False, 3, _BORDER
    return layer


def _calling(call: Callable[[], None]) -> Callable[[Any], None]:
    def run(layer: Any) -> None:
        call()

    return run


def _polygon(layer: Any) -> None:
    layer.mode = "polygon"


def _nothing(layer: Any) -> None:
    """Do nothing."""
