"""One thing that is trained on, with all that decides on which side of a split it belongs."""

from __future__ import annotations

from dataclasses import dataclass

IGNORE = 255  # "no label here", in label arrays of uint8


@dataclass(frozen=True, slots=True)
class Item:
    """One image, field or slide of a set.

    Attributes
    ----------
    name : str
        Unique in its set; shown in errors.
    tile, slide, patient : str or None
        What it was cut from; items that share one must stay on the same side of a split.
    group : str or None
        Stain group, such as a scanner or a laboratory.
    """

    name: str
    tile: str | None = None
    slide: str | None = None
    patient: str | None = None
    group: str | None = None
