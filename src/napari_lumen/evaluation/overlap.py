"""Overlap of two masks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def dice(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Return the Dice coefficient, 2 |P and T| / (|P| + |T|), over all pixels of both masks pooled.

    Parameters
    ----------
    predicted, truth : ndarray
        bool, of the same shape.

    Returns
    -------
    float
        In [0, 1]; 1 when both are empty.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"the masks differ in shape: {predicted.shape} and {truth.shape}")
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0
