"""What QuPath says of an object in GeoJSON: its type, class, colour, measurements and metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import Color
from napari_lumen.annotations.mending import ring
from napari_lumen.annotations.shapes import Annotation, ObjectType, Source
from napari_lumen.errors import AnnotationError, first_line

_OWN = "lumen "  # begins the keys of metadata that are fields of ours
_FIELDS = ("author", "time", "source", "model", "run")
_NOTHING_SAID: Mapping[str, str | None] = dict.fromkeys(_FIELDS)
_TYPES: tuple[tuple[str, ObjectType], ...] = (
    ("pathdetection", "detection"),  # as QuPath 0.2 called them
    ("detection", "detection"),
    ("pathcell", "cell"),
    ("cell", "cell"),
    ("pathtile", "tile"),
    ("tile", "tile"),
)


def annotations_of(features: Sequence[Any], place: str) -> list[Annotation]:
    """Return the objects of GeoJSON features, child objects after their parent.

    Parameters
    ----------
    features : sequence
        As parsed from JSON.
    place : str
        Where they stand, for messages.

    Raises
    ------
    AnnotationError
        When a feature breaks a clause of the format.
    """
    objects = [item for number, one in enumerate(features) for item in _family(one, number, place)]
    geometries = _geometries([feature.get("geometry") for feature, _ in objects], objects)
    found = []
    for (feature, where), geometry in zip(objects, geometries, strict=True):
        nucleus = feature.get("nucleusGeometry")
        found.append(
            _annotation(feature, where, geometry, None if nucleus is None else _geometry(nucleus, where))
        )
    return found


def metadata_of(annotation: Annotation) -> dict[str, str]:
    """Return the metadata that QuPath shows of an annotation, author, time and source included."""
    source = annotation.source
    own = {
        "author": annotation.author,
        "time": None if annotation.time is None else annotation.time.isoformat(),
        "source": None if source is None else "hand" if source.model is None else "model",
        "model": None if source is None else source.model,
        "run": None if source is None else source.run,
    }
    said = {_OWN + key: value for key, value in own.items() if value is not None}
    return {**annotation.metadata, **said}


def _family(feature: Any, number: int, place: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield a feature and its children, each with its place; the root of a hierarchy has no shape."""
    where = f"{place}: feature {number}"
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise AnnotationError(f'{where} is not an object of type "Feature".')
    properties = feature.get("properties") or {}
    if not isinstance(properties, dict):
        raise AnnotationError(f"{where} has properties that are not an object.")
    if not (_type_name(feature).startswith(("root", "pathroot")) and feature.get("geometry") is None):
        yield feature, where
    children = properties.get("childObjects") or ()
    if not isinstance(children, list | tuple):
        raise AnnotationError(f"{where} has child objects that are not a list.")
    for place_among, child in enumerate(children):
        yield from _family(child, place_among, f"{where}, child objects")


def _annotation(
    feature: Mapping[str, Any], where: str, geometry: BaseGeometry, nucleus: BaseGeometry | None
) -> Annotation:
    properties = feature.get("properties") or {}
    class_name, color = _classification(properties, where)
    name = properties.get("name")
    metadata = _metadata(properties.get("metadata"), where)
    own = {key: metadata.pop(_OWN + key, None) for key in _FIELDS} if metadata else _NOTHING_SAID
    return Annotation(
        geometry=geometry,
        class_name=class_name,
        color=color if color is not None else _color(properties.get("color"), where),
        name=None if name is None else str(name),
        object_type=_object_type(feature),
        measurements=_measurements(properties.get("measurements"), where),
        is_ellipse=feature["geometry"].get("isEllipse") is True,
        locked=properties.get("isLocked") is True,
        nucleus=nucleus,
        author=own["author"],
        time=_time(own["time"], where),
        source=None if own["source"] is None else Source(own["model"], own["run"]),
        metadata=metadata,
    )


def _geometries(given: Sequence[Any], objects: Sequence[tuple[Any, str]]) -> Sequence[BaseGeometry]:
    """Return the shapes of features: at once where all are polygons, as thousands of nuclei are."""
    if given and all(isinstance(one, dict) and one.get("type") == "Polygon" for one in given):
        try:
            return _polygons([one["coordinates"] for one in given])
        except (KeyError, TypeError, ValueError, OverflowError, shapely.errors.GEOSException):
            pass  # one by one, to say which is wrong
    return [_geometry(one, where) for one, (_, where) in zip(given, objects, strict=True)]


def _polygons(polygons: Sequence[Any]) -> Sequence[BaseGeometry]:
    rings = list(chain.from_iterable(polygons))
    if set(map(len, chain.from_iterable(rings))) != {2}:
        raise ValueError("a point that is not (x, y)")
    numbers = np.fromiter(chain.from_iterable(chain.from_iterable(rings)), np.float64)
    ring_of_point = np.repeat(np.arange(len(rings)), [len(one) for one in rings])
    outlines = shapely.linearrings(numbers.reshape(len(ring_of_point), 2), indices=ring_of_point)
    polygon_of_ring = np.repeat(np.arange(len(polygons)), [len(one) for one in polygons])
    found: Sequence[BaseGeometry] = shapely.polygons(outlines, indices=polygon_of_ring).tolist()
    if len(found) != len(polygons):
        raise ValueError("a polygon without a ring")
    return found


def _geometry(given: Any, where: str) -> BaseGeometry:
    if not isinstance(given, dict) or "type" not in given:
        raise AnnotationError(f"{where} has no geometry.")
    try:
        coordinates = given.get("coordinates", [])  # a collection has none
        if not isinstance(coordinates, list):
            raise TypeError("its coordinates are no list")
        if given["type"] == "Polygon" and coordinates and len(coordinates[0]) < 4:
            return ring(coordinates[0])
        return shape(given)
    except Exception as error:  # shapely raises many kinds for malformed coordinates
        raise AnnotationError(f"{where} has no geometry that can be read: {first_line(error)}.") from error


def _type_name(feature: Mapping[str, Any]) -> str:
    """QuPath's name for the kind of object, under its present and older keys."""
    properties = feature.get("properties") or {}
    kind = properties.get("objectType") or properties.get("object_type") or properties.get("type")
    return str(kind or feature.get("id") or "").lower()


def _object_type(feature: Mapping[str, Any]) -> ObjectType:
    kind = _type_name(feature)
    return next((known for name, known in _TYPES if kind == name or kind == f"{name}object"), "annotation")


def _classification(properties: Mapping[str, Any], where: str) -> tuple[str | None, Color | None]:
    given = properties.get("classification")
    if given is None:
        return None, None
    if isinstance(given, str):
        return given, None
    if not isinstance(given, dict):
        raise AnnotationError(f"{where} has a classification that is neither a name nor an object.")
    names = given.get("names")
    name = given.get("name") if not isinstance(names, list) else ": ".join(map(str, names))
    color = given.get("color")
    if color is None:
        color = given.get("colorRGB")  # before QuPath 0.4
    return (None if name is None else str(name)), _color(color, where)


def _measurements(given: Any, where: str) -> dict[str, float]:
    """Numbers by name: an object, or before QuPath 0.4 a list of {name, value}; text stands for no number."""
    try:
        pairs = given.items() if isinstance(given, dict) else [(m["name"], m["value"]) for m in given or ()]
        return {str(name): float(value) for name, value in pairs if value is not None}
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise AnnotationError(f"{where} has measurements that are not numbers by name.") from error


def _metadata(given: Any, where: str) -> dict[str, str]:
    if given is not None and not isinstance(given, dict):
        raise AnnotationError(f"{where} has metadata that is not an object.")
    return {str(key): str(value) for key, value in (given or {}).items()}


def _time(given: str | None, where: str) -> datetime | None:
    try:
        return None if given is None else datetime.fromisoformat(given)
    except ValueError as error:
        raise AnnotationError(f'{where} has a time that is not one: "{given}".') from error


def _color(given: Any, where: str) -> Color | None:
    if given is None:
        return None
    if isinstance(given, int):  # packed as alpha, red, green and blue
        return given >> 16 & 0xFF, given >> 8 & 0xFF, given & 0xFF
    if not (isinstance(given, list) and len(given) >= 3 and all(isinstance(c, int) for c in given[:3])):
        raise AnnotationError(f"{where} has a color that is not [r, g, b].")
    red, green, blue = given[:3]
    if not (0 <= red <= 255 and 0 <= green <= 255 and 0 <= blue <= 255):
        raise AnnotationError(f"{where} has a color outside 0 to 255.")
    return red, green, blue
