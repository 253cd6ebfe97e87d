"""What the parts of a split hold of each class, in what the recipe learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.data.patch_rules import PatchLabel
from napari_lumen.training.data.splits import Split
from napari_lumen.training.recipes.multistage_slides import SlideSet

Unit = Literal["pixels", "objects", "images", "patches"]
BACKGROUND = "background"
_PATCHES = {"normal": PatchLabel.NORMAL, "tumour": PatchLabel.TUMOUR}


@dataclass(frozen=True, slots=True)
class ClassAmount:
    """One class in one part.

    Attributes
    ----------
    name : str
    amount : int
        In the unit of the whole count.
    images : int
        How many images (slides) show it.
    """

    name: str
    amount: int
    images: int


@dataclass(frozen=True, slots=True)
class PartContents:
    """One part of a split.

    Attributes
    ----------
    name : str
    images : int
    classes : tuple of ClassAmount
    """

    name: str
    images: int
    classes: tuple[ClassAmount, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """All parts of a split.

    Attributes
    ----------
    unit : {"pixels", "objects", "images", "patches"}
        images of one class each; patches, of slides that are cut; objects, where they are told apart; else
        labelled pixels.
    parts : tuple of PartContents
    """

    unit: Unit
    parts: tuple[PartContents, ...]


def count_contents(
    images: Pictures,
    split: Split,
    *,
    slides: SlideSet | None = None,
    check: Callable[[], None] = lambda: None,
) -> Contents:
    """Count the classes in each part of a split; every label image is read once.

    Parameters
    ----------
    images : Pictures
    split : Split
    slides : SlideSet, optional
        The same items as grids of patches, where the recipe learns from these.
    check : callable, optional
        Called for each image; what it raises ends the count.
    """
    unit, amounts = _counter(images, slides)
    parts = []
    for part in split.parts:
        numbers = split.indices(images.items, part)
        totals: dict[str, list[int]] = {}
        for number in numbers:
            check()
            for name, amount in amounts(number).items():
                total = totals.setdefault(name, [0, 0])
                total[0] += amount
                total[1] += amount > 0
        classes = tuple(ClassAmount(name, amount, shown) for name, (amount, shown) in totals.items())
        parts.append(PartContents(part, len(numbers), classes))
    return Contents(unit, tuple(parts))


def _counter(images: Any, slides: SlideSet | None) -> tuple[Unit, Callable[[int], Mapping[str, int]]]:
    """Return the unit and what counts one image."""
    if slides is not None:
        return "patches", lambda number: {
            name: int((slides.cells(number) == label).sum()) for name, label in _PATCHES.items()
        }
    names = [known.name for known in images.classes]
    if hasattr(images, "grade"):
        return "images", lambda number: {
            name: int(place == images.grade(number)) for place, name in enumerate(names)
        }
    values = {known.name: known.value for known in images.classes}
    if hasattr(images, "instances"):
        return "objects", lambda number: _objects(images.instances(number), images.labels(number), values)
    return "pixels", lambda number: _pixels(images.labels(number), values)


def _objects(
    instances: npt.NDArray[np.int32], labels: npt.NDArray[np.uint8], values: Mapping[str, int]
) -> dict[str, int]:
    inside = (instances > 0) & (labels != IGNORE)
    numbers, first = np.unique(instances[inside], return_index=True)
    value_of = labels[inside][first] if len(numbers) else np.zeros(0, np.uint8)
    return {name: int((value_of == value).sum()) for name, value in values.items()}


def _pixels(labels: npt.NDArray[np.uint8], values: Mapping[str, int]) -> dict[str, int]:
    found = np.bincount(labels.ravel(), minlength=IGNORE + 1)
    return {BACKGROUND: int(found[0]), **{name: int(found[value]) for name, value in values.items()}}
