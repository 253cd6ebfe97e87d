"""The one rule for scores that cannot be told: 0 / 0 is NaN, and a mean leaves NaN out.

A class that occurs neither in the truth nor in the prediction says nothing of the model; counting it as 0 or
as 1 would move the mean by how rare the class is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """Return part / whole, elementwise; NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    result: Floats = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole != 0)
    return result


def mean(values: npt.NDArray[Any], axis: int = -1) -> Floats:
    """Return the mean along an axis over what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis), known.sum(axis))


def weighted_means(values: Floats, weights: npt.NDArray[Any]) -> Floats:
    """Return means over images, each image counted as often as a resample has drawn it.

    Parameters
    ----------
    values : ndarray (n, scores)
        NaN where an image does not define a score.
    weights : ndarray (resamples, n)
        At least 0.

    Returns
    -------
    ndarray (resamples, scores)
        NaN where no image that was drawn defines the score.
    """
    known = ~np.isnan(values)
    weights = np.asarray(weights, np.float64)
    return ratio(weights @ np.where(known, values, 0.0), weights @ known.astype(np.float64))
