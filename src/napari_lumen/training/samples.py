"""Held-out images with what the network makes of them, to be looked at while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

from napari_lumen.models.card import Activation
from napari_lumen.training.data.image_set import RGB, Labels

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One held-out image.

    Attributes
    ----------
    name : str
    image : ndarray
        uint8 (h, w, 3).
    truth, predicted : ndarray or None
        Class values of its pixels, uint8 (h, w); 0 is background, 255 has no label. None where the image is
        of one class.
    said : str
        What the image as a whole is said to be, and what it is; empty where pixels have classes.
    """

    name: str
    image: RGB
    truth: Labels | None = None
    predicted: Labels | None = None
    said: str = ""


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many items, evenly spread over all."""
    count = min(most, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def class_values(logits: Tensor, values: Sequence[int], activation: Activation) -> Labels:
    """Return the class value of each pixel: uint8 (h, w), 0 for background.

    Parameters
    ----------
    logits : Tensor
        (channels, h, w): with softmax the background first; with sigmoid a channel a class, and the
        background is where none is likely.
    values : sequence of int
        Of the classes.
    activation : {"sigmoid", "softmax"}
    """
    if activation == "softmax":
        places = logits.argmax(dim=0)
    else:
        places = (logits.argmax(dim=0) + 1) * (logits > 0).any(dim=0)
    table = np.array([0, *values], np.uint8)
    return np.asarray(table[places.cpu().numpy()])
