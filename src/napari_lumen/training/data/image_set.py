"""What every source of training data offers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.slides import Slide
from napari_lumen.training.data.item import Item

RGB = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]
Instances = npt.NDArray[np.int32]


class Pictures(Protocol):
    """Items with an image each. Arrays may come from a cache and are then read-only."""

    @property
    def items(self) -> tuple[Item, ...]:
        """The items; what is asked for by number is in this order."""

    def image(self, index: int) -> RGB:
        """Return the image of an item: uint8 (h, w, 3), red first."""


class ImageSet(Pictures, Protocol):
    """Images with label images."""

    @property
    def classes(self) -> ClassTable:
        """The classes, without the background, which is 0."""

    def labels(self, index: int) -> Labels:
        """Return class values of the pixels: uint8 (h, w), 0 background, `IGNORE` without a label."""

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, or None where it is not known."""


@runtime_checkable
class OfSlides(Protocol):
    """Images whose slides are open."""

    def slide(self, index: int) -> Slide:
        """Return the slide that an item was cut from."""


class InstanceSet(ImageSet, Protocol):
    """Images whose objects are told apart."""

    def instances(self, index: int) -> Instances:
        """Return the numbers of the objects: int32 (h, w), 0 where there is none."""


class GradedSet(Pictures, Protocol):
    """Images of one class each."""

    @property
    def classes(self) -> ClassTable:
        """The classes; each item is of one."""

    def grade(self, index: int) -> int:
        """Return which of `classes` an item is of, by its place in the table, from 0."""

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, or None where it is not known."""
