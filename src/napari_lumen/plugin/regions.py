"""What part of a slide the user means: the view, or shapes drawn on it, in level-0 pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Pair, Region, world_to_level0

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes
    from shapely.geometry.base import BaseGeometry

_ELLIPSE_POINTS = 96  # a circle of 1 mm is then off by less than half a µm


def view_region(viewer: ViewerModel, mpp: Pair, shape: tuple[int, int], origin: Pair = (0.0, 0.0)) -> Region:
    """Return what the canvas shows of a slide, in level-0 pixels; empty when that is nothing.

    In napari's grid each part of the canvas shows the same region: it is that of one part.

    Parameters
    ----------
    viewer : ViewerModel
    mpp : (float, float)
        World units (µm) per level-0 pixel, (y, x): the scale of the slide's layer.
    shape : (int, int)
        Height and width of the slide's level 0.
    origin : (float, float), optional
        Where in the world the slide lies, (y, x): the translate of its layer.
    """
    camera = viewer.scene.camera
    centre = camera.center[-2] - origin[0], camera.center[-1] - origin[1]
    parts = viewer.canvas.grid.actual_shape(viewer.layers)
    half = [side / count / camera.zoom / 2 for side, count in zip(viewer.canvas.size, parts, strict=True)]
    top, left = world_to_level0((centre[0] - half[0], centre[1] - half[1]), mpp)
    bottom, right = world_to_level0((centre[0] + half[0], centre[1] + half[1]), mpp)
    seen = Region(top, left, max(0.0, bottom - top), max(0.0, right - left))
    return seen.intersect(Region(0, 0, *shape))


def selected_area(viewer: ViewerModel, mpp: Pair, origin: Pair = (0.0, 0.0)) -> BaseGeometry | None:
    """Return the selected shapes of the active Shapes layer, else of the topmost that has some.

    The parameters and what is returned are those of `selected_shapes`.
    """
    from napari.layers import Shapes

    candidates = [viewer.layers.selection.active, *reversed(viewer.layers)]
    shapes = (item for item in candidates if isinstance(item, Shapes) and item.selected_data)
    areas = (selected_shapes(item, mpp, origin) for item in shapes)
    return next((area for area in areas if area is not None), None)


def selected_shapes(layer: Shapes, mpp: Pair, origin: Pair = (0.0, 0.0)) -> BaseGeometry | None:
    """Return the selected shapes of a layer as one geometry in (x, y) level-0 pixels, or None.

    Lines and paths enclose nothing and are left out.

    Parameters
    ----------
    layer : napari.layers.Shapes
    mpp : (float, float)
        World units (µm) per level-0 pixel of the slide, (y, x): the scale of its layer.
    origin : (float, float), optional
        Where in the world the slide lies, (y, x): the translate of its layer.
    """
    import shapely

    found = (outline(layer, index, mpp, origin) for index in sorted(layer.selected_data))
    shapes = [shape for shape in found if shape is not None]
    if not shapes:
        return None
    area = shapely.union_all(shapes)
    return area if area.area > 0 else None


def outline(layer: Shapes, index: int, mpp: Pair, origin: Pair = (0.0, 0.0)) -> BaseGeometry | None:
    """Return one shape of a layer as `selected_shapes` does; None for a line or path."""
    import shapely

    kind = str(layer.shape_type[index])
    if kind not in ("rectangle", "polygon", "ellipse"):
        return None
    corners = np.asarray(layer.data[index], dtype=float)
    corners = _ellipse(corners) if kind == "ellipse" else corners
    world = np.array([np.asarray(layer.data_to_world(corner))[-2:] for corner in corners])
    ring = [world_to_level0((y, x), mpp)[::-1] for y, x in world - origin]
    return shapely.make_valid(shapely.Polygon(ring))


def _ellipse(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return points on the ellipse inside a box of four corners."""
    centre = corners.mean(axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(angle) * first + np.sin(angle) * second)
