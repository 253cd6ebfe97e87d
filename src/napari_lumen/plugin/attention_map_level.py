"""The level of a map that the view needs, chosen before napari draws it, and drawn once.

napari shows new data of a pyramid at its coarsest level for a frame, and finds the level that the view needs
while it draws that: two frames for one, the first of them blurred. And it reads what is in view anew whenever
data, place, scale or level of a layer are set.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel

_MARGIN = 1  # cells more than are seen: napari reads anew only where the view leaves what was read


def choose_level(viewer: ViewerModel, layer: Any) -> None:
    """Let a pyramid show the level and the part of it that the view needs.

    Parameters
    ----------
    viewer : ViewerModel
    layer : napari.layers.Image
        A pyramid of two axes without rotation.
    """
    from napari.layers.utils.layer_utils import compute_multiscale_level_and_corners

    camera, canvas = viewer.scene.camera, viewer.canvas
    shown = np.asarray(canvas.size, float) / canvas.grid.actual_shape(viewer.layers)
    centre, half = np.asarray(camera.center[-2:], float), shown / camera.zoom / 2
    corners = np.array([layer.world_to_data(centre - half), layer.world_to_data(centre + half)])
    whole = np.array([np.floor(corners[0]), np.ceil(corners[1])]).astype(int)
    level, found = compute_multiscale_level_and_corners(whole, shown, layer.downsample_factors)
    last = np.asarray(layer.data[level].shape) - 1
    part = np.clip(found + np.array([[-_MARGIN], [_MARGIN]]), 0, last)
    if (part[0] < part[1]).all() and level != layer.data_level:
        layer.corner_pixels = part
        layer.data_level = level


@contextmanager
def drawn_once(layer: Any) -> Iterator[None]:
    """Let napari read and draw a layer once for all that is set in it meanwhile.

    Parameters
    ----------
    layer : napari.layers.Layer
    """
    with layer._block_refresh():  # napari (0.9) has no public name for it
        yield
    layer.refresh()
