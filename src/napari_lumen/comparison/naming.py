"""Which classes two sides have: as given, of the run, by names of outlines, or by values in images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.asked import Drawn, Wanted
from napari_lumen.comparison.renaming import NO_CLASS, require_known
from napari_lumen.comparison.rules import BACKGROUND, REGION, RULES
from napari_lumen.comparison.sources import LabelImage, read_label_image
from napari_lumen.errors import AnnotationError, some_of
from napari_lumen.evaluation.matching import are_numbers
from napari_lumen.inference import Run

Raw = LabelImage | list[Annotation] | Run  # a side of a comparison before it is looked at
_MOST_CLASSES = 100  # values of label images that may be classes without a name


def classes_of(raw: Mapping[str, tuple[Raw, Raw]], run: Run | None, wanted: Wanted) -> ClassTable:
    """Return the classes of what is compared.

    Raises
    ------
    AnnotationError
        When names and values do not fit, or values are numbers of objects.
    """
    if wanted.names:
        named = list(wanted.names.values())
        if len(set(named)) < len(named):
            raise AnnotationError(f"Two values are named alike by --class: {', '.join(named)}.")
        unnamed = [item for item in run.record.classes if item.value not in wanted.names] if run else []
        if unnamed:
            raise AnnotationError(
                f"--class does not name the value {unnamed[0].value} of the run, {unnamed[0].name!r}: name "
                "all of its classes, or none. --map says which class of the truth is meant."
            )
        return ClassTable.named(wanted.names)
    if run is not None:
        return run.record.classes
    sides = [side for pair in raw.values() for side in pair]
    outlines = [item for side in sides if isinstance(side, list) for item in side]
    names = _names(sides, wanted)
    if wanted.objects == "numbers" or (outlines and not names):
        return ClassTable.named([names[0] if len(names) == 1 else "object"])
    images = [side for side in sides if isinstance(side, LabelImage)]
    if len(names) > 1 and images:
        raise AnnotationError(
            f"{images[0].path} has values, and the outlines it is compared with have names, "
            f"{', '.join(names)}: say by --class which is which, such as --class 1={names[0]}."
        )
    if names:
        return ClassTable.named(names)
    return ClassTable.named({value: f"class {value}" for value in _values(images) or [1]})


def require_common(
    raw: Mapping[str, tuple[Raw, Raw]], predicted: Path, truth: Path | Drawn, wanted: Wanted
) -> None:
    """Make sure that the two sides have a class in common, where both name some.

    Raises
    ------
    AnnotationError
        When they have none, or a class of one side is one of the other but for its capitals.
    """
    if wanted.names or wanted.objects == "numbers":
        return
    said, there = ([pair[side] for pair in raw.values()] for side in (0, 1))
    names = _names(said, wanted), _names(there, wanted)
    if not all(names):
        images = [[side for side in sides if isinstance(side, LabelImage)] for sides in (said, there)]
        values = [_values(side) for side in images]
        if all(values) and not set(values[0]) & set(values[1]):
            raise AnnotationError(
                f"{predicted} has the values {some_of([*map(str, values[0])])}, {truth} "
                f"{some_of([*map(str, values[1])])}: none in common. Say by --map which value of the truth "
                f"is which, such as --map '{values[1][0]}=class {values[0][0]}'."
            )
        return
    known = {name.casefold(): name for name in names[0]}
    other = [name for name in names[1] if name not in names[0] and name.casefold() in known]
    if other or not set(names[0]) & set(names[1]):
        first = other[0] if other else names[1][0]
        meant = known.get(first.casefold(), names[0][0])
        raise AnnotationError(
            f"{predicted} has the classes {some_of(names[0])}, {truth} {some_of(names[1])}: say by --map "
            f"which class of the truth is which, such as --map '{first}={meant}'."
        )


def require_names(raw: Mapping[str, tuple[Raw, Raw]], classes: ClassTable, wanted: Wanted) -> None:
    """Make sure that what is to be renamed is there, and that the other side has the names it is to have.

    Raises
    ------
    AnnotationError
        When it is not.
    """
    truths = [there for _, there in raw.values()]
    images = [there for there in truths if isinstance(there, LabelImage)]
    if images and wanted.objects == "numbers":
        raise AnnotationError(
            f"{images[0].path} numbers objects, which have no classes that could be renamed: leave that out."
        )
    if images and REGION in wanted.renamed.values():
        raise AnnotationError(
            f"A value of {images[0].path} cannot be counted as {REGION}, which is for outlines: "
            f"{BACKGROUND} or Ignore* can."
        )
    names = {item.class_name or NO_CLASS for there in truths if isinstance(there, list) for item in there}
    names |= {str(value) for value in _values(images)}
    require_known(wanted.renamed, names, [item.name for item in classes])


def _names(sides: Iterable[Raw], wanted: Wanted) -> list[str]:
    """Return the classes that outlines name, sorted."""
    outlines = [item for side in sides if isinstance(side, list) for item in side]
    return sorted({item.class_name for item in outlines if item.class_name} - {*wanted.ignored_names, *RULES})


def _values(images: Iterable[LabelImage]) -> list[int]:
    """Return the label values above 0 that occur in images of classes, sorted."""
    found: set[int] = set()
    for image in images:
        labels = read_label_image(image.path)  # not kept: a folder of images may be large
        values = {int(value) for value in np.unique(labels)} - {0, image.ignore}
        if len(values) > _MOST_CLASSES or are_numbers(labels, values):
            raise AnnotationError(
                f"{image.path} has {len(values):,} values, which number objects: say so by --objects "
                "numbers, or name them as classes by --class."
            )
        found |= values
    return sorted(found)
