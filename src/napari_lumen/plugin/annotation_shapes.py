"""Annotations as napari's Shapes and Points, and back without loss.

napari has no holes, no shapes of several parts, and keeps 32-bit coordinates. A hole is joined to its outline
by a cut, the parts of a shape share a number, and what napari cannot hold stays in the layer's metadata: an
annotation that nobody has touched comes back as it was, to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely import LineString, MultiLineString, MultiPoint, Point, Polygon
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import ClassTable, Color
from napari_lumen.annotations.cuts import without_holes
from napari_lumen.annotations.mending import valid
from napari_lumen.annotations.shapes import Annotation, Source, ellipse
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.layers import KEY, LayerData

Points = npt.NDArray[np.float64]
Part = tuple[str, Points]

KIND = "annotations"  # in a layer's facts
NUMBER, PART, CLASS, NAME, AUTHOR, TIME, SOURCE = (
    "annotation", "part", "class", "name", "author", "time", "source",
)  # fmt: skip
COLUMNS = (NUMBER, PART, CLASS, NAME, AUTHOR, TIME, SOURCE)  # of a layer's features
TABLE, ITEMS = "table", "items"  # in a layer's facts: the class table, and the annotations by their numbers
NO_CLASS: Color = (128, 128, 128)
BY_HAND = "hand"
_POINT_SIZE = 12  # px on screen at level 0
THINNEST, _THICKEST, _SHARE = 3.0, 60.0, 80  # px of a line; that share of a shape's larger side


def shape_layers(
    annotations: Sequence[Annotation], frame: Frame, name: str, table: ClassTable
) -> list[LayerData]:
    """Return the layers of annotations: Shapes for outlines and lines, Points for points; none for nothing.

    Parameters
    ----------
    annotations : sequence of Annotation
        In level-0 pixels (x, y).
    frame : Frame
        Where they lie.
    name : str
        Of the layers.
    table : ClassTable
        Holds their classes; gives the colours.
    """
    points = {number: item for number, item in enumerate(annotations) if is_dots(item.geometry)}
    rest = {number: item for number, item in enumerate(annotations) if number not in points}
    layers = []
    if rest or not annotations:
        layers.append(_shapes(rest, frame, name, table))
    if points:
        layers.append(_points(points, frame, f"{name} · points" if rest else name, table))
    return layers


def annotations_of(layer: LayerData, frame: Frame | None = None) -> list[Annotation]:
    """Return what a layer of Shapes or Points shows, in level-0 pixels (x, y).

    Parameters
    ----------
    layer : (data, attributes, type)
        As of ``layer.as_layer_data_tuple()``.
    frame : Frame, optional
        Of the slide that a layer of the user's own was drawn on; without one its own pixels count. Our
        layers know their place.

    Returns
    -------
    list of Annotation
        In the order in which they were read; what was drawn since comes last.
    """
    data, attributes, kind = layer
    facts = _facts(attributes)
    ours = facts.get("kind") == KIND
    to_level0 = _shift if ours else _from_world(attributes, frame)
    kinds = list(attributes["shape_type"]) if kind == "shapes" else ["point"] * len(data)
    rows = _rows(attributes.get("features"), len(kinds))
    items: Mapping[int, Annotation] = facts.get(ITEMS, {})
    colors = {item.name: item.color for item in facts[TABLE]} if TABLE in facts else {}
    groups: dict[tuple[bool, int], list[int]] = {}
    seen: set[tuple[int, int]] = set()
    for index, row in enumerate(rows):
        place = _number(row, NUMBER), _number(row, PART)
        known = place[0] in items and place not in seen  # seen before: a copy that was pasted
        seen.add(place)
        groups.setdefault((False, place[0]) if known else (True, index), []).append(index)
    found = []
    for is_new, number in sorted(groups):
        members = groups[is_new, number]
        parts = [(str(kinds[index]), np.asarray(data[index], np.float64)) for index in members]
        parts = [(kind, np.atleast_2d(corners)[:, -2:]) for kind, corners in parts]
        item = items.get(_number(rows[members[0]], NUMBER))
        if item is None or is_new or not _same(parts, parts_of(item)):
            shape, is_ellipse = _geometry([(kind, to_level0(corners)) for kind, corners in parts])
            item = replace(item or Annotation(shape), geometry=shape, is_ellipse=is_ellipse)
        found.append(_said(item, rows[members[0]], colors))
    return found


def parts_of(item: Annotation) -> list[Part]:
    """Return the shapes that stand for an annotation: napari's name, and (y, x) from pixel centres."""
    found: list[Part] = []
    for part in shapely.get_parts(item.geometry):
        if part.is_empty:
            continue
        single = replace(item, geometry=part).kind
        if single == "ellipse":
            left, top, right, bottom = part.bounds
            found.append(("ellipse", np.array([(top, left), (top, right), (bottom, right), (bottom, left)])))
        elif single in ("rectangle", "polygon"):
            ring = without_holes(part).exterior if len(part.interiors) else part.exterior
            found.append((single, shapely.get_coordinates(ring)[:-1, ::-1]))
        elif single == "point":
            found.append(("point", shapely.get_coordinates(part)[:, ::-1]))
        else:
            points = shapely.get_coordinates(part)[:, ::-1]
            found.append(("line" if len(points) == 2 else "path", points))
    return [(kind, points - 0.5) for kind, points in found]


def class_rgba(names: Iterable[Any], table: ClassTable, hidden: frozenset[str] = frozenset()) -> Points:
    """Return the colour of each class name, RGBA in [0, 1] (n, 4); hidden ones are clear."""
    known = {item.name: (*(channel / 255 for channel in item.color), 1.0) for item in table}
    plain = (*(channel / 255 for channel in NO_CLASS), 1.0)
    clear = (0.0, 0.0, 0.0, 0.0)
    rows = [clear if (name or "") in hidden else known.get(name, plain) for name in names]
    return np.array(rows, np.float64).reshape(-1, 4)


def line_widths(corners: Sequence[Points]) -> list[float]:
    """Return how thick lines are drawn (px): a tumour that is seen from afar more than a nucleus."""
    return [float(np.clip(np.ptp(one, axis=0).max() / _SHARE, THINNEST, _THICKEST)) for one in corners]


def _shapes(items: dict[int, Annotation], frame: Frame, name: str, table: ClassTable) -> LayerData:
    parts = [
        ((number, place), kind, corners)
        for number, item in items.items()
        for place, (kind, corners) in enumerate(parts_of(item))
        if kind != "point"
    ]
    corners = [one for _, _, one in parts]
    features = _features(items, [number for number, _, _ in parts])
    keywords: dict[str, Any] = {"edge_color": class_rgba(features[CLASS], table)} if parts else {"ndim": 2}
    return (
        corners,
        {
            "name": name,
            "shape_type": [kind for _, kind, _ in parts],
            **keywords,
            "face_color": "transparent",
            "edge_width": line_widths(corners) or THINNEST,
            "features": features,
            "feature_defaults": drawn(None),
            **frame.keywords(),
            "metadata": {KEY: _kept(items, frame, table)},
        },
        "shapes",
    )


def _points(items: dict[int, Annotation], frame: Frame, name: str, table: ClassTable) -> LayerData:
    parts = [
        ((number, place), corners)
        for number, item in items.items()
        for place, (_, corners) in enumerate(parts_of(item))
    ]
    features = _features(items, [number for number, _ in parts])
    return (
        np.concatenate([corners for _, corners in parts]),
        {
            "name": name,
            "face_color": class_rgba(features[CLASS], table),
            "border_color": "white",
            "size": _POINT_SIZE,
            "features": features,
            "feature_defaults": drawn(None),
            **frame.keywords(),
            "metadata": {KEY: _kept(items, frame, table)},
        },
        "points",
    )


def _kept(items: Mapping[int, Annotation], frame: Frame, table: ClassTable) -> dict[str, Any]:
    return {"kind": KIND, "fingerprint": frame.fingerprint, TABLE: table, ITEMS: dict(items)}


def drawn(name: str | None, author: str = "", time: str = "", source: str = "") -> dict[str, Any]:
    """Return the row of features of a shape that is drawn next; napari would repeat the last one."""
    return {
        NUMBER: -1, PART: 0, CLASS: name or "", NAME: "", AUTHOR: author, TIME: time, SOURCE: source,
    }  # fmt: skip


def _features(items: Mapping[int, Annotation], places: Sequence[tuple[int, int]]) -> dict[str, Any]:
    chosen = [items[number] for number, _ in places]
    said = {
        CLASS: [item.class_name or "" for item in chosen],
        NAME: [item.name or "" for item in chosen],
        AUTHOR: [item.author or "" for item in chosen],
        TIME: ["" if item.time is None else item.time.isoformat() for item in chosen],
        SOURCE: [source_words(item.source) for item in chosen],
    }
    numbers = np.array(places, np.int64).reshape(-1, 2)
    text = {name: np.array(column, object) for name, column in said.items()}  # also when there is none
    return {NUMBER: numbers[:, 0], PART: numbers[:, 1], **text}


def source_words(source: Source | None) -> str:
    """Return where an annotation comes from in words: "" where that is not known."""
    if source is None:
        return ""
    return BY_HAND if source.model is None else f"{source.model} {source.run or ''}".strip()


def _said(item: Annotation, row: Mapping[str, Any], colors: Mapping[str, Color]) -> Annotation:
    """Return an annotation with what the layer's table says of it."""
    changes: dict[str, Any] = {}
    name = row.get(CLASS, item.class_name) or None
    if name != item.class_name:
        changes["class_name"] = name
    color = colors.get(name, item.color) if name is not None else item.color
    if color != item.color:
        changes["color"] = color
    for column, before in ((NAME, item.name), (AUTHOR, item.author)):
        said = row.get(column, before) or None
        if said != (before or None):
            changes[column] = said
    if (said := row.get(TIME)) and said != ("" if item.time is None else item.time.isoformat()):
        changes[TIME] = datetime.fromisoformat(said)
    if item.source is None and row.get(SOURCE) == BY_HAND:
        changes[SOURCE] = Source()
    return replace(item, **changes) if changes else item


def _rows(features: Any, count: int) -> list[dict[str, Any]]:
    """Return the rows of a table of features: text, whole numbers, or None where there is nothing."""
    if features is None:
        return [{}] * count
    columns = [name for name in COLUMNS if name in features]
    found = []
    for values in zip(*(features[name] for name in columns), strict=True) if columns else [()] * count:
        known = (value if value == value else None for value in values)  # NaN is not itself
        found.append(dict(zip(columns, known, strict=True)))
    return found[:count]  # napari leaves rows behind of drawings that were given up


def _number(row: Mapping[str, Any], column: str) -> int:
    value = row.get(column)
    return -1 if value is None else int(value)


def _same(shown: Sequence[Part], before: Sequence[Part]) -> bool:
    if len(shown) != len(before):
        return False
    return all(
        a == b
        and one.shape == other.shape
        and np.array_equal(one.astype(np.float32), other.astype(np.float32))
        for (a, one), (b, other) in zip(shown, before, strict=True)
    )


def _geometry(parts: Sequence[Part]) -> tuple[BaseGeometry, bool]:
    """Return the geometry (x, y) of drawn parts, and whether it stands for an ellipse."""
    dots = [Point(corners[0, ::-1]) for kind, corners in parts if kind == "point"]
    lines = [LineString(corners[:, ::-1]) for kind, corners in parts if kind in ("line", "path")]
    areas, upright = [], False
    for kind, corners in parts:
        if kind == "ellipse":
            outline, upright = _ellipse(corners)
            areas.append(outline)
        elif kind in ("polygon", "rectangle"):
            areas.append(valid(Polygon(corners[:, ::-1])))
    if areas:
        return (areas[0] if len(areas) == 1 else shapely.union_all(areas)), upright and len(areas) == 1
    if lines:
        return (lines[0] if len(lines) == 1 else MultiLineString(lines)), False
    return (dots[0] if len(dots) == 1 else MultiPoint(dots)), False


def _ellipse(corners: Points) -> tuple[BaseGeometry, bool]:
    """Return the ellipse in a box of four corners (y, x), and whether the box stands upright."""
    (top, left), (bottom, right) = corners.min(axis=0), corners.max(axis=0)
    if np.isin(corners[:, 0], (top, bottom)).all() and np.isin(corners[:, 1], (left, right)).all():
        return ellipse(left, top, right, bottom), True
    centre = corners.mean(axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    unit = shapely.get_coordinates(ellipse(-1, -1, 1, 1))
    return Polygon((centre + unit[:, :1] * first + unit[:, 1:] * second)[:, ::-1]), False


def is_dots(geometry: BaseGeometry) -> bool:
    """Whether a geometry is one or several points."""
    return geometry.geom_type in ("Point", "MultiPoint")


def _facts(attributes: Mapping[str, Any]) -> dict[str, Any]:
    facts = (attributes.get("metadata") or {}).get(KEY)
    return facts if isinstance(facts, dict) else {}


def _shift(corners: Points) -> Points:
    return corners + 0.5


def _from_world(attributes: Mapping[str, Any], frame: Frame | None) -> Any:
    """Return what turns the data of a layer of the user's into level-0 pixels."""
    scale = np.asarray(attributes.get("scale", (1.0, 1.0)), np.float64)[-2:]
    translate = np.asarray(attributes.get("translate", (0.0, 0.0)), np.float64)[-2:]
    mpp, origin = (scale, np.zeros(2)) if frame is None else (np.array(frame.mpp), np.array(frame.origin))
    return lambda corners: (corners * scale + translate - origin) / mpp + 0.5
