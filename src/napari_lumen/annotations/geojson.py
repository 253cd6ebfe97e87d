"""QuPath's GeoJSON: objects with classes, written so that QuPath opens them, read as QuPath reads them.

The rules are those of QuPath's own parser: a FeatureCollection, a bare array or one Feature; a classification
is a string or an object, and an object needs a colour; rings must not cross themselves. What QuPath has no
place for (author, time, source) goes into its metadata, where QuPath shows it.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import shapely
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import Color
from napari_lumen.annotations.content import load_json, uncollected, written
from napari_lumen.annotations.mending import OnRepair, mended, valid
from napari_lumen.annotations.qupath import annotations_of, metadata_of
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError

SUFFIXES = (".geojson", ".json", ".geojson.gz", ".json.gz", ".geojson.zip", ".json.zip")
_NO_COLOR: Color = (200, 0, 0)  # QuPath refuses a classification without a colour
_NAMESPACE = uuid.UUID("6f7d9c1e-6a35-5c0e-9d0c-2c1b7a4f5e10")
_DECIMALS = 4  # as ASAP; QuPath writes 2


def write_geojson(path: str | os.PathLike[str], annotations: Iterable[Annotation]) -> None:
    """Write annotations as a GeoJSON FeatureCollection that QuPath opens.

    Self-crossing rings are repaired, for QuPath refuses them; nothing is left half written: the file appears
    when it is whole. The same annotations give the same bytes.

    Parameters
    ----------
    path : path
        Ends in ``.geojson`` or ``.json``, or one of them and ``.gz`` or ``.zip``.
    annotations : iterable of Annotation
        Geometry in level-0 pixels (x, y).

    Raises
    ------
    AnnotationError
        When the suffix is another one, or the file cannot be written.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise AnnotationError(f"{path} is not named as GeoJSON: it should end in {' or '.join(SUFFIXES)}.")
    with written(path) as file:
        file.writelines(_lines(annotations))


def read_geojson(path: str | os.PathLike[str], on_repair: OnRepair | None = None) -> list[Annotation]:
    """Read the objects of a QuPath GeoJSON file.

    Parameters
    ----------
    path : path
        Plain, or packed as gzip or zip.
    on_repair : callable, optional
        Told of every outline that had to be repaired; else their number is logged.

    Returns
    -------
    list of Annotation
        In the order of the file, child objects after their parent.

    Raises
    ------
    AnnotationError
        When the file is missing, is no GeoJSON, or breaks a clause of the format; the message says which.
    """
    path = Path(path)
    with uncollected():
        document = load_json(path)
        if isinstance(document, dict) and document.get("type") == "FeatureCollection":
            document = document.get("features")
        elif isinstance(document, dict):
            document = [document]
        if not isinstance(document, list):
            raise AnnotationError(f"{path} is not QuPath GeoJSON: it holds no list of features.")
        found = annotations_of(document, str(path))
        del document  # else the collector walks its millions of numbers once more
        return mended(found, path, on_repair)


def _lines(annotations: Iterable[Annotation]) -> Iterator[bytes]:
    """One feature a line: thousands of nuclei are never one string in memory."""
    yield b'{"type":"FeatureCollection","features":[\n'
    separator = b""
    for number, annotation in enumerate(annotations):
        geometry = valid(annotation.geometry)
        if not geometry.is_empty:
            yield separator + orjson.dumps(
                _feature(annotation, geometry, number), option=orjson.OPT_SERIALIZE_NUMPY
            )
            separator = b",\n"
    yield b"\n]}\n"


def _feature(annotation: Annotation, geometry: BaseGeometry, number: int) -> dict[str, Any]:
    shaped = _geometry(geometry)
    if annotation.is_ellipse:
        shaped["isEllipse"] = True
    name = f"{number} {annotation.class_name} {geometry.wkb_hex}"
    feature = {"type": "Feature", "id": str(uuid.uuid5(_NAMESPACE, name)), "geometry": shaped}
    if annotation.nucleus is not None:
        feature["nucleusGeometry"] = _geometry(valid(annotation.nucleus))
    return {**feature, "properties": _properties(annotation)}


def _properties(annotation: Annotation) -> dict[str, Any]:
    is_cell = annotation.nucleus is not None  # QuPath leaves out the nucleus of all else
    properties: dict[str, Any] = {"objectType": "cell" if is_cell else annotation.object_type}
    if annotation.name is not None:
        properties["name"] = annotation.name
    if annotation.class_name is not None:
        color = annotation.color or _NO_COLOR
        properties["classification"] = {"name": annotation.class_name, "color": list(color)}
    elif annotation.color is not None:
        properties["color"] = list(annotation.color)
    if annotation.locked:
        properties["isLocked"] = True
    if annotation.measurements:
        properties["measurements"] = _numbers(annotation.measurements)
    if metadata := metadata_of(annotation):
        properties["metadata"] = metadata
    return properties


def _numbers(measurements: Mapping[str, float]) -> dict[str, float | str]:
    """JSON has no infinity and no number that is none; Java reads their names."""
    found: dict[str, float | str] = {}
    for name, value in measurements.items():
        if math.isfinite(value):
            found[name] = value
        else:
            found[name] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return found


def _geometry(geometry: BaseGeometry) -> dict[str, Any]:
    kind = "LineString" if geometry.geom_type == "LinearRing" else geometry.geom_type
    return {"type": kind, "coordinates": _coordinates(geometry)}


def _coordinates(geometry: BaseGeometry) -> Any:
    if geometry.geom_type == "Polygon":
        return [_coordinates(part) for part in (geometry.exterior, *geometry.interiors)]
    if geometry.geom_type.startswith("Multi"):
        return [_coordinates(part) for part in geometry.geoms]
    numbers = shapely.get_coordinates(geometry)
    whole = numbers.astype(np.int64)
    # 12.0 as 12, half the size for outlines along pixel edges
    rounded = whole if np.array_equal(whole, numbers) else numbers.round(_DECIMALS)
    return rounded[0] if geometry.geom_type == "Point" else rounded
