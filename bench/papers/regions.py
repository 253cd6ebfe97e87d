"""Synthetic tumours that only their surroundings tell apart, as images with labels."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from skimage.measure import label, regionprops

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.slides.synthetic import CONTEXT_DEPTH, REGIONS, SyntheticSlide
from napari_lumen.training.data.item import IGNORE, Item

_MPP = 2.0
_SLIDE, _FIELD = 2048, 512  # px
_SEEDS = range(32)
_LEAST = 500  # px of a core that is worth a field
_KEPT = Path(tempfile.gettempdir()) / "napari-lumen-context-regions-32.npz"
_KINDS = ("in situ carcinoma", "invasive carcinoma")


class ContextRegions:
    """Fields around tumours, each twice: with the border of an in situ and with that of an invasive one.

    Only pixels that lie deep inside of both have a label, where no patch of 64 µm that holds one tells them
    apart; all else has none. Both of a pair have as many, so that one view can be right for half of them.
    An `ImageSet`; both of a pair are of one `tile`.
    """

    def __init__(self) -> None:
        self.classes = ClassTable.of(
            [(place, name, REGIONS[name].color) for place, name in enumerate(_KINDS, start=1)]
        )
        drawn = self._drawn() if not _KEPT.exists() else dict(np.load(_KEPT))
        self.items = tuple(
            Item(name, tile=name[:-1], slide=name.partition("-")[0]) for name in drawn["names"].tolist()
        )
        self._images, self._labels = drawn["images"], drawn["labels"]

    def _drawn(self) -> dict[str, npt.NDArray[Any]]:
        """Draw all fields, which takes minutes, and keep them for the next time."""
        images, labels, names = [], [], []
        for seed in _SEEDS:
            pair = [
                SyntheticSlide(_SLIDE, _SLIDE, mpp=_MPP, seed=seed, swap_context=swap)
                for swap in (False, True)
            ]
            for number, (y, x) in enumerate(_centres(pair[0])):
                window = y - _FIELD // 2, x - _FIELD // 2, _FIELD, _FIELD
                cores = [_cores(slide.truth(*window).regions) for slide in pair]
                nowhere = np.any([core == IGNORE for core in cores], axis=0)
                for slide, core, kind in zip(pair, cores, ("a", "b"), strict=True):
                    images.append(slide.read(*window))
                    labels.append(np.where(nowhere, np.uint8(IGNORE), core))
                    names.append(f"{seed}-{number}{kind}")
        drawn: dict[str, npt.NDArray[Any]] = {
            "images": np.stack(images),
            "labels": np.stack(labels),
            "names": np.array(names),
        }
        np.savez(_KEPT, **drawn)  # type: ignore[arg-type]
        return drawn

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return a field: uint8 (512, 512, 3)."""
        return self._images[index]

    def labels(self, index: int) -> npt.NDArray[np.uint8]:
        """Return 1 in situ, 2 invasive, `IGNORE` but in cores: uint8 (512, 512)."""
        return self._labels[index]

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel."""
        return _MPP


@cache
def context_regions() -> ContextRegions:
    """Return the one set."""
    return ContextRegions()


def _cores(regions: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    labels = np.full(regions.shape, IGNORE, np.uint8)
    for value, name in enumerate(_KINDS, start=1):
        inside = np.pad(regions == REGIONS[name].value, 1)
        labels[distance_transform_edt(inside)[1:-1, 1:-1] > CONTEXT_DEPTH / _MPP] = value
    return labels


def _centres(slide: SyntheticSlide) -> list[tuple[int, int]]:
    """Return the middles of the cores whose whole field lies on the slide."""
    regions = slide.truth(0, 0, _SLIDE, _SLIDE).regions
    found = []
    for core in regionprops(label(_cores(regions) != IGNORE)):
        y, x = (round(value) for value in core.centroid)
        half = _FIELD // 2
        if core.area >= _LEAST and half <= y <= _SLIDE - half and half <= x <= _SLIDE - half:
            found.append((y, x))
    return found
