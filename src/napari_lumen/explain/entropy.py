"""How undecided a model is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.models import ModelCard

Values = npt.NDArray[np.floating[Any]]


def entropy_bits(card: ModelCard, probability: Values) -> Values:
    """Return how undecided a model is, bits.

    Parameters
    ----------
    card : ModelCard
    probability : ndarray (classes, ...)
        Without the background, in [0, 1].

    Returns
    -------
    ndarray (...)
        Of a softmax the entropy of its distribution, background included: 0 to log2 of the channels. Of
        sigmoids the mean over the classes of the entropy of yes and no: 0 to 1.
    """
    known = np.clip(np.asarray(probability, np.float64), 0, 1)
    if card.activation == "sigmoid":
        return np.asarray((_plogp(known) + _plogp(1 - known)).mean(axis=0), np.float32)
    total = _plogp(known).sum(axis=0)
    if card.has_background:
        total = total + _plogp(np.clip(1 - known.sum(axis=0), 0, 1))
    return np.asarray(total, np.float32)


def most_entropy(card: ModelCard) -> float:
    """Return the largest entropy that `entropy_bits` can give, bits."""
    return 1.0 if card.activation == "sigmoid" else math.log2(card.channels)


def _plogp(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(-p * np.log2(np.where(p > 0, p, 1)))
