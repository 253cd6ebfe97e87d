"""One picture of a DICOM slide: which tile lies in which frame of which file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Window
from napari_lumen.slides.dicom_decode import Tile, dtype_of
from napari_lumen.slides.dicom_errors import UnsupportedDicomError
from napari_lumen.slides.dicom_frames import Frames
from napari_lumen.slides.dicom_instance import Instance
from napari_lumen.slides.level import levels_from_shapes
from napari_lumen.slides.slide import Picture

_MOST_EMPTY = 100  # times the extent of its tiles that a sparse picture may have


class DicomImage:
    """One picture, of one file or of several parts.

    Parameters
    ----------
    path : Path
        Of the slide, for messages.
    members : sequence of Instance
        Its parts.

    Raises
    ------
    UnsupportedDicomError, SlideError
    """

    def __init__(self, path: Path, members: Sequence[Instance]) -> None:
        self.first = members[0]
        _check_parts(path, members)
        self._members = sorted(members, key=lambda member: member.first_frame)
        self._starts = np.array([member.first_frame for member in self._members], np.int64)
        self._frames = [Frames(member) for member in self._members]
        rows, columns = self.first.cells
        self._sparse = self._placed(path)
        self.depth = max(1, len(self.first.paths)) if self.first.samples == 1 else 1
        if self.first.samples == 3 and len(self.first.paths) > 1:
            raise UnsupportedDicomError(f"it holds {len(self.first.paths)} colour pictures of the same field")
        total = sum(member.frames for member in self._members)
        if self._sparse is None and total != rows * columns * self.first.planes * self.depth:
            raise SlideError(
                f"{path.name} cannot be opened: {self.first.path.name} states {total} tiles where its size "
                f"asks for {rows * columns * self.first.planes * self.depth}. Copy it again or re-export it."
            )

    def _placed(self, path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """Return the places that hold a tile, in rising order, and the frame of each.

        None where all are there. A place counts columns, rows and optical paths, as `tile` does.
        """
        placed = [member.placed for member in self._members if member.placed is not None]
        if not placed:
            return None
        if len(placed) < len(self._members):
            raise UnsupportedDicomError("some of its parts are sparse and others are not")
        if self.first.planes > 1:
            raise UnsupportedDicomError("it is sparse in several focal planes")
        height, width = self.first.tile
        rows, columns, paths = (
            np.concatenate([getattr(part, name) for part in placed]) for name in ("rows", "columns", "paths")
        )
        if (rows % height).any() or (columns % width).any():
            raise UnsupportedDicomError("its tiles do not lie on a grid")
        rows, columns = rows // height, columns // width
        down, across = self.first.cells
        if min(rows.min(), columns.min()) < 0 or rows.max() >= down or columns.max() >= across:
            raise UnsupportedDicomError("it has tiles outside of itself")
        if down > _MOST_EMPTY * (rows.max() + 1) or across > _MOST_EMPTY * (columns.max() + 1):
            raise SlideError(
                f"{path.name} is damaged: {self.first.path.name} states {self.first.shape[1]:,} x "
                f"{self.first.shape[0]:,} px, but its tiles end at column "
                f"{(columns.max() + 1) * width:,}, row {(rows.max() + 1) * height:,}. Copy it again."
            )
        places = (paths * down + rows) * across + columns
        numbers = np.concatenate([one.first_frame + np.arange(one.frames) for one in self._members])
        order = np.argsort(places, kind="stable")
        return places[order], numbers[order]

    def tile(self, row: int, column: int, ground: int) -> Tile:
        """Return a decoded tile (height, width, channels), `ground` where there is none."""
        rows, columns = self.first.cells
        # columns run fastest, then rows, focal planes and optical paths (PS3.3, C.7.6.17.3)
        cells, planes = rows * columns, self.first.planes
        places = [
            (path * planes + planes // 2) * cells + row * columns + column for path in range(self.depth)
        ]
        tiles = [self._tile(place, ground) for place in places]
        return tiles[0] if len(tiles) == 1 else np.concatenate(tiles, axis=2)

    def _tile(self, place: int, ground: int) -> Tile:
        if self._sparse is None:
            return self._frame(place)
        places, numbers = self._sparse
        found = int(np.searchsorted(places, place, side="right")) - 1  # the last of several
        if found >= 0 and places[found] == place:
            return self._frame(int(numbers[found]))
        return np.full((*self.first.tile, self.first.samples), ground, dtype_of(self.first))

    def _frame(self, number: int) -> Tile:
        part = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._frames[part].tile(number - int(self._starts[part]))

    def whole(self) -> Picture:
        """Return the whole of a small picture: uint8 (h, w, 3)."""
        height, width = self.first.shape
        out = np.empty((height, width, 3), np.uint8)
        for row, column, part in levels_from_shapes([self.first.shape], [self.first.tile])[0].cells(
            Window(0, 0, height, width)
        ):
            tile = self.tile(row, column, 255)
            y, x = row * self.first.tile[0], column * self.first.tile[1]
            out[part.slices] = tile[
                part.y - y : part.y - y + part.height, part.x - x : part.x - x + part.width
            ]
        return out


def _check_parts(path: Path, members: Sequence[Instance]) -> None:
    """Refuse an image of which parts are missing or differ."""
    if len({(member.tile, member.samples, member.bits) for member in members}) > 1:
        raise UnsupportedDicomError("its parts differ in their tiles")
    part = members[0].part
    if part is None:
        return
    total = max(member.part[1] if member.part else 0 for member in members)
    there = {member.part[0] for member in members if member.part}
    missing = sorted(set(range(1, total + 1)) - there)
    if missing:
        raise SlideError(
            f"{path.name} is incomplete: part {missing[0]} of {total} of its level of "
            f"{members[0].shape[1]} x {members[0].shape[0]} px is missing. Copy all files of the slide."
        )
