"""From outlines to label arrays, along pixel edges: the inverse of `polygonise`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.features
import shapely
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError
from napari_lumen.geometry import Grid, Window


def rasterise(
    annotations: Iterable[Annotation | BaseGeometry],
    grid: Grid,
    classes: ClassTable | None = None,
    *,
    window: Window | None = None,
    thin: bool = False,
) -> npt.NDArray[np.uint8]:
    """Paint the pixels whose centres lie inside outlines; later annotations over earlier ones.

    Outlines along the edges of the grid's pixels are painted exactly. Holes stay as they were.

    Parameters
    ----------
    annotations : iterable of Annotation or shapely geometry
        In level-0 pixels (x, y).
    grid : Grid
        The raster to paint, at any downsample.
    classes : ClassTable, optional
        Gives every class its value; 0 clears what lies beneath. Without one everything is painted 1.
    window : Window, optional
        The part of the grid to paint; all of it when left out.
    thin : bool
        Whether lines and points are painted too, with the pixels that they pass through. They enclose none.

    Returns
    -------
    ndarray (h, w) uint8
        Of the shape of the window; 0 is background.

    Raises
    ------
    AnnotationError
        When an annotation is of a class that is not in the table, or a class has a value above 255.
    """
    window = window or Window(0, 0, *grid.shape)
    items = list(annotations)
    shapes = np.array([item.geometry if isinstance(item, Annotation) else item for item in items], object)
    values = _values(items, classes)
    place = grid.region_of(window)
    left, top, right, bottom = shapely.bounds(shapes).reshape(-1, 4).T
    near = (left <= place.right) & (right >= place.x) & (top <= place.bottom) & (bottom >= place.y)
    if not thin:
        near &= shapely.get_dimensions(shapes) == 2
    labels = np.zeros((window.height, window.width), np.uint8)
    if near.any() and labels.size:
        transform = rasterio.Affine(grid.step[1], 0.0, place.x, 0.0, grid.step[0], place.y)
        painted = [(shapes[number], values[number]) for number in np.flatnonzero(near)]
        rasterio.features.rasterize(painted, out=labels, transform=transform)
    return labels


def _values(items: Sequence[Annotation | BaseGeometry], classes: ClassTable | None) -> list[int]:
    if classes is None:
        return [1] * len(items)
    known = {item.name: item.value for item in classes}
    if classes and max(known.values()) > 255:
        raise AnnotationError(f"A class has the value {max(known.values())}, but labels end at 255.")
    names = [item.class_name if isinstance(item, Annotation) else None for item in items]
    missing = sorted({str(name) for name in names if name not in known})
    if missing:
        raise AnnotationError(
            f"Annotations are of no class of the table: {', '.join(missing[:5])}. It has {', '.join(known)}."
        )
    return [known[name] for name in names if name is not None]
