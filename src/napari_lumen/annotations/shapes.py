"""What an annotation is, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import Color

ObjectType = Literal["annotation", "detection"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One outlined object.

    Attributes
    ----------
    geometry : shapely geometry
        In level-0 pixels, (x, y), pixel edges at integers; polygons run along pixel edges.
    class_name : str or None
        Name of its class; None when it has none.
    color : (int, int, int) or None
        Red, green and blue of its class, 0 to 255.
    name : str or None
        The object's own name.
    object_type : {"annotation", "detection"}
        What QuPath takes it for: what a person drew or may correct, or one of thousands that were found.
    measurements : mapping of str to float
        By their names, with units.
    """

    geometry: BaseGeometry
    class_name: str | None = None
    color: Color | None = None
    name: str | None = None
    object_type: ObjectType = "annotation"
    measurements: Mapping[str, float] = field(default_factory=dict)
