"""Stained nuclei at one pixel size: the Data Science Bowl's, those painted anew, and drawn ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.measure import regionprops

from bench.zoo.sections import fine_fields
from napari_lumen.training.augment import degrade, overlay_decoys, recolour
from napari_lumen.training.data.instance_folder import InstanceFolder
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.known import NUCLEUS, dsb2018
from napari_lumen.training.nuclei import FLUORESCENCE, MPP, NUCLEUS_UM
from napari_lumen.training.paint import crowd, lay_keratin, paint_section

_LEAST = 12  # px of a nucleus that counts for the median
_MARGIN = 128  # px: a smaller image would hold no crop
_LARGEST = 384  # px: of the few large images the middle, else a validation would see little else
_PAINTED, _SIDE = 240, 192  # fields, and px of their sides
_HELD_OUT = 6  # every so many painted field is of a group of its own
_RECOLOURED = "lavender"  # the group that is trained on, of one dye
_BLUR = 1.3  # px


class StainedNuclei:
    """Images at 0.5 µm/px with 1 where a nucleus is: an `ImageSet`.

    The Bowl's carry no pixel size; each is scaled so that its median nucleus measures 8 µm. Of fluorescence
    only the outlines are used, around which sections are painted; of one stain group there are copies in
    other stains.
    """

    def __init__(self, folder: Path) -> None:
        found = dsb2018(folder)
        self.classes = NUCLEUS
        items: list[Item] = []
        self._images: list[npt.NDArray[np.uint8]] = []
        self._labels: list[npt.NDArray[np.uint8]] = []

        def add(item: Item, image: npt.NDArray[np.uint8], nuclei: npt.NDArray[Any]) -> None:
            items.append(item)
            self._images.append(_middle(image))
            self._labels.append(_middle(nuclei.astype(np.uint8)))

        rng = np.random.default_rng(0)
        for index, item in enumerate(found.items):
            if item.group == FLUORESCENCE:
                continue
            image, nuclei = _scaled(found, index)
            add(item, image, nuclei)
            if item.group == _RECOLOURED:
                stained = recolour((image / 255).astype(np.float32), rng)
                add(Item(f"{item.name} in another stain", group="recoloured"), _seen(stained, rng), nuclei)
        for number, (image, nuclei) in enumerate(_painted(found, rng)):
            group = "painted" if number % _HELD_OUT else "painted, held out"
            add(Item(f"painted-{number}", group=group), image, nuclei)
        for number, (image, nuclei) in enumerate(zip(*fine_fields(), strict=True)):
            add(Item(f"drawn-{number}", group="drawn"), image, nuclei)
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


def _painted(
    found: InstanceFolder, rng: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]:
    """Paint sections around nuclei that were imaged in fluorescence."""
    there = [index for index, item in enumerate(found.items) if item.group == FLUORESCENCE]
    chosen = rng.choice(there, _PAINTED, replace=False)
    squares = [_square(*_scaled(found, int(index)), rng) for index in chosen]
    for number, (image, nuclei) in enumerate(squares):
        if rng.random() < 0.5:
            nuclei = crowd(nuclei, squares[number - _HELD_OUT][1])  # of its own group
        grey = image.mean(axis=2).astype(np.float32) / 255
        section, left = paint_section(grey, nuclei, rng), nuclei
        if rng.random() < 0.2:
            section, left = lay_keratin(section, nuclei, rng)
        yield _seen(section, rng), left


def _seen(section: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a section under other structures and out of focus, (h, w, 3) uint8."""
    if rng.random() < 0.5:
        section = overlay_decoys(section, rng)
    return np.rint(np.clip(degrade(section, _BLUR, rng), 0, 1) * 255).astype(np.uint8)


def _scaled(found: InstanceFolder, index: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return an image and where its nuclei are, at 0.5 µm/px."""
    numbers = found.instances(index)
    scale = NUCLEUS_UM / MPP / _diameter(numbers)
    height, width = (max(_MARGIN, round(length * scale)) for length in numbers.shape)
    image = Image.fromarray(found.image(index)).resize((width, height), Image.Resampling.BOX)
    nuclei = Image.fromarray((numbers > 0).astype(np.uint8))
    return np.asarray(image), np.asarray(nuclei.resize((width, height), Image.Resampling.NEAREST)) > 0


def _square(
    image: npt.NDArray[np.uint8], nuclei: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Cut a random square, of a small image one with its mirrored margin."""
    short = [max(0, _SIDE - length) for length in nuclei.shape]
    image = np.pad(image, [(0, short[0]), (0, short[1]), (0, 0)], mode="symmetric")
    nuclei = np.pad(nuclei, [(0, short[0]), (0, short[1])], mode="symmetric")
    top, left = (int(rng.integers(length - _SIDE + 1)) for length in nuclei.shape)
    cut = np.s_[top : top + _SIDE, left : left + _SIDE]
    return image[cut], nuclei[cut]


def _middle(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the middle of a large image."""
    height, width = image.shape[:2]
    top, left = max(0, height - _LARGEST) // 2, max(0, width - _LARGEST) // 2
    return image[top : top + _LARGEST, left : left + _LARGEST]


def _diameter(numbers: npt.NDArray[np.int32]) -> float:
    areas = [body.area for body in regionprops(numbers) if body.area > _LEAST]
    return float(np.median(np.sqrt(np.array(areas) * 4 / np.pi)))
