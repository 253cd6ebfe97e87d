"""Images in the colours of one stain, whatever they were stained with."""

from __future__ import annotations

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.image_set import RGB, ImageSet, Labels
from napari_lumen.training.data.item import Item
from napari_lumen.training.stain_normalisation import Reinhard

_CACHE_BYTES = 512 << 20


class ReinhardImages:
    """An `ImageSet` whose images have the colours of one reference, kept up to 512 MB.

    Parameters
    ----------
    images : ImageSet
    method : Reinhard
    """

    def __init__(self, images: ImageSet, method: Reinhard) -> None:
        self._images, self._method = images, method
        self._cache = TileCache(_CACHE_BYTES)

    @property
    def classes(self) -> ClassTable:
        """The classes of the set."""
        return self._images.classes

    @property
    def items(self) -> tuple[Item, ...]:
        """The items of the set."""
        return self._images.items

    def image(self, index: int) -> RGB:
        """Return an image in the colours of the reference, uint8 (h, w, 3); as it is where nearly blank."""
        return self._cache.fetch(self, index, lambda: self._method.apply(self._images.image(index)))

    def labels(self, index: int) -> Labels:
        """Return the labels of the set."""
        return self._images.labels(index)

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, or None where it is not known."""
        return self._images.mpp(index)
