"""Lesions of CAMELYON16: what counts as one, which are too small to count, and which a detection hits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import label, regionprops_table

from napari_lumen.evaluation.defined import Floats

_JOIN_UM = 75.0  # about five tumour cells
_ITC_UM = 200.0


@dataclass(frozen=True, slots=True)
class Lesions:
    """The lesions of a slide as CAMELYON16 counts them.

    Attributes
    ----------
    numbers : ndarray (h, w) of int32
        0 outside; every lesion, grown by 37.5 µm, has its own number from 1.
    isolated : ndarray (lesions + 1,) of bool
        By number: isolated tumour cells, on which hits count neither way.
    """

    numbers: npt.NDArray[np.int32]
    isolated: npt.NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Lesions that are to be found."""
        return int(np.count_nonzero(~self.isolated[1:]))


@dataclass(frozen=True, slots=True)
class SlideHits:
    """What the detections of one slide hit.

    Attributes
    ----------
    lesions : ndarray (lesions,)
        The highest probability in each lesion that counts; 0 for one that was missed.
    false : ndarray (false positives,)
        Probabilities of the detections outside all lesions.
    """

    lesions: Floats
    false: Floats


def find_lesions(tumour: npt.NDArray[np.bool_], pixel_um: float) -> Lesions:
    """Number the lesions of a slide by the challenge's rules.

    Lesions closer than 75 µm are one: the tumour is grown by half of that, holes are filled, and pixels that
    touch by a corner belong together. A lesion whose major axis is below 275 µm, grown as it is, is isolated
    tumour cells.

    Parameters
    ----------
    tumour : ndarray (h, w)
        bool, e.g. level 5 of the challenge's masks.
    pixel_um : float
        Side of a pixel; 0.243 * 32 at level 5.
    """
    if not pixel_um > 0:
        raise ValueError(f"the side of a pixel must be above 0 µm, not {pixel_um}")
    if not tumour.any():  # the distance to nothing is not defined
        return Lesions(np.zeros(tumour.shape, np.int32), np.zeros(1, np.bool_))
    near = ndimage.distance_transform_edt(~tumour) < _JOIN_UM / (2 * pixel_um)
    numbers = label(ndimage.binary_fill_holes(near), connectivity=2).astype(np.int32)
    axes = regionprops_table(numbers, properties=("axis_major_length",))["axis_major_length"]
    return Lesions(numbers, np.concatenate([[False], axes < (_ITC_UM + _JOIN_UM) / pixel_um]))


def hit_lesions(lesions: Lesions, points: npt.NDArray[Any], probability: npt.NDArray[Any]) -> SlideHits:
    """Sort detections into hits and false positives.

    Parameters
    ----------
    lesions : Lesions
    points : ndarray (n, 2)
        Rows and columns in pixels of the mask, edges at integers: (0.9, 3.2) lies in pixel (0, 3).
    probability : ndarray (n,)
        Above 0.

    Raises
    ------
    ValueError
        When a point lies outside the mask, or a probability is not above 0: 0 stands for a missed lesion.
    """
    points = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).astype(np.int64)
    probability = np.asarray(probability, np.float64)
    if len(points) != len(probability):
        raise ValueError(f"there are {len(points)} points and {len(probability)} probabilities")
    if not ((points >= 0) & (points < lesions.numbers.shape)).all():
        raise ValueError(f"a detection lies outside the mask of {lesions.numbers.shape} pixels")
    if not (probability > 0).all():
        raise ValueError("a detection needs a probability above 0")
    number = lesions.numbers[points[:, 0], points[:, 1]]
    best = np.zeros(len(lesions.isolated))
    np.maximum.at(best, number, probability)
    return SlideHits(best[1:][~lesions.isolated[1:]], probability[number == 0])
