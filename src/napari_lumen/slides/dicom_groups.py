"""What the sequences of a DICOM header say: optical paths, pixel size, and where each frame lies."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_lumen.slides.dicom_errors import UnsupportedDicomError
from napari_lumen.slides.dicom_tags import Element, decimal, elements, items, text

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_COLUMN = re.compile(rb"\x48\0\x1e\x02SL\x04\0(.{4})", re.DOTALL)
_ROW = re.compile(rb"\x48\0\x1f\x02SL\x04\0(.{4})", re.DOTALL)
_IDENTIFIER = re.compile(rb"\x48\0\x06\x01SH(.)\0", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OpticalPath:
    """One way of light to the camera: its identifier, description, objective and colour profile."""

    identifier: str
    description: str
    power: float | None
    icc: bytes | None


@dataclass(frozen=True, slots=True)
class Spacing:
    """The pixel size.

    Attributes
    ----------
    size : (float, float) or None
        mm per pixel (y, x), as stated.
    unreadable : str
        What is stated, where it is no pair of numbers.
    """

    size: tuple[float, float] | None
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the frames of a sparse file lie.

    Attributes
    ----------
    rows, columns : ndarray
        int (frames,), of the upper left pixel, from 0.
    paths : ndarray
        int (frames,), number of the optical path, from 0.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    paths: npt.NDArray[np.int64]


def optical_paths(data: bytes, top: Mapping[int, Element]) -> tuple[OpticalPath, ...]:
    """Return the optical paths, in the order of the header."""
    found = []
    for start, end in items(data, top[0x00480105]) if 0x00480105 in top else ():
        parts = {element.tag: element for element in elements(data, start, end)}
        profile = parts.get(0x00282000)
        found.append(
            OpticalPath(
                text(data, parts.get(0x00480106)),
                text(data, parts.get(0x00480107)),
                decimal(data, parts.get(0x00480112)),
                data[profile.start : profile.end] if profile else None,
            )
        )
    return tuple(found)


def pixel_spacing(data: bytes, top: Mapping[int, Element], shape: tuple[int, int]) -> Spacing:
    """Return the pixel size from the measures of all frames or of the first, else from what was imaged."""
    for groups in (_SHARED, _PER_FRAME):
        measures = _first(data, _first(data, top, groups), 0x00289110)
        if stated := text(data, measures.get(0x00280030)):
            try:
                y, x = (float(part) for part in stated.split("\\"))
            except ValueError:
                return Spacing(None, stated)
            return Spacing((y, x))
    sides = [top.get(0x00480002), top.get(0x00480001)]
    if any(side is None or side.end - side.start != 4 for side in sides):
        return Spacing(None)
    height, width = (struct.unpack_from("<f", data, side.start)[0] for side in sides if side)
    return Spacing((height / shape[0], width / shape[1]))


def _first(data: bytes, within: Mapping[int, Element], tag: int) -> dict[int, Element]:
    """Return the elements of the first item of a sequence; none when it is absent or empty."""
    for start, end in items(data, within[tag]) if tag in within else ():
        return {element.tag: element for element in elements(data, start, end)}
    return {}


def placed_frames(
    data: bytes, top: Mapping[int, Element], frames: int, paths: Sequence[OpticalPath]
) -> Placed | None:
    """Return where each frame lies; None where the tiling is full.

    Raises
    ------
    UnsupportedDicomError
        When it is not stated for each.
    """
    groups = top.get(_PER_FRAME)
    if text(data, top.get(0x00209311)) == "TILED_FULL" or groups is None:
        return None
    # one search instead of a walk: 100,000 frames have a million elements
    section = data[groups.start : groups.end]
    rows, columns = (b"".join(place.findall(section)) for place in (_ROW, _COLUMN))
    if len(rows) != 4 * frames or len(columns) != 4 * frames:
        raise UnsupportedDicomError("the places of its tiles are not stated one by one")
    return Placed(
        np.frombuffer(rows, "<i4").astype(np.int64) - 1,
        np.frombuffer(columns, "<i4").astype(np.int64) - 1,
        _paths_of(section, frames, paths),
    )


def _paths_of(section: bytes, frames: int, paths: Sequence[OpticalPath]) -> npt.NDArray[np.int64]:
    if len(paths) < 2:
        return np.zeros(frames, np.int64)
    numbers = {path.identifier: number for number, path in enumerate(paths)}
    stated = [
        section[found.end() : found.end() + found[1][0]].decode("utf-8", "replace").strip("\0 ")
        for found in _IDENTIFIER.finditer(section)
    ]
    if len(stated) != frames or len(numbers) != len(paths) or not numbers.keys() >= set(stated):
        raise UnsupportedDicomError("the optical paths of its tiles are not stated one by one")
    return np.array([numbers[identifier] for identifier in stated], np.int64)


def offset_table(
    data: bytes, top: Mapping[int, Element], frames: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Return offsets and lengths of the frames from the extended table; None without a sound one."""
    tables = [top.get(tag) for tag in (0x7FE00001, 0x7FE00002)]
    if any(table is None or table.end - table.start != 8 * frames for table in tables):
        return None
    offsets, lengths = (
        np.frombuffer(data[table.start : table.end], "<u8").astype(np.int64) for table in tables if table
    )
    return offsets, lengths
