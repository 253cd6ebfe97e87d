"""Confusion matrices of label images, and the scores over all classes that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.defined import Floats, mean, ratio
from napari_lumen.evaluation.overlap import Overlap

Labels = npt.NDArray[Any]  # of integers or bool
Confusion = npt.NDArray[Any]  # (..., classes, classes), of counts

_TABLE = 1 << 16  # values below it are looked up, larger ones searched


def confusion_matrix(
    predicted: Labels, truth: Labels, values: Sequence[int], ignore: int | None = None
) -> npt.NDArray[np.int64]:
    """Count pixels by their true and their predicted class.

    Parameters
    ----------
    predicted, truth : ndarray
        Integers, of the same shape.
    values : sequence of int
        The label values of the classes, background included where it is one, in the order of the matrix.
    ignore : int, optional
        Pixels of this value in the truth do not count.

    Returns
    -------
    ndarray (classes, classes) of int64
        Rows are the truth, columns the prediction, as in scikit-learn.

    Raises
    ------
    ValueError
        When the shapes differ, or a pixel that counts has a value that is none of `values`.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"the label images differ in shape: {predicted.shape} and {truth.shape}")
    if ignore is not None:
        counted = truth != ignore
        predicted, truth = predicted[counted], truth[counted]
    size = len(values)
    rows, columns = _indices(truth, values, "truth"), _indices(predicted, values, "prediction")
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)


def accuracy(confusion: Confusion) -> Floats:
    """Return the share of pixels whose class is right, (...); NaN without pixels."""
    return ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def mean_iou(confusion: Confusion) -> Floats:
    """Return the mean intersection over union, (...), over the classes that occur on either side.

    Background is a class where the matrix has it, as in DA-RefineNet (section 4), whose mean is over normal,
    benign, in situ and invasive.
    """
    return mean(Overlap.of_confusion(confusion).jaccard())


def mean_dice(confusion: Confusion) -> Floats:
    """Return the mean Dice coefficient, (...), over the classes that occur on either side.

    NAS-SCAM (section 4) has it over four classes without the background.
    """
    return mean(Overlap.of_confusion(confusion).dice())


def kappa(confusion: Confusion, *, quadratic: bool = False) -> Floats:
    """Return Cohen's kappa, (...): agreement beyond what the two sides' frequencies give by chance.

    Parameters
    ----------
    confusion : ndarray (..., classes, classes)
    quadratic : bool
        Weigh a disagreement by the squared distance of the classes, which are then in order, as CAMELYON17
        does for the five stages.

    Returns
    -------
    ndarray (...)
        At most 1; NaN where chance alone would give full agreement, as when only one class occurs.
    """
    size = confusion.shape[-1]
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(np.float64)
    penalty = distance**2 if quadratic else (distance > 0).astype(np.float64)
    total = confusion.sum((-2, -1))
    by_chance = confusion.sum(-1)[..., :, None] * confusion.sum(-2)[..., None, :].astype(np.float64)
    observed = (penalty * confusion).sum((-2, -1))
    return 1 - ratio(observed * total, (penalty * by_chance).sum((-2, -1)))


def _indices(labels: Labels, values: Sequence[int], side: str) -> npt.NDArray[np.int64]:
    """Return the position of every pixel's value in `values`, flat."""
    flat = labels.ravel()
    if not flat.size:
        return np.zeros(0, np.int64)
    if flat.dtype == np.bool_:
        flat = flat.view(np.uint8)
    known = np.asarray(values, np.int64)
    if flat.min() >= 0 and flat.max() < _TABLE:
        table = np.full(_TABLE, -1, np.int64)
        inside = (known >= 0) & (known < _TABLE)
        table[known[inside]] = np.flatnonzero(inside)
        indices = table[flat]
    else:
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known, flat, sorter=order), len(known) - 1)
        indices = np.where(known[order][place] == flat, order[place], -1)
    if indices.min() < 0:
        value = int(flat[np.argmin(indices)])
        raise ValueError(
            f"the {side} holds the value {value}, which is none of the classes "
            f"{list(values)}; name it among them, or say that it does not count"
        )
    return indices
