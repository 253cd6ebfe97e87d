"""How images of any size become examples of one size: resized as a whole, or cut at a pixel size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image as Pillow

from napari_lumen.training.augmentation import crop_scaled
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.fields import starts

Framed = tuple[RGB, Labels]


class Framing(Protocol):
    """Makes examples of an image."""

    def one(self, image: RGB, labels: Labels, mpp: float | None, rng: np.random.Generator) -> Framed:
        """Return one example for training, uint8 (size, size, 3) and (size, size)."""

    def all(self, image: RGB, labels: Labels, mpp: float | None) -> Iterator[Framed]:
        """Return examples that together show the whole image, for validation."""


@dataclass(frozen=True)
class Resized:
    """The whole image, its aspect not kept, as FocusNet++ was trained (section 4: Lanczos).

    Attributes
    ----------
    size : int
        Side in pixels.
    """

    size: int

    def one(self, image: RGB, labels: Labels, mpp: float | None, rng: np.random.Generator) -> Framed:
        """Return the image at the size, and for each pixel the label that has most of it.

        Of one class that is a mask resized like the image, then above 0.5.
        """
        side = (self.size, self.size)
        seen = np.asarray(Pillow.fromarray(image).resize(side, Pillow.Resampling.LANCZOS))
        values = np.unique(labels)
        masks = [Pillow.fromarray((labels == value).astype(np.uint8) * 255) for value in values]
        shares = [np.asarray(mask.resize(side, Pillow.Resampling.LANCZOS)) for mask in masks]
        return seen, values[np.argmax(shares, axis=0)]

    def all(self, image: RGB, labels: Labels, mpp: float | None) -> Iterator[Framed]:
        """Return the one example that there is."""
        yield self.one(image, labels, mpp, np.random.default_rng(0))


@dataclass(frozen=True)
class Cropped:
    """Squares of the image at one pixel size.

    Attributes
    ----------
    size : int
        Side in pixels.
    mpp : float or None
        µm per pixel of the square; None takes every image as it is, and so does an image that says none.
    zoom : float
        Random zoom in training, from 1 / zoom to zoom.
    """

    size: int
    mpp: float | None = None
    zoom: float = 1.0

    def one(self, image: RGB, labels: Labels, mpp: float | None, rng: np.random.Generator) -> Framed:
        """Return a random square; where the image is smaller, it is stretched to one.

        One of whole pixels begins at a whole one, so that it is not blurred.
        """
        zoom = float(np.exp(rng.uniform(-1, 1) * np.log(self.zoom)))
        reach = min(self._reach(mpp) * zoom, *labels.shape)
        if float(reach).is_integer():
            y, x = (float(rng.integers(side - int(reach), endpoint=True)) for side in labels.shape)
        else:
            y, x = (rng.uniform(0, side - reach) for side in labels.shape)
        return crop_scaled(image, labels, y, x, reach, self.size)

    def all(self, image: RGB, labels: Labels, mpp: float | None) -> Iterator[Framed]:
        """Return squares that cover the image, with as little overlap as there can be."""
        reach = min(self._reach(mpp), *labels.shape)
        for y in starts(labels.shape[0], reach, reach):
            for x in starts(labels.shape[1], reach, reach):
                yield crop_scaled(image, labels, y, x, reach, self.size)

    def _reach(self, mpp: float | None) -> float:
        return self.size if self.mpp is None or mpp is None else self.size * self.mpp / mpp
