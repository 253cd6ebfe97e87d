"""Stained nuclei at one pixel size: the Data Science Bowl's, and drawn ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.measure import regionprops

from bench.zoo.sections import fine_fields
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.known import NUCLEUS, dsb2018
from napari_lumen.training.nuclei import MPP, NUCLEUS_UM

_LEAST = 12  # px of a nucleus that counts for the median
_MARGIN = 128  # px: a smaller image would hold no crop
_LARGEST = 384  # px: of the few large images the middle, else a validation would see little else


class StainedNuclei:
    """Images at 0.5 µm/px with 1 where a nucleus is: an `ImageSet`.

    The Bowl's carry no pixel size; each is scaled so that its median nucleus measures 8 µm.
    """

    def __init__(self, folder: Path) -> None:
        found = dsb2018(folder, kinds=("stained", "brightfield"))
        self.classes = NUCLEUS
        items, self._images, self._labels = [], [], []
        for index, item in enumerate(found.items):
            image, numbers = found.image(index), found.instances(index)
            scale = NUCLEUS_UM / MPP / _diameter(numbers)
            side = tuple(max(_MARGIN, round(length * scale)) for length in numbers.shape[::-1])
            items.append(item)
            picture = Image.fromarray(image).resize(side, Image.Resampling.BOX)
            self._images.append(_middle(np.asarray(picture)))
            mask = Image.fromarray((numbers > 0).astype(np.uint8))
            self._labels.append(_middle(np.asarray(mask.resize(side, Image.Resampling.NEAREST))))
        for index, (image, nuclei) in enumerate(zip(*fine_fields(), strict=True)):
            items.append(Item(f"drawn-{index}", group="drawn"))
            self._images.append(image)
            self._labels.append(nuclei)
        self.items = tuple(items)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image: uint8 (h, w, 3)."""
        return self._images[index]

    def labels(self, index: int) -> npt.NDArray[np.uint8]:
        """Return 1 nucleus, 0 background: uint8 (h, w)."""
        return self._labels[index]

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel."""
        return MPP


def _middle(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    top, left = max(0, height - _LARGEST) // 2, max(0, width - _LARGEST) // 2
    return image[top : top + _LARGEST, left : left + _LARGEST]


def _diameter(numbers: npt.NDArray[np.int32]) -> float:
    areas = [body.area for body in regionprops(numbers) if body.area > _LEAST]
    return float(np.median(np.sqrt(np.array(areas) * 4 / np.pi)))
