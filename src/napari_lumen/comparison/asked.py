"""What an evaluation is asked to do, and a truth that is read already."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.source import Objects
from napari_lumen.geometry import Region


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes
    ----------
    names : mapping of int to str
        Names of the classes by label value; empty where they follow from the files.
    ignore : int or None
        Label value in the truth of what does not count.
    ignored_names : sequence of str
        Classes of outlines that do not count.
    objects : {"areas", "numbers"} or None
        What the objects are; None where they are not scored.
    images, probability : Path or None
        Folders of the images themselves and of maps, named as the truth.
    group : re.Pattern or None
        What of a name says which patient or slide an image is of.
    tile : int
        Side of the tiles that slides are cut into, px.
    region : Region or None
        Part of the slide, level-0 px.
    corrected : bool
        Whether a run is scored with what people have corrected.
    renamed : mapping of str to str
        Classes of the truth, with the names that they have on the other side. Values of a label image are
        named by their digits.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    ignore: int | None = None
    ignored_names: Sequence[str] = ()
    objects: Objects | None = None
    images: Path | None = None
    probability: Path | None = None
    group: re.Pattern[str] | None = None
    tile: int = 2048
    region: Region | None = None
    corrected: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A truth that is read already.

    Attributes
    ----------
    name : str
    annotations : sequence of Annotation
        In level-0 pixels (x, y).
    place : str
        Where it was read; "" where it lies in no file.
    """

    name: str
    annotations: Sequence[Annotation]
    place: str = ""

    def __str__(self) -> str:
        return self.place or self.name
