"""A table of annotations and their measurements, one row each, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from napari_lumen.annotations.content import written
from napari_lumen.annotations.shapes import Annotation

_COLUMNS = (
    "name",
    "class",
    "object type",
    "shape",
    "centroid x px",
    "centroid y px",
    "area px^2",
    "length px",
)
_SOURCES = ("author", "time", "model", "run")


def write_csv(path: str | os.PathLike[str], annotations: Iterable[Annotation]) -> None:
    """Write one row an annotation, in UTF-8.

    Columns: name, class, object type, shape, centroid and area in level-0 pixels, length (of an outline: all
    its rings), author, time, model, run, then every measurement by its name; empty where there is none. A
    measurement called like one of the first is written as ``<name> (measured)``.

    Parameters
    ----------
    path : path
        The file to write.
    annotations : iterable of Annotation
        Geometry in level-0 pixels (x, y).

    Raises
    ------
    AnnotationError
        When the file cannot be written.
    """
    items = list(annotations)
    own = (*_COLUMNS, *_SOURCES)
    names = list(dict.fromkeys(name for item in items for name in item.measurements))
    with written(Path(path)) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        table = csv.writer(text)
        table.writerow([*own, *(f"{name} (measured)" if name in own else name for name in names)])
        for item in items:
            table.writerow([*_row(item), *(item.measurements.get(name, "") for name in names)])
        text.detach()  # flushes, and leaves the file open for the one who opened it


def _row(item: Annotation) -> list[object]:
    geometry, source = item.geometry, item.source
    centroid = geometry.centroid
    return [
        item.name or "",
        item.class_name or "",
        item.object_type,
        item.kind,
        "" if centroid.is_empty else centroid.x,
        "" if centroid.is_empty else centroid.y,
        geometry.area,
        geometry.length,
        item.author or "",
        "" if item.time is None else item.time.isoformat(),
        (source.model if source else None) or "",
        (source.run if source else None) or "",
    ]
