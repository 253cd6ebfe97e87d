"""How many of an expert's boxes a map covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from napari_lumen.evaluation.defined import Floats, mean
from napari_lumen.geometry import Grid, Region, Window

Mask = npt.NDArray[np.bool_]
_COVERED = 0.5  # gated attention, section 2: at least half of the box's area
_FLAT = 1e-5  # relative height below which a map is flat, as where instances are selected


def attention_mask(
    values: npt.NDArray[np.floating[Any]], size: tuple[int, int], threshold: float = 0.5
) -> Mask:
    """Return where the map of one image is high, as gated attention selects instances (section 2).

    The map is enlarged bilinearly to the image's size, and scaled from its lowest to its highest value.

    Parameters
    ----------
    values : ndarray (h, w)
        NaN where nothing was computed, which is never high.
    size : (int, int)
        Rows and columns of the image; a map that has more keeps its own.
    threshold : float
        Of the scaled values, which lie in [0, 1]: above it they are high.

    Returns
    -------
    ndarray
        bool, of that size; False all over for a flat map.
    """
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(values.shape, bool)
    fine = np.where(known, values, values[known].min()).astype(np.float64)
    shape = max(size[0], values.shape[0]), max(size[1], values.shape[1])
    if shape != values.shape:
        places = [
            np.clip((np.arange(wanted) + 0.5) * own / wanted - 0.5, 0, own - 1)
            for wanted, own in zip(shape, values.shape, strict=True)
        ]
        fine = map_coordinates(fine, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
        known = known[np.ix_(*(np.rint(place).astype(np.intp) for place in places))]
    low, high = fine[known].min(), fine[known].max()
    if high - low <= _FLAT * max(abs(low), abs(high)):
        return np.zeros(fine.shape, bool)
    return np.asarray(known & (fine > low + threshold * (high - low)), bool)


def share_in_images(
    box: tuple[float, float, float, float], images: Grid, mask_of: Callable[[Window], Mask]
) -> float:
    """Return which share of a box lies in the masks of images that lie beside each other.

    Parameters
    ----------
    box : (float, float, float, float)
        Upper, left, lower and right edge, level-0 px.
    images : Grid
        A pixel an image.
    mask_of : callable
        Returns the mask of an image by its pixel, edge to edge on the image.
    """
    top, left, bottom, right = box
    touched = images.window_of(Region(top, left, bottom - top, right - left))
    share = 0.0
    for row in range(touched.y, touched.y + touched.height):
        for column in range(touched.x, touched.x + touched.width):
            image = Window(row, column, 1, 1)
            place, mask = images.region_of(image), mask_of(image)
            edges = (np.array(box) - np.tile((place.y, place.x), 2)) / np.tile((place.height, place.width), 2)
            share += float(covered_share(mask, edges[None] * np.tile(mask.shape, 2))[0])
    return share


def covered_share(mask: npt.NDArray[np.bool_], boxes: npt.NDArray[Any]) -> Floats:
    """Return which share of each box lies in a mask.

    Parameters
    ----------
    mask : ndarray (h, w)
        bool, e.g. an attention map above its threshold.
    boxes : ndarray (n, 4)
        Upper, left, lower and right edge in pixels of the mask, edges at integers; may be fractional. What
        of a box lies outside the mask is not covered.

    Returns
    -------
    ndarray (n,)
        In [0, 1].

    Raises
    ------
    ValueError
        When `boxes` is not (n, 4) or a box has no area.
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be (n, 4), not {boxes.shape}")
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    if not (boxes[:, 2:] > boxes[:, :2]).all():
        raise ValueError("every box needs a lower edge below its upper and a right edge beyond its left one")
    # between its nodes, the pixel corners, the integral of a mask is exactly bilinear
    integral = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    integral[1:, 1:] = mask.cumsum(0).cumsum(1)
    rows = np.clip(boxes[:, [0, 2]], 0, mask.shape[0])
    columns = np.clip(boxes[:, [1, 3]], 0, mask.shape[1])
    corners = [
        map_coordinates(integral, (rows[:, i], columns[:, j]), order=1, mode="nearest")
        for i, j in ((1, 1), (0, 1), (1, 0), (0, 0))
    ]
    inside = corners[0] - corners[1] - corners[2] + corners[3]
    return np.asarray(np.clip(inside / area, 0, 1), np.float64)


def box_coverage(mask: npt.NDArray[np.bool_], boxes: npt.NDArray[Any]) -> float:
    """Return the share of boxes of which at least half the area lies in a mask; NaN without boxes.

    Gated attention leaves the rule open; this is the resolution of its section 2. For several images,
    average `covered_share` >= 0.5 over all boxes.
    """
    return float(mean(is_covered(covered_share(mask, boxes)).astype(np.float64)))


def is_covered(share: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return whether boxes of which such shares lie in a mask are covered: at least half of each."""
    # half a box in exact arithmetic may come out a rounding below half
    return np.asarray(share >= _COVERED - 1e-9)
