"""Average precision and ROC area over pixels: too many to sort, so counted by steps of the probability.

Runs store probabilities as steps of 1/255, for which nothing is lost; other maps are rounded to them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.curves import Curve, precision_recall, roc
from napari_lumen.evaluation.defined import Floats, ratio

STEPS = 256


def count_steps(
    probability: npt.NDArray[Any],
    positive: npt.NDArray[np.bool_],
    ignored: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """Count pixels by truth and probability.

    Parameters
    ----------
    probability : ndarray
        In [0, 1].
    positive : ndarray
        bool, the truth, of the same shape.
    ignored : ndarray, optional
        bool; pixels that do not count. NaN is allowed there only.

    Returns
    -------
    ndarray (2, STEPS) of int64
        Negatives and positives at each step k / 255. Counts of several images add up.

    Raises
    ------
    ValueError
        When the shapes differ, or a probability is outside [0, 1].
    """
    if probability.shape != positive.shape:
        raise ValueError(f"probability and truth differ in shape: {probability.shape} and {positive.shape}")
    if ignored is not None:
        probability, positive = probability[~ignored], positive[~ignored]
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a probability is outside 0 to 1, or NaN")
    step = np.rint(probability.ravel() * (STEPS - 1)).astype(np.int64)
    return np.bincount(positive.ravel() * STEPS + step, minlength=2 * STEPS).reshape(2, STEPS)


def curves(counts: npt.NDArray[Any]) -> tuple[Curve, Curve]:
    """Return the precision-recall curve and the ROC of counts (2, STEPS)."""
    probability = np.tile(np.arange(STEPS) / (STEPS - 1), 2)
    positive = np.repeat([False, True], STEPS)
    weight = counts.ravel()
    return precision_recall(probability, positive, weight), roc(probability, positive, weight)


def average_precision(counts: npt.NDArray[Any]) -> Floats:
    """Return the average precision of counts (..., 2, STEPS), for many resamples at once.

    As `precision_recall` has it; NaN where nothing is positive.
    """
    false, true = _above(counts)
    precision = np.nan_to_num(ratio(true, true + false))
    gained = np.diff(true, axis=-1, prepend=0)
    return ratio((gained * precision).sum(-1), true[..., -1])


def roc_area(counts: npt.NDArray[Any]) -> Floats:
    """Return the area under the ROC of counts (..., 2, STEPS), ties counted half.

    NaN where all is positive, or nothing is.
    """
    false, true = _above(counts)
    passed = np.diff(false, axis=-1, prepend=0)
    before = true - np.diff(true, axis=-1, prepend=0)
    return ratio((passed * (before + true) / 2).sum(-1), false[..., -1] * true[..., -1])


def _above(counts: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Return negatives and positives (..., STEPS) at or above a threshold, the highest threshold first."""
    falling = np.cumsum(np.asarray(counts, np.float64)[..., ::-1], axis=-1)
    return falling[..., 0, :], falling[..., 1, :]
