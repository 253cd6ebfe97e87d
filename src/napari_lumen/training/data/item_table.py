"""A CSV of items: their patients, slides, tiles, stain groups and pixel sizes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_lumen.errors import RunError, first_line
from napari_lumen.training.data.item import Item


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns; all but `name` may be missing, and then nothing is known."""

    name: str = "name"
    tile: str = "tile"
    slide: str = "slide"
    patient: str = "patient"
    group: str = "group"
    mpp: str = "mpp"


@dataclass(frozen=True, slots=True)
class Row:
    """One item of a table.

    Attributes
    ----------
    item : Item
    mpp : float or None
        µm per pixel.
    fields : mapping of str to str
        All of the row, by the names of the columns.
    """

    item: Item
    mpp: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def read_table(path: Path, columns: Columns | None = None) -> list[Row]:
    """Read the items of a CSV with a line of column names, in its order.

    Raises
    ------
    RunError
        When it cannot be read, lacks the column of names, names an item twice or none, or a pixel size is
        no positive number.
    """
    columns = columns or Columns()
    records = _records(path, columns.name)
    rows: dict[str, Row] = {}
    for line, record in enumerate(records, start=2):
        name = (record[columns.name] or "").strip()
        if not name:
            raise RunError(f"{path}, line {line}, has nothing in the column {columns.name!r}.")
        if name in rows:
            raise RunError(f"{path} names {name!r} twice; keep one line.")
        known = {
            what: (record.get(getattr(columns, what)) or "").strip() or None
            for what in ("tile", "slide", "patient", "group", "mpp")
        }
        mpp = _mpp(known.pop("mpp"), f"{path}, line {line},")
        rows[name] = Row(Item(name, **known), mpp, record)
    return list(rows.values())


def _records(path: Path, name: str) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a mark of order
            reader = csv.DictReader(file)
            records = list(reader)
            header = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"Cannot read the table {path}: {first_line(error)}.") from error
    if name not in header:
        raise RunError(f"{path} has no column {name!r}; there is {', '.join(header) or 'none'}.")
    return records


def _mpp(text: str | None, place: str) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise RunError(f"{place} has {text!r} as pixel size; it must be a positive number of µm.")
    return value
