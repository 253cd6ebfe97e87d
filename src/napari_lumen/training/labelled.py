"""What the parts of a split must show, so that a training learns and can tell its epochs apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari_lumen.errors import RunError
from napari_lumen.training.data.image_set import Labels, Pictures
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.data.labelled_folder import require_a_class
from napari_lumen.training.data.splits import Split

_PARTS = ("train", "validation", "test")


def require_labels(images: Pictures, split: Split, check: Callable[[], None]) -> None:
    """Make sure that each part has a label and, of graded images, that every class can be learnt.

    Images are gone through until one has a label, `check` being called for each.

    Raises
    ------
    RunError
        Naming the part, and the class that it lacks.
    """
    require_a_class(images, split, check)
    labels, grade = getattr(images, "labels", None), getattr(images, "grade", None)
    for part in _PARTS:
        numbers = split.indices(images.items, part) if part in split.parts else []
        if numbers and labels is not None and not _any_labelled(labels, numbers, check):
            raise RunError(
                f"No image of the part {part!r} has a label: all of their pixels are of no label. Label "
                "some, or divide the data anew."
            )
        if part == "train" and grade is not None:
            seen = {grade(one) for one in numbers}
            classes = getattr(images, "classes", ())
            missing = [known.name for place, known in enumerate(classes) if place not in seen]
            if missing:
                raise RunError(
                    f"No image of the part 'train' is of the class {missing[0]!r}, so it cannot be learnt. "
                    "Divide the data anew, or leave the class out."
                )


def _any_labelled(labels: Callable[[int], Labels], numbers: Sequence[int], check: Callable[[], None]) -> bool:
    for number in numbers:
        check()
        if (labels(number) != IGNORE).any():
            return True
    return False
