"""What of a slide is in view, and moving the view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.geometry import Pair, Region, level0_to_world
from napari_lumen.plugin.placing import origin_of, step_of
from napari_lumen.plugin.regions import view_region

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_SHOWN = 0.94  # share of the view that an edit window takes: its border is seen
_FILLED = 0.9  # of the canvas, by a window that is gone to


class SlideView:
    """The view of a window on a slide's layer, in level-0 pixels.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer

    def seen(self, layer: Layer, shape: tuple[int, int]) -> Region:
        """Return what is in view of a slide of a shape, but for a margin; empty when that is nothing."""
        region = view_region(self._viewer, step_of(layer), shape, origin_of(layer))
        return _inset(region, Region(0, 0, *shape))

    def extent(self, layer: Layer) -> Pair:
        """Return how much of a slide the view holds, (height, width)."""
        height, width = (side / self._viewer.scene.camera.zoom for side in self._viewer.canvas.size)
        down, across = step_of(layer)
        return height / down * _SHOWN, width / across * _SHOWN

    def move_to(self, layer: Layer, region: Region, *, fit: bool = False) -> None:
        """Move the view to the middle of a region; with `fit`, zoom so that it fills most of the canvas."""
        step, (top, left) = step_of(layer), origin_of(layer)
        y, x = level0_to_world((region.y + region.height / 2, region.x + region.width / 2), step)
        camera = self._viewer.scene.camera
        camera.center = (*camera.center[:-2], y + top, x + left)
        if fit:
            sides = region.height * step[0], region.width * step[1]
            canvas = self._viewer.canvas.size
            camera.zoom = _FILLED * min(room / side for room, side in zip(canvas, sides, strict=True))


def _inset(region: Region, slide: Region) -> Region:
    """Leave a margin at the edges of the view; where the slide ends in view there is room beyond it."""
    down, across = region.height * (1 - _SHOWN) / 2, region.width * (1 - _SHOWN) / 2
    top = region.y + (down if region.y > slide.y else 0)
    left = region.x + (across if region.x > slide.x else 0)
    bottom = region.bottom - (down if region.bottom < slide.bottom else 0)
    right = region.right - (across if region.right < slide.right else 0)
    return Region(top, left, max(0.0, bottom - top), max(0.0, right - left))
