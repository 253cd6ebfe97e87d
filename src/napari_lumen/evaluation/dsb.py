"""Mean precision over IoU thresholds, the score of the 2018 Data Science Bowl."""

from __future__ import annotations

import numpy as np

from napari_lumen.evaluation.defined import Floats, ratio
from napari_lumen.evaluation.matching import ObjectOverlaps

THRESHOLDS = tuple(np.arange(50, 100, 5) / 100)


def precision_by_threshold(overlaps: ObjectOverlaps) -> Floats:
    """Return TP / (TP + FP + FN) of one image at each of `THRESHOLDS`, 0.50 to 0.95.

    An object is found where its IoU with another is above the threshold. NaN when neither side has an object.
    """
    # in whole numbers: an IoU of exactly 0.55 is not above 0.55
    percent = np.arange(50, 100, 5)
    hits = 100 * overlaps.intersection[:, None] > percent * overlaps.union[:, None]
    found = hits.sum(0)
    return ratio(found, len(overlaps.predicted) + len(overlaps.true) - found)


def dsb_precision(overlaps: ObjectOverlaps) -> float:
    """Return the score of one image, the mean over `THRESHOLDS`; that of a set is the mean over its images.

    In [0, 1]; NaN when neither side has an object.
    """
    return float(precision_by_threshold(overlaps).mean())
