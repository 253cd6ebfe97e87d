"""The score of part B of the BACH challenge (ICIAR 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.defined import Floats, ratio

CLASSES = ("normal", "benign", "in situ", "invasive")


def bach_score(confusion: npt.NDArray[Any]) -> Floats:
    """Return BACH's score of part B: how far off the predicted grade is, of how far off it could be.

    s = 1 - sum |p - g| / sum max(g, |g - 3|) [1 - (1 - p_bin)(1 - g_bin)], with bin = class > 0. Pixels that
    are normal in both do not count; the sums are pooled over the test set (DA-RefineNet, section 2). Every
    term depends on the pair (g, p) alone, so the confusion matrix is all it takes.

    Parameters
    ----------
    confusion : ndarray (..., 4, 4)
        Rows are the truth, columns the prediction, both in the order of `CLASSES`.

    Returns
    -------
    ndarray (...)
        In [0, 1]; 1 where no pixel counts, as the challenge's own tiny constant in the denominator has it.

    Raises
    ------
    ValueError
        When the matrix is not of four classes.
    """
    if confusion.shape[-2:] != (4, 4):
        raise ValueError(f"BACH has 4 classes ({', '.join(CLASSES)}), not {confusion.shape[-1]}")
    grade = np.arange(4)
    off = np.abs(grade[:, None] - grade)
    worst = np.broadcast_to(np.maximum(grade, 3 - grade)[:, None], (4, 4)).copy()
    worst[0, 0] = 0
    score = 1 - ratio((off * confusion).sum((-2, -1)), (worst * confusion).sum((-2, -1)))
    return np.where(np.isnan(score), 1.0, score)
