"""Precision-recall and ROC curves of single decisions: slides, patches, patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.defined import Floats


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve of operating points.

    Attributes
    ----------
    x, y : ndarray (points,)
        In [0, 1]; recall and precision, or false and true positive rate.
    area : float
        The average precision, or the area under the ROC curve; NaN where it is not defined.
    """

    x: Floats
    y: Floats
    area: float


def precision_recall(
    probability: npt.NDArray[Any], positive: npt.NDArray[Any], weight: npt.NDArray[Any] | None = None
) -> Curve:
    """Return the precision-recall curve; its area is the average precision.

    Average precision is the sum over thresholds of (R_n - R_n-1) P_n, scikit-learn's step integral: joining
    the points by lines would be too kind (multi-stage, section 2: PR-AUC).

    Parameters
    ----------
    probability : ndarray (n,)
        Of the positive class; any finite score will do.
    positive : ndarray (n,)
        bool, the truth.
    weight : ndarray (n,), optional
        How often each counts.

    Returns
    -------
    Curve
        x recall, y precision; without points and of area NaN when nothing is positive.
    """
    from sklearn import metrics

    probability, positive, weight = _counted(probability, positive, weight)
    if not positive.any():
        return _NO_CURVE
    precision, recall, _ = metrics.precision_recall_curve(positive, probability, sample_weight=weight)
    area = metrics.average_precision_score(positive, probability, sample_weight=weight)
    return Curve(recall[::-1], precision[::-1], float(area))


def roc(
    probability: npt.NDArray[Any], positive: npt.NDArray[Any], weight: npt.NDArray[Any] | None = None
) -> Curve:
    """Return the receiver operating characteristic, with the parameters of `precision_recall`.

    Returns
    -------
    Curve
        x false positive rate, y true positive rate; without points and of area NaN when all is positive, or
        nothing is.
    """
    from sklearn import metrics

    probability, positive, weight = _counted(probability, positive, weight)
    if not positive.any() or positive.all():
        return _NO_CURVE
    false_rate, true_rate, _ = metrics.roc_curve(positive, probability, sample_weight=weight)
    return Curve(false_rate, true_rate, float(metrics.auc(false_rate, true_rate)))


_NO_CURVE = Curve(np.zeros(0), np.zeros(0), float("nan"))


def _counted(
    probability: npt.NDArray[Any], positive: npt.NDArray[Any], weight: npt.NDArray[Any] | None
) -> tuple[Floats, npt.NDArray[np.bool_], Floats]:
    """Return what counts, flat."""
    probability, positive = np.asarray(probability, np.float64), np.asarray(positive, np.bool_)
    weight = np.ones(probability.shape) if weight is None else np.asarray(weight, np.float64)
    if not probability.shape == positive.shape == weight.shape:
        raise ValueError(
            f"probability, positive and weight differ in shape: {probability.shape}, {positive.shape} and "
            f"{weight.shape}"
        )
    counts = weight > 0
    probability, positive, weight = probability[counts], positive[counts], weight[counts]
    if not np.isfinite(probability).all():
        raise ValueError("a probability is NaN or infinite: leave out what the model did not see")
    return probability, positive, weight
