"""Blurs; labels stay as they are."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter

from napari_lumen.training.augmentation.resampling import Image, as_stored


def gaussian_blur(image: Image, sigma: float, *, radius: int = 2) -> Image:
    """Blur with a Gaussian kernel of 2 `radius` + 1 px, 5 in NAS-SCAM.

    Parameters
    ----------
    image : ndarray
        (h, w, channels).
    sigma : float
        Standard deviation, px; NAS-SCAM draws it from U(0, 2).
    radius : int
    """
    if sigma <= 0:
        return image.copy()
    blurred = gaussian_filter(image.astype(np.float32), sigma, radius=radius, axes=(0, 1), mode="mirror")
    return as_stored(blurred, image.dtype)


def median_blur(image: Image, size: int = 3) -> Image:
    """Take the median of `size` x `size` px in each channel, 3 in NAS-SCAM."""
    return np.asarray(median_filter(image, size=(size, size, 1), mode="mirror"))
