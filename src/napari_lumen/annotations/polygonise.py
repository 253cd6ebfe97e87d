"""From label arrays to polygons that run along pixel edges, so that no area is gained or lost."""

from __future__ import annotations

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from shapely import Polygon, unary_union
from shapely.geometry import MultiPolygon


def polygonise(
    labels: NDArray[np.integer] | NDArray[np.bool_],
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    step: tuple[float, float] = (1.0, 1.0),
) -> list[tuple[int, Polygon]]:
    """Outline every 4-connected region of equal, non-zero value.

    Parameters
    ----------
    labels : ndarray (h, w) of integers or bool
        0 is background and gives no polygon.
    origin : (float, float)
        Level-0 (y, x) of the upper left edge of pixel (0, 0).
    step : (float, float)
        Level-0 pixels per pixel of the array, (y, x).

    Returns
    -------
    list of (int, Polygon)
        Value and outline in level-0 pixels (x, y), holes as inner rings; the area of a polygon is the number
        of its pixels times the area of a step, exactly.
    """
    if labels.ndim != 2:
        raise ValueError(f"labels must be (h, w), not {labels.shape}")
    if not labels.size:
        return []
    values, numbers = _as_int32(labels)
    transform = rasterio.Affine(step[1], 0.0, origin[1], 0.0, step[0], origin[0])
    found = []
    for shape, number in rasterio.features.shapes(
        numbers, mask=numbers > 0, connectivity=4, transform=transform
    ):
        rings = shape["coordinates"]
        found.append((int(values[int(number)]), Polygon(rings[0], rings[1:])))
    return found


def polygonise_objects(
    labels: NDArray[np.integer],
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    step: tuple[float, float] = (1.0, 1.0),
) -> dict[int, Polygon | MultiPolygon]:
    """Outline every labelled object once, by its value: of several pieces if it is not connected.

    Parameters and coordinates are those of `polygonise`.
    """
    pieces: dict[int, list[Polygon]] = {}
    for value, polygon in polygonise(labels, origin=origin, step=step):
        pieces.setdefault(value, []).append(polygon)
    return {
        value: found[0] if len(found) == 1 else unary_union(found) for value, found in sorted(pieces.items())
    }


def _as_int32(
    labels: NDArray[np.integer] | NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """GDAL traces int32: number the values from 1 when they do not fit, 0 staying background."""
    whole = labels.astype(np.int64)
    low, high = int(whole.min()), int(whole.max())
    if low >= 0 and high < 1 << 16:
        return np.arange(high + 1), whole.astype(np.int32)
    values, inverse = np.unique(whole, return_inverse=True)
    values = values.astype(np.int64)
    numbers = inverse.reshape(whole.shape).astype(np.int32) + 1
    numbers[whole == 0] = 0
    return np.concatenate([[0], values]), numbers
