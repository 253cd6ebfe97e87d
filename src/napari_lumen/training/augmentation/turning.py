"""Flips and turns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.training.augmentation.resampling import Image, Labels, sample


def flip(array: npt.NDArray[Any], *, vertical: bool = False, horizontal: bool = False) -> npt.NDArray[Any]:
    """Mirror an array (h, w, ...) top to bottom, left to right, or both."""
    return np.array(array[:: -1 if vertical else 1, :: -1 if horizontal else 1], order="C")


def quarter_turn(array: npt.NDArray[Any], quarters: int) -> npt.NDArray[Any]:
    """Turn an array (h, w, ...) counter-clockwise by so many quarters."""
    return np.array(np.rot90(array, quarters), order="C")


def random_flip(image: Image, labels: Labels, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Mirror top to bottom with a probability of a half, and left to right with another."""
    vertical, horizontal = rng.random(2) < 0.5
    return (
        flip(image, vertical=vertical, horizontal=horizontal),
        flip(labels, vertical=vertical, horizontal=horizontal),
    )


def rotate(
    image: Image, labels: Labels, degrees: float, *, fill: float | None = None
) -> tuple[Image, Labels]:
    """Turn counter-clockwise around the middle of the picture, whose size stays.

    Parameters
    ----------
    image, labels : ndarray
    degrees : float
    fill : float, optional
        Value of the image where the picture is empty, white without it. There is no label there.
    """
    height, width = labels.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y -= (height - 1) / 2
    x -= (width - 1) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return sample(
        image,
        labels,
        cos * y + sin * x + (height - 1) / 2,
        cos * x - sin * y + (width - 1) / 2,
        "empty",
        fill,
    )


def random_rotation(
    image: Image,
    labels: Labels,
    rng: np.random.Generator,
    *,
    most: float = 179.0,
    fill: float | None = None,
) -> tuple[Image, Labels]:
    """Turn by an angle of -`most` to `most` degrees (NAS-SCAM); see `rotate`."""
    return rotate(image, labels, float(rng.uniform(-most, most)), fill=fill)
