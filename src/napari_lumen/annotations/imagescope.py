"""Aperio ImageScope XML: layers of regions, holes as negative regions. BACH and MoNuSAC keep to it.

Source: the files themselves; there is no published schema. A layer (``Annotation``) has a name, a colour and
attributes; a region has a type (0 polygon, 1 rectangle, 2 ellipse by two corners), a text and attributes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import shapely
from shapely import LineString, Point, Polygon
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.bach import class_of_label
from napari_lumen.annotations.classes import Color
from napari_lumen.annotations.mending import OnRepair, Repair, mended, report, ring, valid
from napari_lumen.annotations.monusac import COLORS, class_of_attribute
from napari_lumen.annotations.shapes import Annotation, ellipse
from napari_lumen.annotations.xml_stream import Attributes, Elements, numbers, parse
from napari_lumen.errors import AnnotationError

ROOT = "Annotations"
Labels = Literal["imagescope", "bach", "monusac"]
POLYGON, RECTANGLE, ELLIPSE = "0", "1", "2"  # types of regions


@dataclass(slots=True)
class _Region:
    attributes: Attributes
    label: str | None = None  # the value of its first attribute
    points: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass(slots=True)
class _Layer:
    attributes: Attributes
    names: list[str] = field(default_factory=list)  # of its attributes
    regions: list[_Region] = field(default_factory=list)


def read_imagescope(
    path: str | os.PathLike[str], on_repair: OnRepair | None = None, labels: Labels | None = None
) -> list[Annotation]:
    """Read the regions of an ImageScope XML file.

    Parameters
    ----------
    path : path
        The file; plain, or packed as gzip or zip.
    on_repair : callable, optional
        Told of every outline that had to be repaired, and of negative regions that lie in no other; else
        their number is logged.
    labels : {"imagescope", "bach", "monusac"}, optional
        Where the class stands: in the name of the layer, in the first attribute or the text of the region, or
        in the attribute of the layer. Found out from the file when left out.

    Returns
    -------
    list of Annotation
        In the order of the file; negative regions are holes in the region before them that surrounds them.

    Raises
    ------
    AnnotationError
        When the file is missing, cut off, no ImageScope XML, or a coordinate is no number.
    """
    handler = _Reader(Path(path))
    parse(handler)
    chosen = labels or _labels(handler.layers)
    found: list[Annotation] = []
    repairs: list[Repair] = []
    for layer in handler.layers:
        for region, geometry in _holed(layer, handler.path, repairs):
            found.append(_annotation(layer, region, geometry, chosen, handler.path))
    report(repairs, handler.path, on_repair)
    return mended(found, handler.path, on_repair)


def labels_of(path: str | os.PathLike[str]) -> Labels:
    """Find out where a file of ImageScope's kind keeps its classes.

    Raises
    ------
    AnnotationError
        As `read_imagescope`.
    """
    handler = _Reader(Path(path))
    parse(handler)
    return _labels(handler.layers)


class _Reader(Elements):
    def __init__(self, path: Path) -> None:
        super().__init__(path, ROOT)
        self.layers: list[_Layer] = []
        self._region: _Region | None = None
        self._x: list[str | None] = []
        self._y: list[str | None] = []

    def start_Annotation(self, attributes: Attributes) -> None:  # noqa: N802  the element's name
        self.layers.append(_Layer(dict(attributes.items())))

    def start_Region(self, attributes: Attributes) -> None:  # noqa: N802
        self._region, self._x, self._y = _Region(dict(attributes.items())), [], []
        if not self.layers:
            raise AnnotationError(f"{self.path} has a Region outside every Annotation.")
        self.layers[-1].regions.append(self._region)

    def end_Region(self) -> None:  # noqa: N802
        where = f"{self.path}: layer {len(self.layers) - 1}, region {len(self.layers[-1].regions) - 1}"
        if not self._x:
            raise AnnotationError(f"{where} has no vertices.")
        self.layers[-1].regions[-1].points = numbers({"X": self._x, "Y": self._y}, f"{where}, vertex")
        self._region = None

    def start_Attribute(self, attributes: Attributes) -> None:  # noqa: N802
        if self._region is not None and self._region.label is None:
            self._region.label = attributes.get("Value", "")
        elif self._region is None and self.layers:
            self.layers[-1].names.append(attributes.get("Name", ""))

    def start_Vertex(self, attributes: Attributes) -> None:  # noqa: N802
        self._x.append(attributes.get("X"))
        self._y.append(attributes.get("Y"))


def _labels(layers: list[_Layer]) -> Labels:
    if any(class_of_attribute(name) for layer in layers for name in layer.names):
        return "monusac"
    unnamed = [region for layer in layers if not layer.attributes.get("Name") for region in layer.regions]
    return "bach" if any(class_of_label(_label(region)) for region in unnamed) else "imagescope"


def _label(region: _Region) -> str:
    return region.label if region.label is not None else region.attributes.get("Text", "")


def _annotation(
    layer: _Layer, region: _Region, geometry: BaseGeometry, labels: Labels, path: Path
) -> Annotation:
    name, color = region.attributes.get("Text") or None, _color(layer.attributes.get("LineColor"), path)
    if labels == "bach":
        known = class_of_label(_label(region))
        class_name = known.name if known else _label(region) or None
        name, color = None, known.color if known else color
    elif labels == "monusac":
        names = [class_of_attribute(said) or said for said in layer.names]
        class_name = next((said for said in names if said in COLORS), next(iter(names), None))
    else:
        class_name = layer.attributes.get("Name") or None
    return Annotation(
        geometry=geometry,
        class_name=class_name,
        color=color,
        name=name,
        is_ellipse=region.attributes.get("Type") == ELLIPSE,
    )


def _color(text: str | None, path: Path) -> Color | None:
    if not text:
        return None
    try:
        packed = int(text)
    except ValueError as error:
        raise AnnotationError(f'{path} has a LineColor that is not a whole number, but "{text}".') from error
    return packed & 0xFF, packed >> 8 & 0xFF, packed >> 16 & 0xFF


def _holed(layer: _Layer, path: Path, repairs: list[Repair]) -> Iterator[tuple[_Region, BaseGeometry]]:
    """Yield the positive regions of a layer with their holes."""
    shells: list[tuple[int, _Region, BaseGeometry]] = []
    negative: list[tuple[int, BaseGeometry]] = []
    for place, region in enumerate(layer.regions):
        shape = _geometry(region)
        if region.attributes.get("NegativeROA") == "1":
            negative.append((place, shape))
        else:
            shells.append((place, region, shape))
    holes: dict[int, list[BaseGeometry]] = {}
    if negative:
        filled = [valid(shape) for _, _, shape in shells]
        tree = shapely.STRtree(filled)
        for place, hole in negative:
            around = tree.query(valid(hole), predicate="covered_by")
            if hole.geom_type != "Polygon" or not len(around):
                what = f"The negative region {place} lies in no other and was left out."
                repairs.append(Repair(path, None, what))
                continue
            before = [shell for shell in around if shells[shell][0] < place]
            chosen = max(before) if before else min(around, key=lambda shell: filled[shell].area)
            holes.setdefault(int(chosen), []).append(hole)
    for number_of, (_, region, shape) in enumerate(shells):
        inside = holes.get(number_of)
        yield region, shape if inside is None else Polygon(shape.exterior, [one.exterior for one in inside])


def _geometry(region: _Region) -> BaseGeometry:
    points, kind = region.points, region.attributes.get("Type", POLYGON)
    if kind in (RECTANGLE, ELLIPSE) and len(points) > 1:
        (x, y), (right, bottom) = np.min(points, axis=0).tolist(), np.max(points, axis=0).tolist()
        if kind == ELLIPSE:
            return ellipse(x, y, right, bottom)
        if len(points) == 2:
            return shapely.box(x, y, right, bottom)
    if len(points) == 1:
        return Point(points[0])
    return ring(points) if kind in (POLYGON, RECTANGLE, ELLIPSE) else LineString(points)
