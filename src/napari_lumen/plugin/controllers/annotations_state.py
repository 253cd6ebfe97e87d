"""What the Annotations panel shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from napari_lumen.annotations.classes import ClassTable, Color
from napari_lumen.plugin.annotation_shapes import NO_CLASS


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class; its name is "" for what has none.

    Attributes
    ----------
    name : str
    color : (int, int, int)
    key : int or None
        Number key that chooses it.
    ignore : bool
        Whether training and scores pass over it.
    count : int
        Annotations of it in the layer.
    shown : bool
    """

    name: str
    color: Color
    key: int | None
    ignore: bool
    count: int
    shown: bool


@dataclass(frozen=True, slots=True)
class AnnotationsState:
    """What is known and can be done.

    Attributes
    ----------
    layers : tuple of str
        Names of the layers of annotations, topmost first.
    layer : str or None
        The one whose classes are shown.
    rows : tuple of ClassRow
    chosen : str or None
        Class of what is drawn next.
    undo, redo : str or None
        What would be undone or done again; None when nothing.
    editable : bool
        Whether single shapes can be drawn and edited.
    busy : str
        What is being read or written; "" for nothing.
    """

    layers: tuple[str, ...] = ()
    layer: str | None = None
    rows: tuple[ClassRow, ...] = ()
    chosen: str | None = None
    undo: str | None = None
    redo: str | None = None
    editable: bool = True
    busy: str = ""


def rows_of(table: ClassTable, counts: Mapping[str, int], hidden: Collection[str]) -> tuple[ClassRow, ...]:
    """Return the classes of a table as rows, and one for what has no class where there is any."""
    rows = [
        ClassRow(
            item.name, item.color, item.key, item.ignore, counts.get(item.name, 0), item.name not in hidden
        )
        for item in table
    ]
    if counts.get(""):
        rows.append(ClassRow("", NO_CLASS, None, False, counts[""], "" not in hidden))
    return tuple(rows)
