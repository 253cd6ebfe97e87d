"""Annotations with their classes: one table, and which annotation is of which class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable, Color
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError

_OWN = 254  # slots that labels of 8 bits have room for, beside the background


@dataclass(frozen=True, slots=True)
class Classified:
    """Annotations in slots, and the class of each slot.

    A class that is renamed, recoloured or merged changes what a slot stands for and touches no annotation:
    that takes as long for a million as for one.

    Attributes
    ----------
    items : tuple of Annotation
        As they were read or drawn.
    slots : ndarray (n,) uint8
        Slot of each annotation, below `len(classes)`.
    classes : tuple of str or None
        Name of the class of each slot; None for no class.
    table : ClassTable
        Holds every class of a slot, and others that are not used.
    """

    items: tuple[Annotation, ...]
    slots: npt.NDArray[np.uint8]
    classes: tuple[str | None, ...]
    table: ClassTable

    @classmethod
    def of(cls, annotations: Iterable[Annotation], table: ClassTable | None = None) -> Classified:
        """Put annotations into slots, one a class.

        Parameters
        ----------
        annotations : iterable of Annotation
        table : ClassTable, optional
            Classes that are known; those that are not are added, in the colours of the annotations.

        Raises
        ------
        AnnotationError
            When there are more than 254 classes.
        """
        items = tuple(annotations)
        names: dict[str | None, int] = {}
        slots = [names.setdefault(item.class_name, len(names)) for item in items]
        if len(names) > _OWN:
            raise AnnotationError(f"There are {len(names):,} classes, but at most {_OWN} can be told apart.")
        found = table or ClassTable(classes=())
        for name, color in colors_of(items).items():
            if name not in found:
                found = found.added(name, color)
        return cls(items, np.array(slots, np.uint8), tuple(names), found)

    @property
    def counts(self) -> dict[str | None, int]:
        """Annotations by class, those of the table that have none included; None for those without."""
        found: dict[str | None, int] = {item.name: 0 for item in self.table}
        each = np.bincount(self.slots, minlength=len(self.classes))
        for name, count in zip(self.classes, each.tolist(), strict=True):
            found[name] = found.get(name, 0) + count
        return found

    def annotations(self) -> list[Annotation]:
        """Return the annotations in the names and colours of the table."""
        color = {item.name: item.color for item in self.table}
        found = []
        for item, slot in zip(self.items, self.slots.tolist(), strict=True):
            name = self.classes[slot]
            shown = item.color if name is None else color[name]
            if name == item.class_name and shown == item.color:
                found.append(item)
            else:
                found.append(replace(item, class_name=name, color=shown))
        return found

    def with_table(self, table: ClassTable) -> Classified:
        """Return the same with another table that holds the same classes, and perhaps more.

        Raises
        ------
        AnnotationError
            When a class in use is missing.
        """
        for name, count in self.counts.items():
            if count and name is not None and name not in table:
                raise AnnotationError(in_use(name, count))
        return replace(self, table=table)

    def renamed(self, name: str, new: str) -> Classified:
        """Return the same with a class under another name, see `ClassTable.renamed`."""
        table = self.table.renamed(name, new)
        return replace(self, table=table, classes=_replaced(self.classes, name, new.strip()))

    def merged(self, name: str, into: str) -> Classified:
        """Return the same with one class made part of another.

        Raises
        ------
        AnnotationError
            When one of them is not in the table, or they are the same.
        """
        if name == into:
            raise AnnotationError(f'"{name}" cannot be merged with itself: choose another class.')
        if into not in self.table:
            raise AnnotationError(f'There is no class "{into}" to merge with.')
        return replace(self, table=self.table.removed(name), classes=_replaced(self.classes, name, into))

    def removed(self, name: str) -> Classified:
        """Return the same without a class that no annotation is of.

        Raises
        ------
        AnnotationError
            When it is in use, or not in the table.
        """
        if count := self.counts.get(name, 0):
            raise AnnotationError(in_use(name, count))
        return replace(self, table=self.table.removed(name), classes=_replaced(self.classes, name, None))


def colors_of(annotations: Iterable[Annotation]) -> dict[str, Color | None]:
    """Return the classes of annotations in the order in which they come, with the first colour of each."""
    found: dict[str, Color | None] = {}
    for item in annotations:
        if item.class_name is not None and found.get(item.class_name) is None:
            found[item.class_name] = item.color
    return found


def in_use(name: str, count: int) -> str:
    """Return why a class cannot be removed."""
    kept = "1 annotation is" if count == 1 else f"{count:,} annotations are"
    return f'The class "{name}" is in use: {kept} of it. Merge it with another class instead.'


def _replaced(classes: Sequence[str | None], name: str, new: str | None) -> tuple[str | None, ...]:
    return tuple(new if item == name else item for item in classes)
