"""Thumbnails of tiles and instances, a sheet of them as a picture, and their table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from napari_lumen.errors import LumenError, RunError
from napari_lumen.explain.drawing import text_width, write
from napari_lumen.explain.ranking import Entry
from napari_lumen.geometry import Grid, Window
from napari_lumen.holding import write_text
from napari_lumen.slides import Slide

Picture = npt.NDArray[np.uint8]
AROUND_INSTANCE = 1.8  # side of what is shown of an instance over its own: what lies around it tells
_THREADS = 8  # slides are read and decoded outside the interpreter's lock
_BORDER, _GAP, _TEXT = 4, 10, 13  # px
_NO_CLASS = (150, 150, 150)
_UNREAD = (225, 225, 225)
_HEAD = ("rank", "value", "class", "y", "x", "height", "width", "y_um", "x_um")


def thumbnail(slide: Slide, entry: Entry, side: int = 128, around: float = 1.0) -> Picture:
    """Read the picture of an entry, uint8 (side, side, 3); white outside the slide.

    Parameters
    ----------
    slide : Slide
    entry : Entry
    side : int
        Of the picture, px.
    around : float
        Side of what is shown over the longer side of the entry: 1 shows a tile, more the surroundings too.

    Raises
    ------
    SlideError
        When the slide cannot be read there.
    """
    region = entry.region
    extent = max(region.height, region.width, 1.0) * around
    step = extent / side
    origin = (
        region.y + (region.height - extent) / 2,
        region.x + (region.width - extent) / 2,
    )
    return slide.read_grid(Grid((side, side), (step, step), origin), Window(0, 0, side, side))


def thumbnails(
    slide: Slide,
    entries: Sequence[Entry],
    side: int = 128,
    around: float = 1.0,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Entry, Picture | None]]:
    """Yield the entries with their pictures, in order, as they are read; None where the slide cannot be.

    Reads in threads a few ahead of what was taken, so that the first ones are there at once.

    Parameters
    ----------
    slide, side, around
        See `thumbnail`.
    entries : sequence of Entry
    check : callable, optional
        Called before each; what it raises ends the reading.
    """

    def read(entry: Entry) -> Picture | None:
        try:
            return thumbnail(slide, entry, side, around)
        except (LumenError, OSError):
            return None

    with ThreadPoolExecutor(_THREADS, "lumen-gallery") as pool:
        ahead = 2 * _THREADS
        waiting = [pool.submit(read, entry) for entry in entries[:ahead]]
        try:
            for index, entry in enumerate(entries):
                check()
                picture = waiting.pop(0).result()
                if index + ahead < len(entries):
                    waiting.append(pool.submit(read, entries[index + ahead]))
                yield entry, picture
        finally:
            for future in waiting:
                future.cancel()


def write_table(entries: Sequence[Entry], mpp: tuple[float, float], path: Path) -> None:
    """Write entries as CSV: rank, value, class, and their edges in level-0 px, with y and x in µm as well.

    Raises
    ------
    RunError
        When it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_HEAD)
    for entry in entries:
        place = entry.region
        edges = (round(edge, 3) for edge in (place.y, place.x, place.height, place.width))
        um = (round(place.y * mpp[0], 3), round(place.x * mpp[1], 3))
        table.writerow([entry.rank, f"{entry.value:.6g}", entry.class_name or "", *edges, *um])
    try:
        write_text(path, text.getvalue())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error


def sheet(shown: Sequence[tuple[Entry, Picture | None]], columns: int = 10, title: str = "") -> Picture:
    """Draw pictures beside each other, framed in the colour of their class, with their values.

    Parameters
    ----------
    shown : sequence of (Entry, ndarray or None)
        See `thumbnails`; None is drawn as an empty field.
    columns : int
    title : str
        Above them.

    Returns
    -------
    ndarray
        uint8 (h, w, 3).
    """
    side = next((len(picture) for _, picture in shown if picture is not None), 96)
    columns = max(1, min(columns, len(shown)))
    cell = side + 2 * _BORDER
    rows = -(-len(shown) // columns)
    top = 2 * _TEXT + _GAP if title else _GAP
    width = max(_GAP + columns * (cell + _GAP), int(text_width(title, _TEXT)) + 2 * _GAP)
    drawn = Image.new("RGB", (width, top + rows * (cell + _TEXT + _GAP + 4)), "white")
    pen = ImageDraw.Draw(drawn)
    if title:
        write(pen, _GAP, _GAP // 2 + _TEXT / 2, title, _TEXT)
    for index, (entry, picture) in enumerate(shown):
        row, column = divmod(index, columns)
        x, y = _GAP + column * (cell + _GAP), top + row * (cell + _TEXT + _GAP + 4)
        pen.rectangle((x, y, x + cell - 1, y + cell - 1), entry.color or _NO_CLASS)
        inside = Image.new("RGB", (side, side), _UNREAD) if picture is None else Image.fromarray(picture)
        drawn.paste(inside, (x + _BORDER, y + _BORDER))
        said = f"{entry.rank}: {entry.value_said}" + ("" if picture is not None else ", not readable")
        write(pen, x, y + cell + 3 + _TEXT / 2, said, _TEXT)
    return np.asarray(drawn)


def write_sheet(picture: Picture, path: Path) -> None:
    """Write a sheet as PNG.

    Raises
    ------
    RunError
        When it cannot be written.
    """
    try:
        Image.fromarray(picture).save(path, "PNG")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error
