"""Anti-aliased resampling of pixels of any depth, the same for a pixel whatever is read with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from napari_lumen.geometry import Pair

_EXACT_BITS = 53  # of a float of 64


def resample(pixels: npt.NDArray[Any], shape: tuple[int, int], corner: Pair, step: Pair) -> npt.NDArray[Any]:
    """Resample part of an image by triangle weights, widened where it shrinks so that nothing aliases.

    What lies beyond the image has no weight. A value is rounded once, at the end, so that tiles that overlap
    agree; Pillow keeps its box in 32 bits, by which they differ here and there.

    Parameters
    ----------
    pixels : ndarray
        (h, w, channels), whole numbers or floats.
    shape : (int, int)
        Height and width of the result.
    corner : (float, float)
        Its upper left corner (y, x) in pixels of the image, from the outer edge of the first.
    step : (float, float)
        Pixels of the image (y, x) along one of the result.

    Returns
    -------
    ndarray
        (*shape, channels) of the same type; a constant stays that constant.
    """
    down, across = (_weights(*one) for one in zip(shape, corner, step, pixels.shape[:2], strict=True))
    plane = _deep
    if pixels.dtype.kind in "ui" and pixels.dtype.itemsize <= 2:
        down, across, plane = down.astype(np.float32), across.astype(np.float32), _shallow
    found = np.empty((*shape, pixels.shape[2]), pixels.dtype)
    for channel in range(pixels.shape[2]):
        found[..., channel] = plane(pixels[..., channel], down, across)
    return found


def _weights(count: int, corner: float, step: float, size: int) -> csr_array:
    """Return the weights (count, size) of an image's rows or columns; those of a row add up to 1."""
    wide = max(1.0, step)
    centre = corner + (np.arange(count) + 0.5) * step
    first = np.floor(centre - wide + 0.5).astype(np.int64)
    places = first[:, None] + np.arange(math.ceil(2 * wide) + 1)
    weights = np.maximum(1 - np.abs(places + 0.5 - centre[:, None]) / wide, 0)
    weights[(places < 0) | (places >= size)] = 0
    alone = ~weights.any(axis=1)  # a pixel beyond the last one, which was rounded away
    places[alone, 0], weights[alone, 0] = np.clip(first[alone], 0, size - 1), 1
    weights /= weights.sum(axis=1, keepdims=True)
    taken = weights > 0  # what has no weight is not looked at: it may be no number
    ends = np.concatenate([[0], np.cumsum(taken.sum(axis=1))])
    return csr_array((weights[taken], places[taken], ends), shape=(count, size))


def _weighed(values: npt.NDArray[Any], down: csr_array, across: csr_array) -> npt.NDArray[Any]:
    """Return the weighed means of a channel, (height, width), in the type of the weights."""
    middle = down @ values.astype(down.dtype)
    return np.asarray((across @ np.ascontiguousarray(middle.T)).T)


def _shallow(values: npt.NDArray[Any], down: csr_array, across: csr_array) -> npt.NDArray[Any]:
    return np.asarray(np.rint(_weighed(values, down, across)))


def _deep(values: npt.NDArray[Any], down: csr_array, across: csr_array) -> npt.NDArray[Any]:
    """Resample a channel that a float of 32 bits would round, by the distance from the least value.

    Of distances of more than 53 bits the last ones are left out.
    """
    if values.dtype.kind not in "ui":
        known = values[np.isfinite(values)]
        base = known.min() if known.size else values.dtype.type(0)
        found = _weighed(values - base, down, across) + base
        return np.asarray(found, values.dtype)
    least = values.min()
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    distance = values.view(unsigned) - least.view(unsigned)  # modulo 2**bits, so that none overflows
    surplus = unsigned.type(max(0, int(distance.max()).bit_length() - _EXACT_BITS))
    found = np.rint(_weighed(distance >> surplus, down, across)).astype(unsigned)
    return np.asarray(((found << surplus) + least.view(unsigned)).view(values.dtype))
