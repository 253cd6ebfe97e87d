"""ASAP XML, the format of CAMELYON: named shapes in coloured groups.

Source: ASAP, annotation/XmlRepository.cpp. A group is the class. ASAP refuses a file whose annotations belong
to a group that is not listed, so every group is. It knows no holes: a polygon with holes is written as one
outline that enters each hole by a cut of no width, which ASAP's own masks and `read_asap` take as the hole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from shapely import LineString, MultiPoint, Point
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import Color
from napari_lumen.annotations.content import written
from napari_lumen.annotations.cuts import without_holes
from napari_lumen.annotations.mending import OnRepair, mended, ring, valid
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.annotations.xml_stream import Attributes, Elements, element, numbered, numbers, parse
from napari_lumen.errors import AnnotationError

ROOT = "ASAP_Annotations"
_TYPE = "ASAP type"  # in the metadata, where the geometry does not tell
_COLOR: Color = (244, 250, 88)  # ASAP's own
_NO_GROUP = "None"


def read_asap(path: str | os.PathLike[str], on_repair: OnRepair | None = None) -> list[Annotation]:
    """Read the annotations of an ASAP XML file.

    Parameters
    ----------
    path : path
        The file; plain, or packed as gzip or zip.
    on_repair : callable, optional
        Told of every outline that had to be repaired; else their number is logged.

    Returns
    -------
    list of Annotation
        In the order of the file. The class is the group, in its colour; outside every group there is none.

    Raises
    ------
    AnnotationError
        When the file is missing, cut off, no ASAP XML, or a coordinate is no number.
    """
    handler = _Reader(Path(path))
    parse(handler)
    found = []
    for item in handler.found:
        color = handler.groups.get(item.class_name or "")
        found.append(item if color is None else replace(item, color=color))
    return mended(found, handler.path, on_repair)


def write_asap(path: str | os.PathLike[str], annotations: Iterable[Annotation]) -> None:
    """Write annotations as ASAP XML.

    Parts of a shape become annotations of one name. ASAP has no place for measurements, locks, authors and
    metadata.

    Parameters
    ----------
    path : path
        The file to write.
    annotations : iterable of Annotation
        Geometry in level-0 pixels (x, y).

    Raises
    ------
    AnnotationError
        When the file cannot be written, or a line has more than two points: ASAP has none.
    """
    path = Path(path)
    with written(path) as file:
        file.writelines(line.encode() for line in _lines(path, annotations))


class _Reader(Elements):
    def __init__(self, path: Path) -> None:
        super().__init__(path, ROOT)
        self.found: list[Annotation] = []
        self.groups: dict[str, Color] = {}
        self._attributes: Attributes = {}
        self._texts: dict[str, list[str | None]] = {}

    def start_Annotation(self, attributes: Attributes) -> None:  # noqa: N802  the element's name
        self._attributes = dict(attributes.items())
        self._texts = {"X": [], "Y": [], "Order": []}

    def start_Coordinate(self, attributes: Attributes) -> None:  # noqa: N802
        for name, texts in self._texts.items():
            texts.append(attributes.get(name))

    def end_Annotation(self) -> None:  # noqa: N802
        said = self._attributes
        kind, group = said.get("Type", "None"), said.get("PartOfGroup") or _NO_GROUP
        where = f"{self.path}: annotation {len(self.found)}"
        if not self._texts["X"]:
            raise AnnotationError(f"{where} has no coordinates.")
        rows = numbers(self._texts, f"{where}, coordinate")
        points = rows[np.argsort(rows[:, 2], kind="stable"), :2]
        self.found.append(
            Annotation(
                geometry=_geometry(kind, points),
                class_name=None if group == _NO_GROUP else group,
                color=_color(said.get("Color"), where),
                name=said.get("Name") or None,
                metadata={_TYPE: kind} if kind == "Spline" else {},
            )
        )

    def start_Group(self, attributes: Attributes) -> None:  # noqa: N802
        name = attributes.get("Name", "")
        color = _color(attributes.get("Color"), f'{self.path}: group "{name}"')
        if color is not None:
            self.groups[name] = color


def _geometry(kind: str, points: npt.NDArray[np.float64]) -> BaseGeometry:
    if kind == "PointSet":
        return MultiPoint(points)
    if len(points) == 1:
        return Point(points[0])
    if kind == "Measurement":
        return LineString(points)
    return ring(points)


def _color(text: str | None, where: str) -> Color | None:
    if not text:
        return None
    try:
        packed = int(text.removeprefix("#"), 16)
        if len(text) != 7:
            raise ValueError
    except ValueError as error:
        raise AnnotationError(f'{where} has a color that is not #rrggbb, but "{text}".') from error
    return packed >> 16, packed >> 8 & 0xFF, packed & 0xFF


def _lines(path: Path, annotations: Iterable[Annotation]) -> Iterator[str]:
    yield f'<?xml version="1.0"?>\n<{ROOT}>\n\t<Annotations>\n'
    groups: dict[str, Color] = {}
    for place, item in enumerate(annotations):
        color = item.color or _COLOR
        if item.class_name is not None:
            groups.setdefault(item.class_name, color)
        said = {
            "Name": item.name if item.name is not None else f"Annotation {place}",
            "Type": "",
            "PartOfGroup": item.class_name if item.class_name is not None else _NO_GROUP,
            "Color": _hex(color),
        }
        for kind, part in _shapes(item, f"{path}: annotation {place}"):
            yield "\t\t" + element("Annotation", {**said, "Type": kind}, ">") + "\n\t\t\t<Coordinates>\n"
            points = shapely.get_coordinates(part)
            closed = shapely.get_dimensions(part) == 2
            for order, (x, y) in enumerate(numbered(points[:-1] if closed else points)):
                yield f'\t\t\t\t<Coordinate Order="{order}" X="{x}" Y="{y}" />\n'
            yield "\t\t\t</Coordinates>\n\t\t</Annotation>\n"
    yield "\t</Annotations>\n\t<AnnotationGroups>\n"
    for name, color in groups.items():
        said = {"Name": name, "PartOfGroup": _NO_GROUP, "Color": _hex(color)}
        yield "\t\t" + element("Group", said, ">") + "\n\t\t\t<Attributes />\n\t\t</Group>\n"
    yield f"\t</AnnotationGroups>\n</{ROOT}>\n"


def _shapes(item: Annotation, where: str) -> Iterator[tuple[str, BaseGeometry]]:
    """Yield ASAP's shapes of an annotation with the names of their types."""
    geometry = valid(item.geometry)
    if geometry.is_empty:
        return
    if geometry.geom_type == "MultiPoint":
        yield "PointSet", geometry
        return
    for part in shapely.get_parts(geometry):
        kind = replace(item, geometry=part).kind
        if kind == "point":
            yield "Dot", part
        elif kind == "line":
            yield "Measurement", part
        elif kind == "rectangle":
            yield "Rectangle", part
        elif kind in ("polygon", "ellipse"):
            yield item.metadata.get(_TYPE, "Polygon"), without_holes(part)
        else:
            raise AnnotationError(
                f"{where} is a line of several points, which ASAP has not: leave it out, or write GeoJSON."
            )


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
