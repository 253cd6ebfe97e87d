"""Saturation, contrast, brightness and sharpness (Takahama et al., ICCV 2019); labels stay as they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

RGB = npt.NDArray[np.uint8]


def enhance(
    image: RGB, *, saturation: float = 1, contrast: float = 1, brightness: float = 1, sharpness: float = 1
) -> RGB:
    """Blend an image with its grey, its mean grey, black and its smoothed self, in this order.

    Parameters
    ----------
    image : ndarray
        uint8 (h, w, 3).
    saturation, contrast, brightness, sharpness : float
        Share of the image in each blend: 1 changes nothing, 0 leaves the other, above 1 goes beyond.
    """
    picture = Image.fromarray(image)
    for kind, factor in (
        (ImageEnhance.Color, saturation),
        (ImageEnhance.Contrast, contrast),
        (ImageEnhance.Brightness, brightness),
        (ImageEnhance.Sharpness, sharpness),
    ):
        if factor != 1:
            picture = kind(picture).enhance(factor)
    return np.array(picture)


def random_enhance(image: RGB, rng: np.random.Generator, *, low: float = 0.75, high: float = 1.25) -> RGB:
    """Change all four by factors of U(`low`, `high`) of their own; uint8 (h, w, 3)."""
    saturation, contrast, brightness, sharpness = rng.uniform(low, high, 4).tolist()
    return enhance(
        image, saturation=saturation, contrast=contrast, brightness=brightness, sharpness=sharpness
    )
