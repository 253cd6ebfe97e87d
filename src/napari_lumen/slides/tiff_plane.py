"""One directory of a TIFF as a grid of tiles: where their bytes lie, and their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.slides.jpeg2000 import is_subsampled
from napari_lumen.slides.level import LARGEST_SIDE
from napari_lumen.slides.tiff_decode import JPEG, NONE, Pixels, coding_of, decoder_of
from napari_lumen.slides.tiff_directory import Directory, UnsupportedLayoutError

_LARGEST_TILE = 256 << 20  # bytes, of all samples
_LARGEST_STRIP = 1 << 30
_BAND_ROWS, _BAND_BYTES = 256, 16 << 20  # thin strips are decoded together up to these
_BLOCK = 1024  # entries of a table of tiles that are read at once; of the last ones, when a file is opened
# of its pixels, a compressed segment takes at most so many times the bytes, beside a constant: noise takes
# 1.4 times as many as LZW or PackBits and 1.6 as JPEG
_MOST_SWELLING, _MOST_HEAD = 2, 1 << 16


class Plane:
    """The tiles of one directory; strips are taken together as tiles of the full width.

    Attributes
    ----------
    shape : (int, int)
        Height and width, px.
    tile : (int, int)
        Height and width of what is decoded together.
    coding : Coding

    Raises
    ------
    UnsupportedLayoutError
        When nothing here decodes it.
    SlideError
        When it contradicts itself, or its last tiles lie beyond the end of the file.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.file = directory.file
        self.shape = (directory.integer(257), directory.integer(256))
        self._check_sides()
        self.coding = coding_of(directory)
        self._row = self.shape[1] * self.coding.per_segment * self.coding.dtype.itemsize
        self.is_tiled = 324 in directory or 322 in directory
        if self.is_tiled:
            self._segment = (directory.integer(323), directory.integer(322))
            self.tile = self._segment
        else:
            rows = min(directory.integer(278, self.shape[0]) or self.shape[0], self.shape[0])
            self._segment = (rows, self.shape[1])
            self.tile = (self._band(rows), self.shape[1])
        self._check_tile()
        self._columns = -(-self.shape[1] // self._segment[1])
        self._count = -(-self.shape[0] // self._segment[0]) * self._columns
        self._check_table()
        self._decode = decoder_of(directory, self.coding)
        self._table: dict[int, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}

    def _check_sides(self) -> None:
        if min(self.shape) < 1 or max(self.shape) > LARGEST_SIDE:
            raise self.file.damaged(
                f"it states a size of {self.shape[1]} x {self.shape[0]} px, which no slide has"
            )

    def _band(self, rows: int) -> int:
        """Return the rows that are decoded together."""
        most = max(1, _BAND_BYTES // (self._row * (self.coding.samples if self.coding.separate else 1)))
        if self.coding.compression == NONE:  # a strip need not be read whole
            return min(self.shape[0], most, _BAND_ROWS)
        return min(self.shape[0], rows * max(1, min(most, _BAND_ROWS) // rows))

    def _check_tile(self) -> None:
        height, width = self.tile
        size = height * width * self.coding.samples * self.coding.dtype.itemsize
        if min(height, width) < 1 or (self.is_tiled and size > _LARGEST_TILE):
            raise self.file.damaged(f"it states tiles of {width} x {height} px")
        if size > _LARGEST_STRIP:
            raise SlideError(
                f"{self.file.name} keeps {size / 1e9:.1f} GB in one compressed strip, which can only be read "
                "whole; save it as a tiled TIFF (bfconvert, vips tiffsave --tile)."
            )

    def _check_table(self) -> None:
        """Refuse a table of another length than the grid's, or that points beyond the file at its end.

        Only the last entries are read: files are written and cut off in order, and a large slide must open
        as fast as a small one. What else lies beyond the end is found where it is read.
        """
        wanted = self._count * (self.coding.samples if self.coding.separate else 1)
        found = [self.directory.count(code) for code in ((324, 325) if self.is_tiled else (273, 279))]
        if (min(found) != wanted or max(found) != wanted) if self.is_tiled else min(found) < wanted:
            raise self.file.damaged(
                f"its table lists {min(found):,} {'tiles' if self.is_tiled else 'strips'} where its size and "
                f"theirs make {wanted:,}"
            )
        last, sizes = (values.astype(np.int64) for values in self._entries(max(0, wanted - _BLOCK), wanted))
        stored = (last > 0) & (sizes > 0)
        end = int((last + sizes)[stored].max(initial=0))
        if end > self.file.size or end < 0:
            raise self.file.truncated(max(end, self.file.size + 1))
        if self.coding.compression not in (NONE, JPEG) and self.coding.most_growth is None:
            self._check_subsampling(last[stored], sizes[stored])
        largest = self._segment[0] * self._row
        growth = self.coding.most_growth
        if growth and largest > _LARGEST_TILE and int(sizes.max()) * growth < largest * 0.5:
            raise self.file.damaged(f"its strips of up to {int(sizes.max()):,} bytes cannot hold {largest:,}")

    def _check_subsampling(self, offsets: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> None:
        if self.coding.samples != 3 or not len(offsets):
            return
        head = self.file.read(int(offsets[0]), min(int(sizes[0]), 4096))
        if b"\xff\x4f\xff\x51" not in head:
            return
        try:
            refused = is_subsampled(head)
        except ValueError:
            return  # told where it is read
        if refused:
            raise UnsupportedLayoutError("it is JPEG 2000 with subsampled colours")

    def fill(self, row: int, column: int, out: Pixels) -> bool:
        """Decode one tile.

        Parameters
        ----------
        row, column : int
            Of the tile.
        out : ndarray
            (tile height, tile width, samples) of the native `coding.dtype`; what the file does not hold
            keeps its value.

        Returns
        -------
        bool
            Whether the file holds anything there.

        Raises
        ------
        SlideError
            When it lies beyond the end of the file.
        ValueError or an error of the codec
            When it cannot be decoded.
        """
        if not self.is_tiled:
            return self._fill_band(row * self.tile[0], out)
        index = row * self._columns + column
        least = (
            min(self.tile[0], self.shape[0] - row * self.tile[0]),
            min(self.tile[1], self.shape[1] - column * self.tile[1]),
        )
        if not self.coding.separate:
            return self._fill_segment(index, out, least)
        found = False
        for sample in range(self.coding.samples):
            part = out[..., sample : sample + 1]
            found |= self._fill_segment(sample * self._count + index, part, least)
        return found

    def _fill_band(self, top: int, out: Pixels) -> bool:
        rows, bottom, found = self._segment[0], min(self.shape[0], top + self.tile[0]), False
        planes = self.coding.samples if self.coding.separate else 1
        while top < bottom:
            strip = top // rows
            first = top - strip * rows  # within it: 0 unless it is uncompressed
            height = min(bottom, min(self.shape[0], (strip + 1) * rows)) - top
            start = top % self.tile[0]
            for plane in range(planes):
                part = out[start : start + height]
                if planes > 1:
                    part = part[..., plane : plane + 1]
                index = strip + plane * self._count
                found |= self._fill_segment(index, part, (height, self.shape[1]), first * self._row)
            top += height
        return found

    def _fill_segment(self, index: int, out: Pixels, least: tuple[int, int], skip: int = 0) -> bool:
        offset, count = self._entry(index)
        if not offset or not count:  # sparse: nothing was scanned there
            return False
        row = out.shape[1] * self.coding.per_segment * self.coding.dtype.itemsize
        if self.coding.compression == NONE:
            offset, count = offset + skip, min(count - skip, out.shape[0] * row)
        elif count > self._segment[0] * row * _MOST_SWELLING + _MOST_HEAD:
            raise ValueError(f"it states {count:,} bytes")
        self._decode(self.file.read(offset, count), out, least)
        return True

    def _entry(self, index: int) -> tuple[int, int]:
        """Return offset and bytes of a segment; the table is read in blocks, where it is wanted.

        That of a large slide takes longer to read whole than the first view of it.
        """
        block, place = divmod(index, _BLOCK)
        entries = self._table.get(block)
        if entries is None:
            entries = self._table[block] = self._entries(block * _BLOCK, (block + 1) * _BLOCK)
        return int(entries[0][place]), int(entries[1][place])

    def _entries(self, start: int, stop: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        offsets, counts = (324, 325) if self.is_tiled else (273, 279)
        return self.directory.numbers(offsets, start, stop), self.directory.numbers(counts, start, stop)
