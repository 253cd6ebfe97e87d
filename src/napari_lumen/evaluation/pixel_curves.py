"""Average precision and ROC area over pixels, which are too many to be kept and sorted together.

Of a map stays how many pixels of either truth have each of its values. Where it has many values, those that
follow each other are taken together as long as they hold less than 1/4096 of the positive and of the negative
pixels. So the areas hold whatever the scale of the probabilities and however rare the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.curves import Curve, precision_recall, roc
from napari_lumen.evaluation.defined import Floats, ratio

_KEPT = 4096  # of each truth: the parts of a map's pixels that are told apart
_RESAMPLED = 1024  # of all maps together, in resamples and in drawings


@dataclass(frozen=True, slots=True)
class Counted:
    """How many pixels of either truth have which value.

    Attributes
    ----------
    values : ndarray (k,)
        float64, rising.
    counts : ndarray (2, k)
        int64; negatives and positives.
    """

    values: Floats
    counts: npt.NDArray[np.int64]

    def thinned(self, parts: int) -> Counted:
        """Take neighbours together that hold less than 1 of `parts` of the positives and of the negatives.

        A value that holds more stays by itself. What has no more values than `parts` stays as it is.
        """
        if len(self.values) <= parts:
            return self
        starts = _starts(self.counts, parts)
        pixels = self.counts.sum(axis=0)
        means = np.add.reduceat(self.values * pixels, starts) / np.add.reduceat(pixels, starts)
        single = np.diff(starts, append=len(self.values)) == 1  # exactly the value that other maps have
        values = np.where(single, self.values[starts], means)
        return Counted(values, np.add.reduceat(self.counts, starts, axis=1))

    def between(self, edges: Floats) -> npt.NDArray[np.int64]:
        """Return counts (2, n) of what lies at each of n rising edges or between it and the next."""
        place = np.searchsorted(edges, self.values, side="right") - 1
        return _summed(place, self.counts, len(edges))


def count_values(
    probability: npt.NDArray[Any],
    positive: npt.NDArray[np.bool_],
    ignored: npt.NDArray[np.bool_] | None = None,
) -> Counted:
    """Count pixels by truth and probability.

    Parameters
    ----------
    probability : ndarray
        In [0, 1].
    positive : ndarray
        bool, the truth, of the same shape.
    ignored : ndarray, optional
        bool; pixels that do not count. NaN is allowed there only.

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
    parts = []
    for row, chosen in enumerate((~positive, positive)):
        values, pixels = np.unique(probability[chosen], return_counts=True)
        counts = np.zeros((2, len(values)), np.int64)
        counts[row] = pixels
        parts.append(Counted(values.astype(np.float64), counts))
    return pooled(parts).thinned(_KEPT)


def pooled(maps: Sequence[Counted]) -> Counted:
    """Return the counts of all maps together."""
    values, place = np.unique(np.concatenate([item.values for item in maps]), return_inverse=True)
    return Counted(
        values, _summed(place, np.concatenate([item.counts for item in maps], axis=1), len(values))
    )


def curves(maps: Sequence[Counted]) -> tuple[Curve, Curve]:
    """Return the precision-recall curve and the ROC over all maps, of so many points as can be seen."""
    whole = pooled(maps)
    drawn = whole.thinned(_RESAMPLED)
    value, weight = np.tile(drawn.values, 2), drawn.counts.ravel()
    positive = np.repeat([False, True], len(drawn.values))
    return (
        replace(precision_recall(value, positive, weight), area=float(average_precision(whole.counts))),
        replace(roc(value, positive, weight), area=float(roc_area(whole.counts))),
    )


def resampled(maps: Sequence[Counted], weights: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Return average precision and ROC area (n,) over all maps, each as often as n rows of weights say.

    The weights are (n, maps).

    Resamples are counted between fewer values than the first row, which counts each map once; they are
    moved by what that makes of it.
    """
    whole = pooled(maps)
    if not len(whole.values):
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    edges = whole.values[_starts(whole.counts, _RESAMPLED)]
    counts = np.stack([item.between(edges) for item in maps]).astype(np.float64)
    added = (weights.astype(np.float64) @ counts.reshape(len(maps), -1)).reshape(len(weights), 2, -1)
    return _moved(average_precision, added, whole), _moved(roc_area, added, whole)


def _moved(area: Callable[[npt.NDArray[Any]], Floats], counts: npt.NDArray[Any], whole: Counted) -> Floats:
    found = area(counts)
    moved: Floats = np.clip(found + (area(whole.counts) - found[0]), 0, 1)
    return moved


def average_precision(counts: npt.NDArray[Any]) -> Floats:
    """Return the average precision of counts (..., 2, k), for many resamples at once.

    As `precision_recall` has it; NaN where nothing is positive.
    """
    false, true = _above(counts)
    precision = np.nan_to_num(ratio(true, true + false))
    gained = np.diff(true, axis=-1, prepend=0)
    return ratio((gained * precision).sum(-1), counts[..., 1, :].sum(-1))


def roc_area(counts: npt.NDArray[Any]) -> Floats:
    """Return the area under the ROC of counts (..., 2, k), ties counted half.

    NaN where all is positive, or nothing is.
    """
    false, true = _above(counts)
    passed = np.diff(false, axis=-1, prepend=0)
    before = true - np.diff(true, axis=-1, prepend=0)
    possible = counts[..., 0, :].sum(-1) * np.asarray(counts[..., 1, :].sum(-1), np.float64)
    return ratio((passed * (before + true) / 2).sum(-1), possible)


def _above(counts: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Return negatives and positives (..., k) at or above a value, the highest value first."""
    falling = np.cumsum(np.asarray(counts, np.float64)[..., ::-1], axis=-1)
    return falling[..., 0, :], falling[..., 1, :]


def _starts(counts: npt.NDArray[np.int64], parts: int) -> npt.NDArray[np.intp]:
    """Return where groups of neighbours begin that lie within one of so many parts of each truth."""
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    part = (np.cumsum(counts, axis=1) - counts) * parts // total
    alone = (counts * parts >= total).any(axis=0)
    begins = np.ones(counts.shape[1], bool)
    begins[1:] = alone[1:] | alone[:-1] | (part[:, 1:] != part[:, :-1]).any(axis=0)
    return np.flatnonzero(begins)


def _summed(
    place: npt.NDArray[np.integer[Any]], counts: npt.NDArray[np.int64], length: int
) -> npt.NDArray[np.int64]:
    """Return counts (2, length), each added up where it belongs."""
    found = np.zeros((2, length), np.int64)
    for row in range(2):
        np.add.at(found[row], place, counts[row])
    return found
