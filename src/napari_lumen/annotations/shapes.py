"""What an annotation is, whatever file it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import numpy as np
import shapely
from shapely import Polygon
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import Color

ObjectType = Literal["annotation", "detection", "cell", "tile"]
Kind = Literal[
    "polygon", "multipolygon", "rectangle", "ellipse", "line", "polyline", "multiline", "point", "multipoint",
    "collection",
]  # fmt: skip

_KINDS: dict[str, Kind] = {
    "Polygon": "polygon",
    "MultiPolygon": "multipolygon",
    "LinearRing": "polyline",
    "LineString": "polyline",
    "MultiLineString": "multiline",
    "Point": "point",
    "MultiPoint": "multipoint",
}
_ELLIPSE_CORNERS = 256  # the area of the outline is then within 0.01 % of the ellipse's


@dataclass(frozen=True, slots=True)
class Source:
    """Where an annotation comes from.

    Attributes
    ----------
    model : str or None
        Name of the model that found it; None when it was drawn by hand.
    run : str or None
        Name of the run of that model.
    """

    model: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """One outlined object.

    Attributes
    ----------
    geometry : shapely geometry
        In level-0 pixels, (x, y), pixel edges at integers; polygons run along pixel edges. A rectangle or an
        ellipse is a polygon, a line a LineString of two points.
    class_name : str or None
        Name of its class; None when it has none.
    color : (int, int, int) or None
        Red, green and blue of its class, 0 to 255.
    name : str or None
        The object's own name.
    object_type : {"annotation", "detection", "cell", "tile"}
        What QuPath takes it for: what a person drew or may correct, or one of thousands that were found.
    measurements : mapping of str to float
        By their names, with units.
    is_ellipse : bool
        Whether the polygon stands for the ellipse in its bounding box.
    locked : bool
        Whether it is kept from being moved or edited.
    nucleus : shapely geometry or None
        Outline of the nucleus of a cell.
    author : str or None
        Who drew or corrected it.
    time : datetime or None
        When that was.
    source : Source or None
        By hand, or by which model and run; None when that is not known.
    metadata : mapping of str to str
        What a file says beyond that, e.g. ``{"ASAP type": "Spline"}``.
    """

    geometry: BaseGeometry
    class_name: str | None = None
    color: Color | None = None
    name: str | None = None
    object_type: ObjectType = "annotation"
    measurements: Mapping[str, float] = field(default_factory=dict)
    is_ellipse: bool = False
    locked: bool = False
    nucleus: BaseGeometry | None = None
    author: str | None = None
    time: datetime | None = None
    source: Source | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Name of its shape; a polygon that fills its bounding box is a rectangle, as in QuPath."""
        geometry = self.geometry
        kind = _KINDS.get(geometry.geom_type, "collection")
        if kind == "polygon" and self.is_ellipse:
            return "ellipse"
        if kind == "polygon" and _is_box(geometry):
            return "rectangle"
        if kind == "polyline" and shapely.get_num_coordinates(geometry) == 2:
            return "line"
        return kind


def ellipse(x: float, y: float, right: float, bottom: float) -> Polygon:
    """Outline the ellipse in a bounding box, whose edges it touches; all in level-0 pixels."""
    angle = np.arange(_ELLIPSE_CORNERS) * (2 * np.pi / _ELLIPSE_CORNERS)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Polygon((x + right, y + bottom) / np.array(2.0) + unit * ((right - x) / 2, (bottom - y) / 2))


def moved(annotations: Iterable[Annotation], y: float, x: float) -> Iterator[Annotation]:
    """Yield annotations shifted by (y, x) level-0 pixels."""
    for item in annotations:
        yield replace(
            item,
            geometry=translate(item.geometry, x, y),
            nucleus=None if item.nucleus is None else translate(item.nucleus, x, y),
        )


def _is_box(polygon: BaseGeometry) -> bool:
    if polygon.is_empty or shapely.get_num_coordinates(polygon) != 5:
        return False
    return bool(polygon.equals(shapely.box(*polygon.bounds)))
