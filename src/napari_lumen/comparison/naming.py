"""Which classes two sides have: as given, of the run, by names of outlines, or by values in images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.asked import Drawn, Wanted
from napari_lumen.comparison.label_image import LabelImage, read_label_image
from napari_lumen.comparison.renaming import NO_CLASS, require_known
from napari_lumen.comparison.rules import BACKGROUND, IGNORED, REGION, RULES
from napari_lumen.errors import AnnotationError, some_of
from napari_lumen.evaluation.matching import are_numbers
from napari_lumen.inference import Run

Raw = LabelImage | list[Annotation] | Run  # a side of a comparison before it is looked at
_MOST_CLASSES = 100  # values of label images that may be classes without a name


@dataclass(frozen=True)
class Side:
    """One side of all that is compared, and what names or numbers its classes."""

    raw: Sequence[Raw]
    wanted: Wanted

    @property
    def outlines(self) -> list[Annotation]:
        """All of its outlines."""
        return [item for side in self.raw if isinstance(side, list) for item in side]

    @property
    def images(self) -> list[LabelImage]:
        """All of its label images."""
        return [side for side in self.raw if isinstance(side, LabelImage)]

    @cached_property
    def names(self) -> list[str]:
        """The classes that outlines name, sorted."""
        named = {item.class_name for item in self.outlines if item.class_name}
        return sorted(named - {*self.wanted.ignored_names, *RULES})

    @cached_property
    def values(self) -> list[int]:
        """The label values above 0 that occur in images of classes, sorted."""
        found: set[int] = set()
        for image in self.images:
            labels = read_label_image(image.path)  # not kept: a folder of images may be large
            values = {int(value) for value in np.unique(labels)} - {0, image.ignore}
            if len(values) > _MOST_CLASSES or are_numbers(labels, values):
                raise AnnotationError(
                    f"{image.path} has {len(values):,} values, which number objects: say so by --objects "
                    "numbers, or name them as classes by --class."
                )
            found |= values
        return sorted(found)


def classes_of(said: Side, there: Side, run: Run | None, wanted: Wanted) -> ClassTable:
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
    names = sorted({*said.names, *there.names})
    if wanted.objects == "numbers" or ((said.outlines or there.outlines) and not names):
        return ClassTable.named([names[0] if len(names) == 1 else "object"])
    images = [*said.images, *there.images]
    if len(names) > 1 and images:
        raise AnnotationError(
            f"{images[0].path} has values, and the outlines it is compared with have names, "
            f"{', '.join(names)}: say by --class which is which, such as --class 1={names[0]}."
        )
    if names:
        return ClassTable.named(names)
    return ClassTable.named(
        {value: f"class {value}" for value in sorted({*said.values, *there.values}) or [1]}
    )


def require_common(said: Side, there: Side, predicted: Path, truth: Path | Drawn, wanted: Wanted) -> None:
    """Make sure that the two sides have a class in common, where both name some.

    Raises
    ------
    AnnotationError
        When they have none, or a class of one side is one of the other but for its capitals.
    """
    if wanted.names or wanted.objects == "numbers":
        return
    if not (said.names and there.names):
        if said.values and there.values and not set(said.values) & set(there.values):
            raise AnnotationError(
                f"{predicted} has the values {some_of([*map(str, said.values)])}, {truth} "
                f"{some_of([*map(str, there.values)])}: none in common. Say by --map which value of the "
                f"truth is which, such as --map '{there.values[0]}=class {said.values[0]}'."
            )
        return
    known = {name.casefold(): name for name in said.names}
    other = [name for name in there.names if name not in said.names and name.casefold() in known]
    if other or not set(said.names) & set(there.names):
        first = other[0] if other else there.names[0]
        meant = known.get(first.casefold(), said.names[0])
        raise AnnotationError(
            f"{predicted} has the classes {some_of(said.names)}, {truth} {some_of(there.names)}: say by "
            f"--map which class of the truth is which, such as --map '{first}={meant}'."
        )


def require_names(there: Side, classes: ClassTable, wanted: Wanted) -> None:
    """Make sure that what is to be renamed is there, and that the other side has the names it is to have.

    Raises
    ------
    AnnotationError
        When it is not.
    """
    images = there.images
    if images and wanted.objects == "numbers":
        raise AnnotationError(
            f"{images[0].path} numbers objects, which have no classes that could be renamed: leave that out."
        )
    if images and REGION in wanted.renamed.values():
        raise AnnotationError(
            f"A value of {images[0].path} cannot be counted as {REGION}, which is for outlines: "
            f"{BACKGROUND} or {IGNORED} can."
        )
    names = {item.class_name or NO_CLASS for item in there.outlines} | {str(value) for value in there.values}
    require_known(wanted.renamed, names, [item.name for item in classes])
