"""Overlapping squares of images, listed by the classes that they show, and squares that are tested on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_lumen.training.augmentation import crop_scaled
from napari_lumen.training.data.image_set import RGB, ImageSet, Labels
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.framing import Framed


@dataclass(frozen=True, slots=True)
class Crop:
    """Where a square is.

    Attributes
    ----------
    image : int
        Number of the image.
    y, x : float
        Its upper left corner, pixels of the image; it may reach beyond the image.
    """

    image: int
    y: float
    x: float


@dataclass(frozen=True)
class CropList:
    """Squares of some images.

    Attributes
    ----------
    crops : tuple of Crop
    by_class : tuple of tuples of int
        Which of them show a class, for each class of the set; one may show several.
    pixels : tuple of int
        Of each class in the images.
    """

    crops: tuple[Crop, ...]
    by_class: tuple[tuple[int, ...], ...]
    pixels: tuple[int, ...]


@dataclass(frozen=True)
class OverlappingCrops:
    """A `Framing`: squares side by side that overlap; beyond the image they are black and without labels.

    Attributes
    ----------
    size : int
        Side in pixels.
    stride : int
        Between squares that are learnt from.
    test_stride : int
        Between squares that are tested on: of each only the middle `test_stride` px count, so that what
        counts covers the image once.
    mpp : float or None
        µm per pixel of a square; None takes every image as it is, and so does an image that says none.
    """

    size: int
    stride: int
    test_stride: int
    mpp: float | None = None

    def one(self, image: RGB, labels: Labels, mpp: float | None, rng: np.random.Generator) -> Framed:
        """Return one of the overlapping squares, each as likely."""
        corners = self.corners(labels.shape, mpp)
        return self.cut(image, labels, *corners[rng.integers(len(corners))], mpp)

    def all(self, image: RGB, labels: Labels, mpp: float | None) -> Iterator[Framed]:
        """Yield the squares that are tested on, with labels in their middles alone."""
        margin = (self.size - self.test_stride) // 2
        middle = slice(margin, margin + self.test_stride)
        scale = self._scale(mpp)
        rows, columns = (
            np.arange(0, side, self.test_stride * scale) - margin * scale for side in labels.shape
        )
        for y in rows:
            for x in columns:
                seen, truth = self.cut(image, labels, float(y), float(x), mpp)
                known = np.full_like(truth, IGNORE)
                known[middle, middle] = truth[middle, middle]
                yield seen, known

    def corners(self, shape: tuple[int, ...], mpp: float | None) -> list[tuple[float, float]]:
        """Return the upper left corners (y, x) of the squares that cover an image of a shape (h, w)."""
        scale = self._scale(mpp)
        rows, columns = (
            [step * self.stride * scale for step in range(self._count(side / scale))] for side in shape
        )
        return [(y, x) for y in rows for x in columns]

    def cut(self, image: RGB, labels: Labels, y: float, x: float, mpp: float | None) -> Framed:
        """Return a square, uint8 (size, size, 3) and (size, size), that begins at (y, x) of an image."""
        reach = self.size * self._scale(mpp)
        first = math.floor(y), math.floor(x)
        last = math.ceil(y + reach), math.ceil(x + reach)
        inside = tuple(
            slice(max(0, low), min(high, side))
            for low, high, side in zip(first, last, labels.shape, strict=True)
        )
        around = [
            (max(0, -low), max(0, high - side))
            for low, high, side in zip(first, last, labels.shape, strict=True)
        ]
        seen = np.pad(image[inside], [*around, (0, 0)])
        truth = np.pad(labels[inside], around, constant_values=IGNORE)
        if reach == self.size:
            return seen, truth
        return crop_scaled(seen, truth, y - first[0], x - first[1], reach, self.size)

    def listed(self, images: ImageSet, numbers: Sequence[int]) -> CropList:
        """Look through the labels of some images."""
        values = [known.value for known in images.classes]
        crops: list[Crop] = []
        by_class: list[list[int]] = [[] for _ in values]
        pixels = np.zeros(256, np.int64)
        for number in numbers:
            labels, mpp = images.labels(number), images.mpp(number)
            pixels += np.bincount(labels.ravel(), minlength=256)
            reach = self.size * self._scale(mpp)
            for y, x in self.corners(labels.shape, mpp):
                seen = np.bincount(
                    labels[round(y) : round(y + reach), round(x) : round(x + reach)].ravel(), minlength=256
                )
                for examples, value in zip(by_class, values, strict=True):
                    if seen[value]:
                        examples.append(len(crops))
                crops.append(Crop(number, y, x))
        return CropList(tuple(crops), tuple(map(tuple, by_class)), tuple(pixels[values].tolist()))

    def _count(self, side: float) -> int:
        return 1 + max(0, math.ceil((side - self.size) / self.stride - 1e-6))

    def _scale(self, mpp: float | None) -> float:
        """Return how many pixels of an image make one of a square."""
        return 1.0 if self.mpp is None or mpp is None else self.mpp / mpp
