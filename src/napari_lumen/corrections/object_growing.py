"""Growing an object from one place in it: on what the model said, or on the colours alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.measure import perimeter

from napari_lumen.corrections.drawn import Mask
from napari_lumen.corrections.images import Pixels

_LEAST = 0.1  # probability from which the model has seen something
_THRESHOLDS = np.linspace(0.03, 0.9, 30)  # quantiles of the colour distance that are tried
_SMALLEST = 20  # px
_ROOM = 0.85  # of the way to the field's edge that a round object may reach


def grown_on_probability(
    probability: npt.NDArray[np.float32],
    seed: tuple[int, int],
    *,
    least: float = _LEAST,
    shares: Sequence[float] = (0.5,),
) -> Mask | None:
    """Return where a class is at least a share as probable as at a place, connected to it.

    Parameters
    ----------
    probability : ndarray
        float (h, w) in [0, 1], of the class.
    seed : (int, int)
        Row and column.
    least : float
        Probability at the place from which the model has seen something.
    shares : sequence of float
        Tried in their order; the first with an area that stays within the field counts.

    Returns
    -------
    ndarray or None
        bool (h, w). None where the model has seen nothing there, or only areas that go beyond the field.
    """
    row, column = seed
    peak = float(probability[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].max())
    if peak < least:
        return None
    for share in shares:
        mask = _piece(probability >= peak * share, seed)
        edge = mask.copy()
        edge[1:-1, 1:-1] = False
        if not edge.any() and mask.sum() >= _SMALLEST:
            return mask
    return None


def grown_on_color(image: Pixels, seed: tuple[int, int]) -> Mask:
    """Return the area about a place that stands out most from what lies around it.

    Areas grow with the threshold on the distance of the colour (CIE L*a*b*) to that of the place. Taken is
    the one with the steepest mean gradient along its edge, times the root of its roundness 4 pi A / P^2.

    Parameters
    ----------
    image : ndarray
        uint8 (h, w, 3), a few times as wide as the object.
    seed : (int, int)
        Row and column.

    Returns
    -------
    ndarray
        bool (h, w); empty where nothing stands out.
    """
    row, column = seed
    lab = ndimage.gaussian_filter(rgb2lab(image), (1, 1, 0))
    about = lab[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].reshape(-1, 3)
    distance = np.linalg.norm(lab - np.median(about, axis=0), axis=-1)
    steepness = ndimage.gaussian_gradient_magnitude(distance, 0.7)
    rows, columns = np.indices(distance.shape)
    core = (rows - row) ** 2 + (columns - column) ** 2 <= 2
    most = math.pi * (min(image.shape[:2]) / 2 * _ROOM) ** 2
    best, chosen = 0.0, np.zeros(distance.shape, bool)
    for threshold in np.quantile(distance, _THRESHOLDS):
        mask = _piece(ndimage.binary_opening(distance <= threshold) | core, seed)
        size = int(mask.sum())
        if size > most:
            break
        if size >= _SMALLEST:
            score = _contrast(mask, steepness)
            if score > best:
                best, chosen = score, mask
    return chosen


def _contrast(mask: Mask, steepness: npt.NDArray[np.float64]) -> float:
    """Return how steep an area's edge is; less where it is ragged or runs along the edge of the field."""
    edge = mask & ~ndimage.binary_erosion(mask, border_value=1)
    edge |= ndimage.binary_dilation(mask) & ~mask
    if not edge.any():
        return 0.0
    length = float(perimeter(np.pad(mask, 1), 8))
    roundness = min(1.0, 4 * math.pi * float(mask.sum()) / length**2)
    cut = sum(int(side.sum()) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1])) / length
    return float(steepness[edge].mean()) * math.sqrt(roundness) * max(0.0, 1 - 2 * cut)


def _piece(mask: Mask, seed: tuple[int, int]) -> Mask:
    """Return the connected area at a place, its holes filled."""
    numbers = ndimage.label(mask)[0]
    filled: Mask = ndimage.binary_fill_holes((numbers == numbers[seed]) & mask)
    return filled
