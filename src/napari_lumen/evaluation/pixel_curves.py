"""Average precision and ROC area over pixels: too many to sort, so counted by steps of the log odds.

A step is 1/64, from odds of 2^-24 to 2^24: fine where a model is sure, and where a rare class has all its
probabilities just above 0. Runs store probabilities as k / 255, each of which is a step of its own: of them
nothing is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from napari_lumen.evaluation.curves import Curve, precision_recall, roc
from napari_lumen.evaluation.defined import Floats, ratio

_FINEST = 2.0**-24  # of a probability, and of what it lacks to 1
_PER_ODDS = 64  # steps for each unit of the log odds: k / 255 lie 1.004 steps apart where they are closest
_TOP = round(float(logit(1 - _FINEST)) * _PER_ODDS)
STEPS = 2 * _TOP + 1
_AT_ONCE = 1 << 20  # pixels


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
        Negatives and positives at each step. Counts of several images add up.

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
    values, truth = probability.ravel(), positive.ravel()
    counts = np.zeros(2 * STEPS, np.int64)
    for start in range(0, len(values), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        counts += np.bincount(truth[part] * STEPS + _steps(values[part]), minlength=2 * STEPS)
    return counts.reshape(2, STEPS)


def curves(counts: npt.NDArray[Any]) -> tuple[Curve, Curve]:
    """Return the precision-recall curve and the ROC of counts (2, STEPS)."""
    step = np.tile(np.arange(STEPS), 2)
    positive = np.repeat([False, True], STEPS)
    weight = counts.ravel()
    return precision_recall(step, positive, weight), roc(step, positive, weight)


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


def _steps(probability: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the step, 0 to STEPS - 1, of each probability."""
    inside = np.clip(probability.astype(np.float64), _FINEST, 1 - _FINEST)
    step: npt.NDArray[np.int64] = np.rint(logit(inside) * _PER_ODDS).astype(np.int64) + _TOP
    return step
