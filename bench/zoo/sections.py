"""Drawn sections, as labelled images and as graded fields."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.slides.synthetic import CLASSES, REGIONS, SyntheticSlide
from napari_lumen.training.data.item import Item

MPP, SIDE = 2.0, 2048  # µm/px and px: 4 mm of tissue, with each kind of region
_SEEDS = range(100, 112)
_FINE_MPP, _FINE_SIDE, _FINE_SEEDS = 0.5, 512, range(200, 212)
_FIELD, _STEP = 256, 128  # px of graded fields
_GRADES = ClassTable.of(
    [
        (1, "benign", (60, 180, 75)),
        (2, REGIONS["in situ carcinoma"].name, REGIONS["in situ carcinoma"].color),
        (3, REGIONS["invasive carcinoma"].name, REGIONS["invasive carcinoma"].color),
    ]
)
_SHOWN, _HIDDEN, _TISSUE = 0.15, 0.02, 0.5  # shares of a field
_KEPT = Path(tempfile.gettempdir()) / "napari-lumen-zoo-sections.npz"


class Sections:
    """Whole sections at 2 µm/px with their regions: an `ImageSet`."""

    def __init__(self) -> None:
        drawn = _drawn()
        self.classes = REGIONS
        self.items = tuple(Item(f"drawn-{seed}", slide=f"drawn-{seed}") for seed in _SEEDS)
        self._images, self._labels = drawn["images"], drawn["regions"]

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return a section: uint8 (2048, 2048, 3)."""
        return self._images[index]

    def labels(self, index: int) -> npt.NDArray[np.uint8]:
        """Return its regions by `REGIONS`: uint8 (2048, 2048)."""
        return self._labels[index]

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel."""
        return MPP


class GradedFields:
    """Fields of 512 µm of the sections by the carcinoma in them: a `GradedSet`.

    Fields that show a little of it, both kinds, or hardly any tissue are left out.
    """

    def __init__(self) -> None:
        drawn = _drawn()
        self.classes = _GRADES
        self._images = drawn["images"]
        self._places = list(_graded(drawn["regions"]))
        self.items = tuple(
            Item(f"drawn-{_SEEDS[section]}-{y}-{x}", slide=f"drawn-{_SEEDS[section]}")
            for section, y, x, _ in self._places
        )

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return a field: uint8 (256, 256, 3)."""
        section, y, x, _ = self._places[index]
        return self._images[section, y : y + _FIELD, x : x + _FIELD]

    def grade(self, index: int) -> int:
        """Return 0 benign, 1 in situ, 2 invasive."""
        return self._places[index][3]

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel."""
        return MPP


def fine_fields() -> tuple[list[npt.NDArray[np.uint8]], list[npt.NDArray[np.uint8]]]:
    """Return drawn fields at 0.5 µm/px, uint8 (512, 512, 3), and 1 where they show a nucleus."""
    drawn = _drawn()
    return list(drawn["fine_images"]), list(drawn["fine_nuclei"])


def _graded(regions: npt.NDArray[np.uint8]) -> Iterator[tuple[int, int, int, int]]:
    in_situ, invasive = (REGIONS[name].value for name in ("in situ carcinoma", "invasive carcinoma"))
    for section, region in enumerate(regions):
        for y in range(0, SIDE - _FIELD + 1, _STEP):
            for x in range(0, SIDE - _FIELD + 1, _STEP):
                field = region[y : y + _FIELD, x : x + _FIELD]
                tissue, first, second = (
                    float(of.mean()) for of in (field > 0, field == in_situ, field == invasive)
                )
                if tissue < _TISSUE:
                    continue
                if max(first, second) < _HIDDEN:
                    yield section, y, x, 0
                elif first > _SHOWN and second < _HIDDEN:
                    yield section, y, x, 1
                elif second > _SHOWN and first < _HIDDEN:
                    yield section, y, x, 2


@cache
def _drawn() -> dict[str, npt.NDArray[Any]]:
    """Draw everything, which takes minutes, and keep it for the next time."""
    if _KEPT.exists():
        return dict(np.load(_KEPT))
    whole = 0, 0, SIDE, SIDE
    sections = [SyntheticSlide(SIDE, SIDE, mpp=MPP, seed=seed) for seed in _SEEDS]
    middle = SIDE - _FINE_SIDE // 2
    fine = middle, middle, _FINE_SIDE, _FINE_SIDE
    close = [SyntheticSlide(2 * SIDE, 2 * SIDE, mpp=_FINE_MPP, seed=seed) for seed in _FINE_SEEDS]
    drawn: dict[str, npt.NDArray[Any]] = {
        "images": np.stack([section.read(*whole) for section in sections]),
        "regions": np.stack([section.truth(*whole).regions for section in sections]),
        "fine_images": np.stack([slide.read(*fine) for slide in close]),
        "fine_nuclei": np.stack([_nuclei(slide.truth(*fine).classes) for slide in close]),
    }
    np.savez(_KEPT, **drawn)  # type: ignore[arg-type]
    return drawn


def _nuclei(classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.isin(classes, [known.value for known in CLASSES]).astype(np.uint8)
