"""Elastic distortion (Simard et al. 2003), with a random affine one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from napari_lumen.training.augmentation.resampling import Image, Labels, sample


def random_elastic(
    image: Image,
    labels: Labels,
    rng: np.random.Generator,
    *,
    alpha: float = 3.0,
    sigma: float = 0.07,
    affine: float = 0.09,
) -> tuple[Image, Labels]:
    """Distort smoothly; beyond the border the picture is mirrored.

    The numbers are NAS-SCAM's, in sides of the picture (the shorter one where it is no square).

    Parameters
    ----------
    image, labels : ndarray
    rng : numpy.random.Generator
    alpha : float
        What uniform noise in [-1, 1] is multiplied by, after smoothing, to become a displacement.
    sigma : float
        Standard deviation of the smoothing.
    affine : float
        The most by which each of three points around the middle is moved, along each axis.
    """
    height, width = labels.shape
    side = min(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    matrix = _affine(rng, height, width, affine * side)
    moved_y, moved_x = (row[0] * y + row[1] * x + row[2] for row in matrix)
    if alpha:
        for moved in (moved_y, moved_x):
            noise = gaussian_filter(rng.uniform(-1, 1, (height, width)), sigma * side, mode="constant")
            moved += alpha * side * noise
    return sample(image, labels, moved_y, moved_x, "mirror")


def _affine(rng: np.random.Generator, height: int, width: int, most: float) -> npt.NDArray[np.floating[Any]]:
    """Return the (2, 3) matrix from (y, x, 1) that moves three points by up to `most` px each."""
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    reach = min(height, width) / 3
    points = middle + reach * np.array([[1, 1], [-1, 1], [-1, -1]])
    moved = points + rng.uniform(-most, most, points.shape)
    return np.linalg.solve(np.column_stack([points, np.ones(3)]), moved).T
