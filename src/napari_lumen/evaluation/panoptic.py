"""Panoptic quality: how many objects are found, and how well they are outlined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.defined import Floats, ratio
from napari_lumen.evaluation.matching import Numbers, ObjectOverlaps, object_overlaps

Counts = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panoptic:
    """Objects of one class counted by whether they were found; arrays of one shape, e.g. (images, classes).

    A predicted and a true object match at IoU > 0.5, above which no object can match two.

    Attributes
    ----------
    iou : ndarray
        Sum of the IoU of the matches.
    tp, fp, fn : ndarray
        Matches, predicted objects without one and true objects without one.
    """

    iou: Floats
    tp: Counts
    fp: Counts
    fn: Counts

    @property
    def quality(self) -> Floats:
        """Panoptic quality, sum of IoU / (TP + FP/2 + FN/2); NaN where neither side has an object."""
        return ratio(self.iou, self.tp + self.fp / 2 + self.fn / 2)

    @property
    def segmentation(self) -> Floats:
        """Segmentation quality, the mean IoU of the matches; NaN without one."""
        return ratio(self.iou, self.tp)

    @property
    def recognition(self) -> Floats:
        """Recognition quality, TP / (TP + FP/2 + FN/2), the F1 score of finding objects."""
        return ratio(self.tp, self.tp + self.fp / 2 + self.fn / 2)


def panoptic(overlaps: ObjectOverlaps) -> Panoptic:
    """Count the matches of one image and class, corrected; see `panoptic_as_published`."""
    matched = 2 * overlaps.intersection > overlaps.union
    return _counted(overlaps, matched, len(overlaps.predicted) - int(matched.sum()))


def panoptic_as_published(overlaps: ObjectOverlaps) -> Panoptic:
    """Count the matches as MoNuSAC's notebook `PQ_metric.ipynb` does, to compare with scores made by it.

    It takes the number of the *true* object of each match off the list of predicted numbers, so a predicted
    object is a false positive unless its number happens to be that of a matched true object: two identical
    images with shifted numbers score 0.667. (Of an image without background it also drops the first object;
    that is not repeated here.)
    """
    matched = 2 * overlaps.intersection > overlaps.union
    taken = overlaps.true[overlaps.pairs[matched, 0]]
    return _counted(overlaps, matched, int((~np.isin(overlaps.predicted, taken)).sum()))


def panoptic_quality(
    predicted: Numbers, truth: Numbers, ignored: npt.NDArray[np.bool_] | None = None
) -> float:
    """Return the panoptic quality of one image and class.

    Parameters
    ----------
    predicted, truth : ndarray (h, w)
        Integers: 0 is background, every object has its own number.
    ignored : ndarray (h, w), optional
        bool; background on both sides.

    Returns
    -------
    float
        In [0, 1]; NaN when neither side has an object.
    """
    return float(panoptic(object_overlaps(predicted, truth, ignored)).quality)


def _counted(overlaps: ObjectOverlaps, matched: npt.NDArray[np.bool_], false_positives: int) -> Panoptic:
    found = np.count_nonzero(matched)
    return Panoptic(
        np.asarray(overlaps.iou[matched].sum()),
        np.asarray(found, np.int64),
        np.asarray(false_positives, np.int64),
        np.asarray(len(overlaps.true) - found, np.int64),
    )
