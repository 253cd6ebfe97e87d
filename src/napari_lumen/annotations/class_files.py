"""Tables of classes in files: of a model card, a run, a table or annotations; written as JSON or CSV."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from napari_lumen.annotations.classes import ClassTable, Color, TissueClass
from napari_lumen.annotations.classified import colors_of
from napari_lumen.annotations.content import load_json, opened, written
from napari_lumen.annotations.formats import read_annotations
from napari_lumen.errors import AnnotationError

_COLUMNS = ("value", "name", "color", "key", "ignore")
_HOLDERS = ("card.json", "run.json")  # of the folder of a model, of a run
_HEX = re.compile(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_YES, _NO = ("1", "true", "yes"), ("", "0", "false", "no", "none")


def read_classes(path: str | os.PathLike[str]) -> ClassTable:
    """Read a table of classes.

    Parameters
    ----------
    path : path
        One of: the folder of a model or of a run, or its ``card.json`` or ``run.json``; JSON as of
        `write_classes`; QuPath's ``classes.json``; CSV with a column ``name`` and, where they are known,
        ``color`` (``#rrggbb``), ``value``, ``key`` and ``ignore``; any file of annotations, whose classes
        come in the order in which they appear.

    Raises
    ------
    AnnotationError
        When it is none of these, or its classes are no table.
    """
    path = Path(path)
    if path.is_dir():
        path = next((path / name for name in _HOLDERS if (path / name).is_file()), path)
    if path.suffix.lower() == ".csv":
        return _table(path, _rows(path))
    if path.suffix.lower() == ".json":
        document = load_json(path)
        said = document.get("classes", document.get("pathClasses")) if isinstance(document, dict) else None
        if said is not None:
            return _table(path, said["classes"] if isinstance(said, dict) and "classes" in said else said)
    found = ClassTable(classes=())
    for name, color in colors_of(read_annotations(path)).items():
        found = found.added(name, color)
    if not len(found):
        raise AnnotationError(f"{path} names no classes.")
    return found


def write_classes(path: str | os.PathLike[str], table: ClassTable) -> None:
    """Write a table of classes, which `read_classes` reads back the same.

    Parameters
    ----------
    path : path
        Ends in ``.json`` or ``.csv``.
    table : ClassTable

    Raises
    ------
    AnnotationError
        When the suffix is another one, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = orjson.dumps(table.model_dump(), option=orjson.OPT_INDENT_2)
    elif suffix == ".csv":
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(_COLUMNS)
        for item in table:
            packed = "#{:02x}{:02x}{:02x}".format(*item.color)
            rows.writerow([item.value, item.name, packed, item.key or "", "yes" if item.ignore else ""])
        content = text.getvalue().encode()
    else:
        raise AnnotationError(f"{path} should end in .json or .csv: classes are written as one of these.")
    with written(path) as file:
        file.write(content)


def _rows(path: Path) -> list[dict[str, Any]]:
    with opened(path) as stream:
        data = stream.read()
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{path} is no CSV in UTF-8.") from error
    return [
        {key: value for key, value in row.items() if key in _COLUMNS and value not in ("", None)}
        for row in rows
    ]


def _table(path: Path, rows: Any) -> ClassTable:
    """Return a table of rows as they stand in a file, with values and colours for those without."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise AnnotationError(f"{path} names no classes.")
    free_colors = ClassTable.named(str(place) for place in range(len(rows)))
    try:
        values = [None if row.get("value") is None else int(row["value"]) for row in rows]
        free = _free({value for value in values if value is not None})
        classes = [
            TissueClass(
                value=next(free) if value is None else value,
                name=str(row["name"]).strip(),
                color=_color(row) or fallback.color,
                key=row.get("key"),
                ignore=_ignored(row),
            )
            for row, value, fallback in zip(rows, values, free_colors, strict=True)
        ]
        return ClassTable(classes=tuple(classes))
    except KeyError as error:
        raise AnnotationError(f"{path} has a class without a {error}.") from error
    except ValidationError as error:
        raise AnnotationError(f"{path} is no table of classes: {error.errors()[0]['msg']}.") from error
    except (TypeError, ValueError) as error:
        raise AnnotationError(f"{path} is no table of classes: {error}.") from error


def _free(taken: set[int]) -> Iterator[int]:
    value = 0
    while True:
        value += 1
        if value not in taken:
            yield value


def _color(row: Mapping[str, Any]) -> Color | None:
    """Return a colour: [r, g, b], #rrggbb, or as QuPath packs it."""
    given = row.get("color", row.get("colorRGB"))
    if given is None:
        return None
    if isinstance(given, int):
        return given >> 16 & 0xFF, given >> 8 & 0xFF, given & 0xFF
    if isinstance(given, str):
        match = _HEX.fullmatch(given.strip())
        if match is None:
            raise ValueError(f'the color "{given}" is not #rrggbb')
        given = [int(part, 16) for part in match.groups()]
    red, green, blue = (int(channel) for channel in given)
    return red, green, blue


def _ignored(row: dict[str, Any]) -> bool:
    said = str(row.get("ignore")).strip().lower()
    if said not in (*_YES, *_NO):
        raise ValueError(f'"{said}" under ignore is neither yes nor no')
    return said in _YES
