"""How many of an expert's boxes a map covers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from napari_lumen.evaluation.defined import Floats, mean

_COVERED = 0.5  # gated attention, section 2: at least half of the box's area


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
