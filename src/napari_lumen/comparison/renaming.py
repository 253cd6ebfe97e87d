"""Classes of a truth that are named otherwise on the other side, such as Tumor and tumour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.rules import BACKGROUND, IGNORED, RULES
from napari_lumen.errors import AnnotationError

NO_CLASS = ""  # stands for outlines without a class


def require_known(renamed: Mapping[str, str], truth: Iterable[str], said: Iterable[str]) -> None:
    """Make sure that names to be changed are there, and that those they are changed to are known.

    Parameters
    ----------
    renamed : mapping of str to str
        Classes of the truth with the names that they are to have.
    truth, said : iterable of str
        Names of the classes of the truth, `NO_CLASS` among them, and of the other side.

    Raises
    ------
    AnnotationError
        Names what is not there, and what there is.
    """
    there = set(truth)
    for name in renamed:
        if name not in there:
            known = ", ".join(sorted(item for item in there if item)) or "none"
            called = f"class {name!r}" if name else "outline without a class"
            raise AnnotationError(f"The truth has no {called} that could be renamed; there is {known}.")
    require_targets(renamed, said)


def require_targets(renamed: Mapping[str, str], said: Iterable[str]) -> None:
    """Make sure that the names that classes are to have are known; see `require_known`."""
    known = list(said)
    for name, target in renamed.items():
        if target not in known and target not in RULES:
            raise AnnotationError(
                f"{name or 'What has no class'!r} cannot be counted as {target!r}; there is "
                f"{', '.join(known)}, and {BACKGROUND} or {IGNORED} for what is none of these or does not "
                "count."
            )


def with_names(annotations: Iterable[Annotation], renamed: Mapping[str, str]) -> list[Annotation]:
    """Return outlines under the names that they have on the other side."""
    return [
        replace(item, class_name=renamed[item.class_name or NO_CLASS])
        if (item.class_name or NO_CLASS) in renamed
        else item
        for item in annotations
    ]


def with_values(renamed: Mapping[str, str], classes: ClassTable, ignore: int | None) -> dict[int, int]:
    """Return the values of a label image with those that take their place.

    Parameters
    ----------
    renamed : mapping of str to str
        Digits of a value, and the name of a class.
    classes : ClassTable
        Of the other side.
    ignore : int or None
        Value of what does not count.
    """
    rules = {BACKGROUND: 0, IGNORED: ignore or 0}
    return {
        int(value): rules[name] if name in rules and name not in classes else classes[name].value
        for value, name in renamed.items()
        if value.isdigit()
    }
