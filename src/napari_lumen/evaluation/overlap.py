"""Overlap of a predicted with a true mask or class, by counting pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.defined import Floats, ratio

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels counted by what was said of them and what is true; arrays of one shape, e.g. (images, classes).

    Scores of single images are the scores of these arrays; pooled scores are those of `pooled`. The two
    differ: FocusNet++ (section 4) averages over images, NAS-SCAM and DA-RefineNet pool the pixels.

    Every score takes ``smooth``, which is added to its numerator and its denominator. Without it a score
    of 0 / 0 is NaN; with 1, as FocusNet++ has it, it is 1.

    Attributes
    ----------
    tp, fp, fn, tn : ndarray
        True and false positives, false and true negatives.
    """

    tp: Counts
    fp: Counts
    fn: Counts
    tn: Counts

    @classmethod
    def of_masks(cls, predicted: Mask, truth: Mask, ignored: Mask | None = None) -> Overlap:
        """Count the pixels of two masks.

        Parameters
        ----------
        predicted, truth : ndarray
            bool, of the same shape.
        ignored : ndarray, optional
            bool; pixels that do not count.

        Raises
        ------
        ValueError
            When the shapes differ.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"the masks differ in shape: {predicted.shape} and {truth.shape}")
        if ignored is not None:
            predicted, truth = predicted[~ignored], truth[~ignored]
        both = np.count_nonzero(predicted & truth)
        said, there = np.count_nonzero(predicted), np.count_nonzero(truth)
        counts = (both, said - both, there - both, truth.size - said - there + both)
        return cls(*(np.asarray(count, np.int64) for count in counts))

    @classmethod
    def of_confusion(cls, confusion: npt.NDArray[Any]) -> Overlap:
        """Count each class against all others.

        Parameters
        ----------
        confusion : ndarray (..., classes, classes)
            Rows are the truth, columns the prediction.

        Returns
        -------
        Overlap
            Of arrays (..., classes).
        """
        both = np.diagonal(confusion, axis1=-2, axis2=-1)
        said, there = confusion.sum(-2), confusion.sum(-1)
        total = confusion.sum((-2, -1))[..., None]
        return cls(both, said - both, there - both, total - said - there + both)

    def pooled(self) -> Overlap:
        """Return the sums over the first axis, the images."""
        return Overlap(self.tp.sum(0), self.fp.sum(0), self.fn.sum(0), self.tn.sum(0))

    def dice(self, smooth: float = 0.0) -> Floats:
        """2 TP / (2 TP + FP + FN)."""
        return ratio(2 * self.tp + smooth, 2 * self.tp + self.fp + self.fn + smooth)

    def jaccard(self, smooth: float = 0.0) -> Floats:
        """TP / (TP + FP + FN), the intersection over union."""
        return ratio(self.tp + smooth, self.tp + self.fp + self.fn + smooth)

    def precision(self, smooth: float = 0.0) -> Floats:
        """TP / (TP + FP)."""
        return ratio(self.tp + smooth, self.tp + self.fp + smooth)

    def recall(self, smooth: float = 0.0) -> Floats:
        """TP / (TP + FN), the sensitivity."""
        return ratio(self.tp + smooth, self.tp + self.fn + smooth)

    def accuracy(self, smooth: float = 0.0) -> Floats:
        """(TP + TN) / all."""
        right = self.tp + self.tn
        return ratio(right + smooth, right + self.fp + self.fn + smooth)


def dice(predicted: Mask, truth: Mask) -> float:
    """Return the Dice coefficient, 2 |P and T| / (|P| + |T|), over all pixels of both masks pooled.

    Parameters
    ----------
    predicted, truth : ndarray
        bool, of the same shape.

    Returns
    -------
    float
        In [0, 1]; 1 when both are empty, for two images without an object agree.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    value = float(Overlap.of_masks(predicted, truth).dice())
    return 1.0 if np.isnan(value) else value
