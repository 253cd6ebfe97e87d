"""QuPath's GeoJSON: outlines with classes, written so that QuPath opens them, read as QuPath reads them.

The rules are those of QuPath's own parser: a FeatureCollection, a bare array or one Feature; a classification
is a string or an object, and an object needs a colour; rings must not cross themselves.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import orjson
import shapely
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import Color
from napari_lumen.annotations.shapes import Annotation, ObjectType
from napari_lumen.errors import AnnotationError

_NO_COLOR: Color = (200, 0, 0)  # QuPath refuses a classification without a colour
_AREAS = {"Polygon", "MultiPolygon"}
_NAMESPACE = uuid.UUID("6f7d9c1e-6a35-5c0e-9d0c-2c1b7a4f5e10")


def write_geojson(path: str | os.PathLike[str], annotations: Iterable[Annotation]) -> None:
    """Write annotations as a GeoJSON FeatureCollection that QuPath opens.

    Self-crossing rings are repaired, for QuPath refuses them; nothing is left half written: the file appears
    when it is whole. The same annotations give the same bytes.

    Parameters
    ----------
    path : path
        Ends in ``.geojson`` or ``.json``, or one of them and ``.gz``.
    annotations : iterable of Annotation
        Geometry in level-0 pixels (x, y).

    Raises
    ------
    AnnotationError
        When the suffix is another one, or the file cannot be written.
    """
    path = Path(path)
    _suffix(path, allowed=("", ".gz"))
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as raw:
            temporary = Path(raw.name)
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                    packed.writelines(_lines(annotations))
            else:
                raw.writelines(_lines(annotations))
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise AnnotationError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def read_geojson(path: str | os.PathLike[str]) -> list[Annotation]:
    """Read the objects of a QuPath GeoJSON file.

    Parameters
    ----------
    path : path
        ``.geojson`` or ``.json``, plain or inside ``.gz`` or ``.zip``.

    Returns
    -------
    list of Annotation
        In the order of the file, child objects after their parent. Objects that QuPath shows neither as an
        annotation nor as a detection (tiles, cells) come back as detections.

    Raises
    ------
    AnnotationError
        When the file is missing, is no GeoJSON, or breaks a clause of the format; the message says which.
    """
    path = Path(path)
    try:
        document = orjson.loads(_content(path))
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise AnnotationError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    except orjson.JSONDecodeError as error:
        raise AnnotationError(f"{path} is not JSON: {error}.") from error
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        document = document.get("features")
    elif isinstance(document, dict):
        document = [document]
    if not isinstance(document, list):
        raise AnnotationError(f"{path} is not QuPath GeoJSON: it holds no list of features.")
    found: list[Annotation] = []
    for number, feature in enumerate(document):
        found.extend(_annotations(feature, f"{path}: feature {number}"))
    return found


def _lines(annotations: Iterable[Annotation]) -> Iterator[bytes]:
    """One feature a line: thousands of nuclei are never one string in memory."""
    yield b'{"type":"FeatureCollection","features":[\n'
    separator = b""
    for number, annotation in enumerate(annotations):
        feature = _feature(annotation, number)
        if feature is not None:
            yield separator + orjson.dumps(feature)
            separator = b",\n"
    yield b"\n]}\n"


def _feature(annotation: Annotation, number: int) -> dict[str, Any] | None:
    geometry = annotation.geometry
    if geometry.geom_type in _AREAS and not geometry.is_valid:
        geometry = _areas_of(shapely.make_valid(geometry))
    if geometry.is_empty:
        return None
    properties: dict[str, Any] = {"objectType": annotation.object_type}
    if annotation.name is not None:
        properties["name"] = annotation.name
    if annotation.class_name is not None:
        color = annotation.color or _NO_COLOR
        properties["classification"] = {"name": annotation.class_name, "color": list(color)}
    elif annotation.color is not None:
        properties["color"] = list(annotation.color)
    if annotation.measurements:
        properties["measurements"] = dict(annotation.measurements)
    name = f"{number} {annotation.class_name} {geometry.wkb_hex}"
    shaped = mapping(geometry)
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, name)),
        "geometry": {"type": shaped["type"], "coordinates": _whole(shaped["coordinates"])},
        "properties": properties,
    }


def _areas_of(geometry: BaseGeometry) -> BaseGeometry:
    """Keep the polygons of a repaired geometry; the lines and points it may leave behind enclose nothing."""
    parts = [part for part in shapely.get_parts(geometry).tolist() if part.geom_type in _AREAS]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def _whole(coordinates: Any) -> Any:
    """Write 12.0 as 12, half the size for outlines along pixel edges."""
    if isinstance(coordinates, float):
        return int(coordinates) if coordinates.is_integer() else round(coordinates, 3)
    if isinstance(coordinates, int):
        return coordinates
    return [_whole(item) for item in coordinates]


def _content(path: Path) -> bytes:
    kind = _suffix(path, allowed=("", ".gz", ".zip"))
    if kind == ".gz":
        with gzip.open(path) as packed:
            return packed.read()
    if kind == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.lower().endswith((".geojson", ".json"))]
            if not names:
                raise AnnotationError(f"{path} holds no .geojson or .json file.")
            return archive.read(names[0])
    return path.read_bytes()


def _suffix(path: Path, allowed: tuple[str, ...]) -> Literal["", ".gz", ".zip"]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    for packing in (".gz", ".zip"):
        if suffixes[-1:] == [packing] and packing in allowed:
            return ".gz" if packing == ".gz" else ".zip"
    if suffixes[-1:] in ([".geojson"], [".json"]):
        return ""
    endings = " or ".join(f".geojson{packing}" for packing in allowed)
    raise AnnotationError(f"{path} is not named as GeoJSON: it should end in {endings}.")


def _annotations(feature: Any, place: str) -> Iterator[Annotation]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise AnnotationError(f'{place} is not an object of type "Feature".')
    properties = feature.get("properties") or {}
    if not isinstance(properties, dict):
        raise AnnotationError(f"{place} has properties that are not an object.")
    try:
        geometry = shape(feature["geometry"])
    except Exception as error:  # shapely raises many kinds for malformed coordinates
        raise AnnotationError(f"{place} has no geometry that can be read: {error}.") from error
    class_name, color = _classification(properties, place)
    name = properties.get("name")
    yield Annotation(
        geometry=geometry,
        class_name=class_name,
        color=color if color is not None else _color(properties.get("color"), place),
        name=None if name is None else str(name),
        object_type=_object_type(properties, feature),
        measurements=_measurements(properties.get("measurements"), place),
    )
    for number, child in enumerate(properties.get("childObjects") or ()):
        yield from _annotations(child, f"{place}, child {number}")


def _object_type(properties: Mapping[str, Any], feature: Mapping[str, Any]) -> ObjectType:
    """QuPath's name for the kind of object, under its present and older keys."""
    kind = properties.get("objectType") or properties.get("object_type") or properties.get("type")
    kind = str(kind or feature.get("id") or "annotation").lower()
    if kind in ("detection", "cell", "tile") or kind.startswith(("pathdetection", "pathcell", "pathtile")):
        return "detection"
    return "annotation"


def _classification(properties: Mapping[str, Any], place: str) -> tuple[str | None, Color | None]:
    given = properties.get("classification")
    if given is None:
        return None, None
    if isinstance(given, str):
        return given, None
    if not isinstance(given, dict):
        raise AnnotationError(f"{place} has a classification that is neither a name nor an object.")
    names = given.get("names")
    name = given.get("name") if names is None else ": ".join(map(str, names))
    color = given.get("color")
    if color is None and isinstance(given.get("colorRGB"), int):  # before QuPath 0.4: packed ARGB
        packed = int(given["colorRGB"]) & 0xFFFFFF
        color = [packed >> 16, packed >> 8 & 0xFF, packed & 0xFF]
    return (None if name is None else str(name)), _color(color, place)


def _measurements(given: Any, place: str) -> dict[str, float]:
    """Numbers by name: an object, or before QuPath 0.4 a list of {name, value}; text stands for no number."""
    try:
        pairs = given.items() if isinstance(given, dict) else [(m["name"], m["value"]) for m in given or ()]
        return {str(name): float(value) for name, value in pairs if value is not None}
    except (TypeError, KeyError, ValueError) as error:
        raise AnnotationError(f"{place} has measurements that are not numbers by name.") from error


def _color(given: Any, place: str) -> Color | None:
    if given is None:
        return None
    if isinstance(given, int):
        return given >> 16 & 0xFF, given >> 8 & 0xFF, given & 0xFF
    if not (isinstance(given, list) and len(given) >= 3 and all(isinstance(c, int) for c in given[:3])):
        raise AnnotationError(f"{place} has a color that is not [r, g, b].")
    if not all(0 <= c <= 255 for c in given[:3]):
        raise AnnotationError(f"{place} has a color outside 0 to 255.")
    return given[0], given[1], given[2]
