"""Writing Aperio ImageScope XML, and BACH and MoNuSAC, which keep to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from napari_lumen.annotations.classes import Color
from napari_lumen.annotations.content import written
from napari_lumen.annotations.imagescope import ELLIPSE, POLYGON, Labels
from napari_lumen.annotations.mending import valid
from napari_lumen.annotations.monusac import COLORS
from napari_lumen.annotations.shapes import Annotation, ellipse
from napari_lumen.annotations.xml_stream import element, numbered
from napari_lumen.errors import AnnotationError

_COLOR: Color = (0, 255, 0)  # ImageScope's own


def write_imagescope(
    path: str | os.PathLike[str], annotations: Iterable[Annotation], labels: Labels = "imagescope"
) -> None:
    """Write annotations as ImageScope XML, a layer a class.

    Parts of a shape become regions of one name. ImageScope has no place for measurements, locks, authors and
    metadata.

    Parameters
    ----------
    path : path
        The file to write.
    annotations : iterable of Annotation
        Geometry in level-0 pixels (x, y).
    labels : {"imagescope", "bach", "monusac"}
        Where the class is written, as in `imagescope.read_imagescope`.

    Raises
    ------
    AnnotationError
        When the file cannot be written, or an annotation is a point or a line.
    """
    path = Path(path)
    layers: dict[tuple[str | None, Color], list[Annotation]] = {}
    for place, item in enumerate(annotations):
        if shapely.get_dimensions(item.geometry) < 2:
            raise AnnotationError(
                f"{path}: annotation {place} is a {item.kind}, but ImageScope's regions are areas: leave it "
                "out, or write GeoJSON."
            )
        color = item.color or (COLORS.get(item.class_name or "") if labels == "monusac" else None) or _COLOR
        layers.setdefault((item.class_name, color), []).append(item)
    with written(path) as file:
        file.write(b"<Annotations>\n")
        for place, ((class_name, color), items) in enumerate(layers.items(), 1):
            file.writelines(line.encode() for line in _lines(place, class_name, color, items, labels))
        file.write(b"</Annotations>\n")


def _lines(
    place: int, class_name: str | None, color: Color, items: list[Annotation], labels: Labels
) -> Iterator[str]:
    packed = color[0] + 256 * color[1] + 65536 * color[2]
    # also where another attribute has the class: who reads the file as ImageScope's finds it all the same
    name = class_name or ""
    yield "\t" + element("Annotation", {"Id": place, "Name": name, "LineColor": packed, "Visible": 1}, ">")
    if labels == "monusac" and class_name is not None:
        said = element("Attribute", {"Name": class_name, "Id": 0, "Value": ""})
        yield f"\n\t\t<Attributes>{said}</Attributes>\n\t\t<Regions>\n"
    else:
        yield "\n\t\t<Attributes/>\n\t\t<Regions>\n"
    count = 0
    for item in items:
        for kind, negative, points in _rings(item):
            count += 1
            area, length = _measured(kind, points)
            attributes = {
                "Id": count, "Type": kind, "Text": (item.name if labels == "imagescope" else None) or "",
                "NegativeROA": int(negative), "Area": area, "Length": length,
            }  # fmt: skip
            yield "\t\t\t" + element("Region", attributes, ">") + "\n"
            if labels == "bach" and class_name is not None:
                said = element("Attribute", {"Id": 0, "Name": "Description", "Value": class_name})
                yield f"\t\t\t\t<Attributes>{said}</Attributes>\n"
            yield "\t\t\t\t<Vertices>\n"
            for x, y in numbered(points):
                yield f'\t\t\t\t\t<Vertex X="{x}" Y="{y}" Z="0"/>\n'
            yield "\t\t\t\t</Vertices>\n\t\t\t</Region>\n"
    yield "\t\t</Regions>\n\t</Annotation>\n"


def _rings(item: Annotation) -> Iterator[tuple[str, bool, npt.NDArray[np.float64]]]:
    """Yield type, whether negative, and vertices of the regions of an annotation, holes after their shell."""
    for part in shapely.get_parts(valid(item.geometry)):
        if part.is_empty or part.geom_type != "Polygon":
            continue  # crossed itself, and encloses nothing
        if item.is_ellipse:
            yield ELLIPSE, False, np.reshape(part.bounds, (2, 2))
            continue
        for place, outline in enumerate((part.exterior, *part.interiors)):
            yield POLYGON, place > 0, shapely.get_coordinates(outline)


def _measured(kind: str, points: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return area and length as ImageScope writes them, in pixels."""
    if kind == ELLIPSE:
        outline = ellipse(*points.ravel())
        width, height = points[1] - points[0]
        return round(float(np.pi * width * height / 4), 3), round(outline.length, 3)
    outline = Polygon(points)
    return round(outline.area, 3), round(outline.length, 3)
