"""A CSV of items: their patients, slides, tiles, stain groups and pixel sizes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
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
        All of the row, by the names of the columns in small letters.
    """

    item: Item
    mpp: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def read_table(path: Path, columns: Columns | None = None) -> list[Row]:
    """Read the items of a CSV with a line of column names, in capitals or not, in its order.

    Raises
    ------
    RunError
        When it cannot be read, lacks the column of names, has no item, names one twice or none, or a pixel
        size is no positive number.
    """
    columns = columns or Columns()
    rows: dict[str, Row] = {}
    for line, record in read_records(path, (columns.name,)):
        name = record[plain(columns.name)].strip()
        if not name:
            raise RunError(f"{path}, line {line}, has nothing in the column {columns.name!r}.")
        if name in rows:
            raise RunError(f"{path} names {name!r} twice; keep one line.")
        known = {
            what: record.get(plain(getattr(columns, what)), "").strip() or None
            for what in ("tile", "slide", "patient", "group", "mpp")
        }
        mpp = _mpp(known.pop("mpp"), f"{path}, line {line},")
        rows[name] = Row(Item(name, **known), mpp, record)
    if not rows:
        raise RunError(f"{path} names no item. Give each its line.")
    return list(rows.values())


def plain(name: str) -> str:
    """Return the name of a column as it is looked for."""
    return name.strip().lower()


def read_records(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a CSV with their lines, their columns named as `plain` does.

    Raises
    ------
    RunError
        When it cannot be read, lacks a column that is needed, has one twice, or a row has too many cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a mark of order
            reader = csv.DictReader(file)
            header = [plain(column) for column in reader.fieldnames or ()]
            reader.fieldnames = header
            records = [(reader.line_num, record) for record in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"Cannot read the table {path}: {first_line(error)}.") from error
    for name in needed:
        if plain(name) not in header:
            raise RunError(f"{path} has no column {name!r}; there is {', '.join(header) or 'none'}.")
    twice = next((column for column in header if column and header.count(column) > 1), None)
    if twice:
        raise RunError(f"{path} has two columns {twice!r}; keep one.")
    for line, record in records:
        if any(cell for cell in record.pop(None, None) or ()):  # where csv puts what has no column
            raise RunError(f"{path}, line {line}, has more cells than there are columns.")
    return [(line, {column: cell or "" for column, cell in record.items()}) for line, record in records]


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
