"""Plain labelled images as small slides, all of tissue."""

from __future__ import annotations

from collections.abc import Collection
from math import ceil

import numpy as np
from PIL import Image as Pillow

from napari_lumen.errors import RunError
from napari_lumen.geometry import Window
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.augmentation import crop_scaled
from napari_lumen.training.data.image_set import RGB, ImageSet, Labels
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.data.patch_rules import PatchRule, label_patches
from napari_lumen.training.recipes.multistage_slides import NORMAL, TUMOUR, CellLabels, to_tumour

_KEPT = 256 << 20  # bytes of images: each is asked for once a patch


class PatchedImages:
    """Labelled images as a `SlideSet`: a field of 1,000 px is a slide of 16 x 16 patches of 64 px.

    The patches of the last row and column end at the border of the image, and share pixels with the ones
    before, so that all of them are full.

    Parameters
    ----------
    images : ImageSet
    patch : int
        Side of a patch, px.
    mpp : float or None
        µm per pixel of the patches; None takes every image as it is, and so does an image that says none.
    tumour : collection of int
        Class values that are tumour; the others are normal, as background is.
    rule : PatchRule
    """

    def __init__(
        self, images: ImageSet, *, patch: int, mpp: float | None, tumour: Collection[int], rule: PatchRule
    ) -> None:
        self.items, self.patch = images.items, patch
        self._images, self._mpp, self._tumour, self._rule = images, mpp, list(tumour), rule
        self._kept = TileCache(_KEPT)
        self._cells: dict[int, CellLabels] = {}

    def cells(self, index: int) -> CellLabels:
        """Return the label of each patch; counted once.

        Raises
        ------
        RunError
            When the image is smaller than a patch.
        """
        if index not in self._cells:
            self._cells[index] = self._label(index)
        return self._cells[index]

    def read(self, index: int, row: int, column: int) -> RGB:
        """Return a patch."""
        return self._cut(index, row, column)[0]

    def reduced(self, index: int, cells: Window, side: int) -> tuple[RGB, Labels]:
        """Return some cells, each of `side` px; see `SlideSet`."""
        rows, columns = self.cells(index).shape
        image = np.full((cells.height * side, cells.width * side, 3), 255, np.uint8)
        labels = np.full(image.shape[:2], IGNORE, np.uint8)
        for row in range(max(0, cells.y), min(rows, cells.y + cells.height)):
            for column in range(max(0, cells.x), min(columns, cells.x + cells.width)):
                place = Window((row - cells.y) * side, (column - cells.x) * side, side, side).slices
                seen, known = (Pillow.fromarray(one) for one in self._cut(index, row, column))
                image[place] = np.asarray(seen.resize((side, side), Pillow.Resampling.BOX))
                labels[place] = np.asarray(known.resize((side, side), Pillow.Resampling.NEAREST))
        return image, labels

    def _label(self, index: int) -> CellLabels:
        height, width = self._labels(index).shape
        reach = self._reach(index)
        if min(height, width) < reach:
            raise RunError(
                f"{self.items[index].name} of {width} x {height} px is smaller than a patch of {self.patch} "
                "px. Take smaller patches, or leave the image out."
            )
        rows, columns = (ceil(side / reach - 1e-6) for side in (height, width))
        counts = np.array(
            [
                [self._count(self._cut(index, row, column)[1]) for column in range(columns)]
                for row in range(rows)
            ]
        )
        tumour, normal = np.moveaxis(counts / self.patch**2, -1, 0)
        return label_patches(np.ones((rows, columns)), tumour, normal, self._rule)

    @staticmethod
    def _count(labels: Labels) -> tuple[int, int]:
        return int((labels == TUMOUR).sum()), int((labels == NORMAL).sum())

    def _cut(self, index: int, row: int, column: int) -> tuple[RGB, Labels]:
        """Return the pixels of a patch and their labels."""
        image, labels, reach = self._image(index), self._labels(index), self._reach(index)
        y, x = (
            max(0.0, min(place * reach, side - reach))
            for place, side in zip((row, column), labels.shape, strict=True)
        )
        if reach == self.patch:
            place = Window(int(y), int(x), self.patch, self.patch).slices
            return image[place], labels[place]
        return crop_scaled(image, labels, y, x, reach, self.patch)

    def _reach(self, index: int) -> float:
        """Return the side of a patch in pixels of an image."""
        own = self._images.mpp(index)
        return float(self.patch) if self._mpp is None or own is None else self.patch * self._mpp / own

    def _image(self, index: int) -> RGB:
        return self._kept.fetch("images", index, lambda: np.array(self._images.image(index)))

    def _labels(self, index: int) -> Labels:
        def make() -> Labels:
            return to_tumour(self._images.labels(index), self._tumour)

        return self._kept.fetch("labels", index, make)
