"""One level or associated picture of a DICOM slide: which tile lies in which frame of which file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Window
from napari_lumen.slides.dicom_errors import UnsupportedDicomError
from napari_lumen.slides.dicom_frames import Frames, Tile
from napari_lumen.slides.dicom_instance import Instance
from napari_lumen.slides.level import levels_from_shapes
from napari_lumen.slides.slide import Picture


class DicomImage:
    """One level or picture, of one file or of several parts.

    Parameters
    ----------
    path : Path
        Of the slide, for messages.
    members : sequence of Instance
        The files that claim this size.

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
        self._sparse = self._placed()
        self.depth = max(1, len(self.first.paths)) if self.first.samples == 1 else 1
        if self.first.samples == 3 and len(self.first.paths) > 1:
            raise UnsupportedDicomError(f"it holds {len(self.first.paths)} colour pictures of the same field")
        total = sum(member.frames for member in self._members)
        if self._sparse is None and total != rows * columns * self.first.planes * self.depth:
            raise SlideError(
                f"{path.name} cannot be opened: {self.first.path.name} states {total} tiles where its size "
                f"asks for {rows * columns * self.first.planes * self.depth}. Copy it again or re-export it."
            )

    def _placed(self) -> npt.NDArray[np.int64] | None:
        """Return the number of the frame at each row and column, -1 for none; None where all are there."""
        if all(member.positions is None for member in self._members):
            return None
        if self.first.planes > 1 or len(self.first.paths) > 1:
            raise UnsupportedDicomError("it is sparse in several planes or optical paths")
        table = np.full(self.first.cells, -1, np.int64)
        height, width = self.first.tile
        for member in self._members:
            if member.positions is None:
                raise UnsupportedDicomError("some of its parts are sparse and others are not")
            rows, columns = member.positions[:, 0], member.positions[:, 1]
            if (rows % height).any() or (columns % width).any():
                raise UnsupportedDicomError("its tiles do not lie on a grid")
            rows, columns = rows // height, columns // width
            if (np.minimum(rows, columns) < 0).any() or (
                (rows >= table.shape[0]) | (columns >= table.shape[1])
            ).any():
                raise UnsupportedDicomError("it has tiles outside of itself")
            table[rows, columns] = member.first_frame + np.arange(member.frames)
        return table

    def tile(self, row: int, column: int, ground: int) -> Tile:
        """Return a decoded tile (height, width, channels), `ground` where there is none."""
        rows, columns = self.first.cells
        if self._sparse is not None:
            number = int(self._sparse[row, column])
            if number < 0:
                shape = (*self.first.tile, self.first.samples)
                return np.full(shape, ground, np.uint8 if self.first.bits == 8 else np.uint16)
            return self._frame(number)
        # columns run fastest, then rows, focal planes and optical paths (PS3.3, C.7.6.17.3)
        cells, planes = rows * columns, self.first.planes
        numbers = [
            (path * planes + planes // 2) * cells + row * columns + column for path in range(self.depth)
        ]
        if self.depth == 1:
            return self._frame(numbers[0])
        return np.concatenate([self._frame(number) for number in numbers], axis=2)

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
    """Refuse an image of which parts are missing, or several that claim one place."""
    if len({member.source for member in members}) > 1:
        raise UnsupportedDicomError(
            f"it holds {len(members)} pictures of {members[0].shape[1]} x {members[0].shape[0]} px"
        )
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
