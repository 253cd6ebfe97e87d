"""What of a truth counts for a run: the classes that the run has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.comparison.pairs import Drawn
from napari_lumen.comparison.rules import RULES
from napari_lumen.errors import AnnotationError


@dataclass(frozen=True)
class Truth:
    """What was drawn, and the classes of it that do not count.

    Attributes
    ----------
    drawn : Drawn or Path
        A path of an image of labels.
    ignored : tuple of str
        Classes that do not count.
    unknown : tuple of str
        Those of them that are none of the run's.
    """

    drawn: Drawn | Path
    ignored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def truth_for(drawn: Drawn, classes: ClassTable, ignored: Iterable[str] = ()) -> Truth:
    """Return what was drawn as a truth for a run.

    Parameters
    ----------
    drawn : Drawn
    classes : ClassTable
        Of the run. What is drawn of another class does not count.
    ignored : iterable of str
        Classes that do not count either.

    Raises
    ------
    AnnotationError
        When nothing encloses an area, no class is one of the run's, or what has no class might be of several.
    """
    closed = [item for item in drawn.annotations if item.geometry.area > 0]
    if not closed:
        raise AnnotationError(f"{drawn} outlines no area: there is nothing to compare the run with.")
    names = Counter(item.class_name for item in closed)
    unknown = {name for name in names if name and name not in classes and name not in RULES}
    if not any(name is None or name in classes for name in names):
        raise AnnotationError(
            f"{drawn} has the classes {', '.join(sorted(unknown)) or 'none'}, and the run "
            f"{', '.join(item.name for item in classes)}: rename those of the annotations as the run's."
        )
    if names[None] and len(classes) > 1:
        raise AnnotationError(
            f"{names[None]:,} outlines of {drawn} have no class, and the run has "
            f"{', '.join(item.name for item in classes)}: give each outline one of these."
        )
    left_out = sorted(unknown | set(ignored))
    return Truth(Drawn(drawn.name, closed, drawn.place), tuple(left_out), tuple(sorted(unknown)))
