"""Which predicted object is which true one: overlaps of all pairs that touch, counted in one pass."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from skimage.measure import label

MANY = 8  # values of which each is one connected area number objects, and are no classes
Numbers = npt.NDArray[Any]  # (h, w), integers: 0 is background, every object has its own number


@dataclass(frozen=True, slots=True)
class ObjectOverlaps:
    """The pairs of a predicted and a true object that share pixels.

    Attributes
    ----------
    predicted, true : ndarray (objects,)
        Numbers of the objects on each side.
    pairs : ndarray (pairs, 2)
        Positions in `true` and in `predicted`.
    intersection, union : ndarray (pairs,)
        Pixels.
    """

    predicted: npt.NDArray[Any]
    true: npt.NDArray[Any]
    pairs: npt.NDArray[np.int64]
    intersection: npt.NDArray[np.int64]
    union: npt.NDArray[np.int64]

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Intersection over union of each pair, in (0, 1]."""
        return self.intersection / self.union


def object_overlaps(
    predicted: Numbers, truth: Numbers, ignored: npt.NDArray[np.bool_] | None = None
) -> ObjectOverlaps:
    """Find the overlapping pairs of two images of numbered objects.

    Parameters
    ----------
    predicted, truth : ndarray (h, w)
        Integers: 0 is background.
    ignored : ndarray (h, w), optional
        bool; background on both sides, as MoNuSAC masks its ambiguous areas out.

    Raises
    ------
    ValueError
        When the shapes differ, or a number is below 0.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"the object images differ in shape: {predicted.shape} and {truth.shape}")
    if ignored is not None:
        predicted, truth = np.where(ignored, 0, predicted), np.where(ignored, 0, truth)
    said, columns = numbered(predicted)
    there, rows = numbered(truth)
    true_area, said_area = (
        np.bincount(positions, minlength=len(numbers) + 1)
        for positions, numbers in ((rows, there), (columns, said))
    )
    both = (rows > 0) & (columns > 0)
    places = rows[both] - 1, columns[both] - 1
    shared = sparse.coo_array((np.ones(len(places[0]), np.int64), places), shape=(len(there), len(said)))
    pairs = shared.tocsr().tocoo()  # on the way the same pairs are added up
    row, column = pairs.coords
    return ObjectOverlaps(
        said,
        there,
        np.stack([row, column], axis=1).astype(np.int64),
        pairs.data,
        true_area[row + 1] + said_area[column + 1] - pairs.data,
    )


def numbered(objects: Numbers) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the numbers of the objects, sorted, and each pixel's position among them from 1, 0 outside.

    Parameters
    ----------
    objects : ndarray (h, w)
        Integers: 0 is background.

    Returns
    -------
    numbers : ndarray (objects,)
    position : ndarray (h * w,)

    Raises
    ------
    ValueError
        When a number is below 0, or too large for 64 bits.
    """
    flat = objects.ravel()
    if flat.dtype == np.uint64 and flat.size and flat.max() > np.iinfo(np.int64).max:
        raise ValueError(f"the value {flat.max()} is no number of an object")
    if not flat.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if flat.min() < 0:
        raise ValueError(f"objects are numbered from 1, not {flat.min()}")
    if flat.max() < 2 * flat.size:
        used = np.bincount(flat) > 0  # without sorting all pixels
        used[0] = False
        return np.flatnonzero(used), np.where(used, np.cumsum(used), 0)[flat]
    numbers, position = np.unique(flat, return_inverse=True)
    if numbers[0] == 0:
        return numbers[1:], position
    return numbers, position + 1


def are_numbers(labels: Numbers, values: Collection[int]) -> bool:
    """Tell whether labels (h, w) number objects: of many values each is one connected area.

    Parameters
    ----------
    labels : ndarray (h, w)
        Integers.
    values : collection of int
        Those in it that are no background and count.
    """
    if len(values) < MANY:
        return False
    there = np.isin(labels, list(values))
    return int(label(np.where(there, labels, 0), connectivity=2).max()) == len(values)
