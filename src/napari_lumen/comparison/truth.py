"""What of a truth counts for a run: the classes that the run has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.comparison.asked import Drawn
from napari_lumen.comparison.renaming import NO_CLASS, require_targets, with_names
from napari_lumen.comparison.rules import BACKGROUND, REGION, RULES
from napari_lumen.counting import counted
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
    renamed : mapping of str to str
        Classes of the drawing with the names that they have in the run.
    """

    drawn: Drawn | Path
    ignored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


def truth_for(
    drawn: Drawn,
    classes: ClassTable,
    ignored: Iterable[str] = (),
    renamed: Mapping[str, str] | None = None,
) -> Truth:
    """Return what was drawn as a truth for a run.

    Parameters
    ----------
    drawn : Drawn
    classes : ClassTable
        Of the run. What is drawn of another class does not count.
    ignored : iterable of str
        Classes that do not count either.
    renamed : mapping of str to str, optional
        Classes of the drawing with the names that they have in the run; those that are not drawn are left be.

    Raises
    ------
    AnnotationError
        When nothing encloses an area, no class is one of the run's, what has no class might be of several, or
        one is to be renamed to what the run does not have.
    """
    asked = dict(renamed or {})
    require_targets(asked, [item.name for item in classes])
    closed = [item for item in drawn.annotations if item.geometry.area > 0]
    if not closed:
        raise AnnotationError(f"{drawn} outlines no area: there is nothing to compare the run with.")
    there = {item.class_name or NO_CLASS for item in closed}
    asked = {name: target for name, target in asked.items() if name in there}
    names = Counter(item.class_name for item in with_names(closed, asked))
    unknown = {name for name in names if name and name not in classes and name not in RULES}
    if not any(name is None or name in classes or name in (BACKGROUND, REGION) for name in names):
        raise AnnotationError(
            f"{drawn} has the classes {', '.join(sorted(unknown)) or 'none'}, and the run "
            f"{', '.join(item.name for item in classes)}: say which stands for which (--map, or the names in "
            "the Evaluate panel), or rename those of the annotations as the run's."
        )
    if names[None] and len(classes) > 1:
        raise AnnotationError(
            f"{counted(names[None], 'outline')} of {drawn} without a class, and the run has "
            f"{', '.join(item.name for item in classes)}: say what they are, or give each one of these."
        )
    left_out = sorted(unknown | set(ignored))
    kept = Drawn(drawn.name, closed, drawn.place)
    return Truth(kept, tuple(left_out), tuple(sorted(unknown)), asked)
