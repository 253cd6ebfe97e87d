"""Which class a pixel or a tile is of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.models import ModelCard

_EVEN = 0.5  # of a sigmoid: as likely as not


def class_labels(card: ModelCard, probability: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Return the label value of the most probable class; 0 where none is.

    Of a softmax with a background, where that is more probable than any class; of sigmoids, where no class
    is as likely as not; of a softmax without a background there is no choice of none.

    Parameters
    ----------
    card : ModelCard
    probability : ndarray
        (classes, ...) in [0, 1], without the background; all NaN or, of a softmax, all 0 where nothing was
        answered.

    Returns
    -------
    ndarray
        uint8 (...).
    """
    values = np.array([item.value for item in card.classes], np.uint8)
    most, labels = probability[0], values[:1]
    for value, of_class in zip(values[1:], probability[1:], strict=True):  # faster than `argmax`
        labels = np.where(of_class > most, value, labels)
        most = np.maximum(most, of_class)
    if card.activation == "sigmoid":
        found = most >= _EVEN
    elif card.has_background:
        found = most >= 1 - probability.sum(axis=0)
    else:
        found = most > 0
    return np.where(found, labels, np.uint8(0))
