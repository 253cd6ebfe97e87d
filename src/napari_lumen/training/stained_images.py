"""Images in one stain, whatever they were stained with."""

from __future__ import annotations

from threading import Lock

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.slides.cache import TileCache
from napari_lumen.stain.normalisation import Method, Source, recoloured
from napari_lumen.stain.of_slide import FIELDS, stain_of_slide
from napari_lumen.training.data.image_set import RGB, ImageSet, Labels, OfSlides
from napari_lumen.training.data.item import Item

_CACHE_BYTES = 512 << 20
_EVERY = 4  # as of a slide: every fourth pixel of every fourth row


class StainedImages:
    """An `ImageSet` whose images have the stain of one reference, kept up to 512 MB.

    The stain of a slide is found once for all its images, as a run does: on the slide itself where it is
    open, else on those of its images that the set has. An image that names no slide is one by itself.

    Parameters
    ----------
    images : ImageSet
    method : Macenko or Reinhard
    mpp : float
        µm per pixel at which open slides are sampled: that of the model.
    """

    def __init__(self, images: ImageSet, method: Method, mpp: float) -> None:
        self._images, self._method, self._mpp = images, method, mpp
        self._cache = TileCache(_CACHE_BYTES)
        self._sources: dict[str, Source | None] = {}  # by slide; None where its stain is not found
        self._lock = Lock()

    @property
    def classes(self) -> ClassTable:
        """The classes of the set."""
        return self._images.classes

    @property
    def items(self) -> tuple[Item, ...]:
        """The items of the set."""
        return self._images.items

    def image(self, index: int) -> RGB:
        """Return an image in the stain of the reference, uint8 (h, w, 3); as it is where none is found."""
        return self._cache.fetch(self, index, lambda: self._stained(index))

    def labels(self, index: int) -> Labels:
        """Return the labels of the set."""
        return self._images.labels(index)

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, or None where it is not known."""
        return self._images.mpp(index)

    def _stained(self, index: int) -> RGB:
        image, slide = self._images.image(index), self.items[index].slide
        if slide is None:
            return self._method.apply(image)
        with self._lock:
            if slide not in self._sources:
                self._sources[slide] = self._source(index, slide)
        source = self._sources[slide]
        return image if source is None else recoloured(self._method, source, image)

    def _source(self, index: int, slide: str) -> Source | None:
        if isinstance(self._images, OfSlides):
            return stain_of_slide(self._images.slide(index), self._method, self._mpp)
        of_slide = [number for number, item in enumerate(self.items) if item.slide == slide]
        chosen = np.linspace(0, len(of_slide) - 1, min(FIELDS, len(of_slide))).round().astype(int)
        pixels = [self._images.image(of_slide[place])[::_EVERY, ::_EVERY] for place in chosen]
        try:
            return self._method.fit(np.concatenate([part.reshape(1, -1, 3) for part in pixels], axis=1))
        except RunError:
            return None
