"""The skeleton of a TIFF file: its directories and their values, read when asked for and checked.

Not through tifffile, which reads every table of tiles when it opens a file: 150,000 tiles cost it 10 ms
where this costs the same 0.3 ms as for 1,500, and it passes over broken chains and values in silence.
"""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError

HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of which a file has one when it is a TIFF
_MOST_DIRECTORIES = 20_000  # a chain of more is damaged, or a film
_MOST_TAGS = 4096
_ASCII = 2
_RATIONALS = (5, 10)
# by the type of a value: how NumPy reads it; a rational is a pair
_TYPES = {
    1: "u1",
    2: "u1",
    3: "u2",
    4: "u4",
    5: "u4",
    6: "i1",
    7: "u1",
    8: "i2",
    9: "i4",
    10: "i4",
    11: "f4",
    12: "f8",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
_SIZES = {kind: np.dtype(code).itemsize * (2 if kind in _RATIONALS else 1) for kind, code in _TYPES.items()}


_ORDERS: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}


class UnsupportedLayoutError(Exception):
    """The file is a TIFF but not one that this backend reads; another may."""


class StackError(SlideError):
    """The file is a stack along an axis that is not shown; the message names it."""


class SlideFile:
    """A file open for reading at any place from many threads.

    Raises
    ------
    SlideError
        From `read`, when the bytes are not there or the file was closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        # a viewer drops its slides without a word
        self._release = weakref.finalize(self, os.close, self._descriptor)
        self._lock = Lock()
        self._readers = 0
        self._closed = False
        self.size = os.fstat(self._descriptor).st_size

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`, no fewer."""
        if offset < 0 or offset + count > self.size:
            raise self.truncated(offset + count)
        self._enter()
        try:
            data = os.pread(self._descriptor, count, offset)
            if len(data) < count:  # it was cut off while open
                self.size = os.fstat(self._descriptor).st_size
        except OSError as error:
            raise SlideError(
                f"{self.name} cannot be read at byte {offset:,}: {error.strerror or error}. "
                "Check the disk and the connection to it."
            ) from error
        finally:
            self._leave()
        if len(data) < count:
            raise self.truncated(offset + count)
        return data

    def _enter(self) -> None:
        with self._lock:
            if self._closed:
                raise SlideError(f"{self.name} is closed; open it again.")
            self._readers += 1

    def _leave(self) -> None:
        with self._lock:
            self._readers -= 1
            if self._closed and not self._readers:
                self._release()

    def truncated(self, end: int) -> SlideError:
        """Return the error of a file that should reach to byte `end`."""
        return SlideError(
            f"{self.name} is truncated: it ends at byte {self.size:,} of at least {end:,}. "
            "Copy or download it again."
        )

    def damaged(self, reason: str) -> SlideError:
        """Return the error of a file that contradicts itself."""
        return SlideError(f"{self.name} is damaged: {reason}. Copy it again or re-export it.")

    def close(self) -> None:
        """Free the file, as soon as no other thread is reading from it."""
        with self._lock:
            self._closed = True
            if not self._readers:
                self._release()


@dataclass(frozen=True, slots=True)
class _Form:
    """How the directories of a file are written."""

    order: Literal["<", ">"]
    count: struct.Struct
    entry: struct.Struct
    offset: struct.Struct

    @property
    def inline(self) -> int:
        """Bytes of a value that fit into its entry."""
        return self.offset.size


class Directory:
    """One image file directory: its tags, read when asked for.

    Raises
    ------
    SlideError
        When it, or a value that it points to, lies beyond the end of the file.
    """

    def __init__(self, file: SlideFile, form: _Form, offset: int) -> None:
        self.file = file
        self.order = form.order
        self.offset = offset
        self._form = form
        head = form.count.size
        (count,) = form.count.unpack(file.read(offset, head))
        if count > _MOST_TAGS:
            raise file.damaged(f"a directory at byte {offset:,} states {count:,} entries")
        length = head + count * form.entry.size + form.offset.size
        self._block = file.read(offset, length)
        (self.following,) = form.offset.unpack_from(self._block, length - form.offset.size)
        self._entries: dict[int, tuple[int, int, int]] = {}
        place = offset + head + form.entry.size - form.inline
        entries = form.entry.iter_unpack(self._block[head : length - form.offset.size])
        for index, (code, kind, number, value) in enumerate(entries):
            if kind not in _SIZES:
                continue
            size = number * _SIZES[kind]
            where = place + index * form.entry.size if size <= form.inline else self._unpacked(value)
            if where + size > file.size:
                raise file.truncated(where + size)
            self._entries.setdefault(code, (kind, number, where))

    def _unpacked(self, value: bytes) -> int:
        (offset,) = self._form.offset.unpack(value)
        return int(offset)

    def __contains__(self, code: int) -> bool:
        return code in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def count(self, code: int) -> int:
        """Return how many values a tag has; 0 when it is absent."""
        return self._entries[code][1] if code in self._entries else 0

    def data(self, code: int, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes of values `start` to `stop` of a tag; none when it is absent."""
        if code not in self._entries:
            return b""
        kind, number, where = self._entries[code]
        stop = number if stop is None else min(stop, number)
        size = _SIZES[kind]
        first, length = where + start * size, max(0, stop - start) * size
        inside = first - self.offset
        if 0 <= inside <= len(self._block) - length:
            return self._block[inside : inside + length]
        return self.file.read(first, length)

    def numbers(self, code: int, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Return values `start` to `stop` of a numeric tag; none when it is absent."""
        kind = self._entries[code][0] if code in self._entries else 1
        return np.frombuffer(self.data(code, start, stop), np.dtype(_TYPES[kind]).newbyteorder(self.order))

    def integer(self, code: int, default: int = 0) -> int:
        """Return the first value of a tag as a whole number."""
        values = self.numbers(code, 0, 1)
        return int(values[0]) if values.size and values.dtype.kind in "ui" else default

    def ratio(self, code: int) -> float | None:
        """Return the first value of a rational or float tag; None when it is absent or has no value."""
        values = self.numbers(code, 0, 1).astype(np.float64)
        if code in self._entries and self._entries[code][0] in _RATIONALS:
            return float(values[0] / values[1]) if values.size == 2 and values[1] else None
        return float(values[0]) if values.size else None

    def text(self, code: int) -> str:
        """Return a tag as text; empty when it is absent or holds something else."""
        if code not in self._entries or self._entries[code][0] not in (1, _ASCII, 7):
            return ""
        data = self.data(code).rstrip(b"\0")
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def children(self) -> list[Directory]:
        """Return the directories that this one holds in itself (SubIFDs)."""
        offsets = [int(value) for value in self.numbers(330)]
        if len(set(offsets)) < len(offsets) or self.offset in offsets:
            raise self.file.damaged("its directories run in a circle")
        return [Directory(self.file, self._form, offset) for offset in offsets if offset]


def directories(file: SlideFile) -> Sequence[Directory]:
    """Return the directories of a TIFF file in the order of their chain.

    Raises
    ------
    UnsupportedLayoutError
        When the file is no TIFF.
    SlideError
        When the chain breaks off, runs in a circle or has no end.
    """
    form, offset = _header(file)
    found: list[Directory] = []
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise file.damaged("its directories run in a circle")
        if offset >= file.size:
            raise SlideError(
                f"{file.name} is truncated: its directories break off at byte {file.size:,}. "
                "Copy or download it again."
            )
        if len(found) == _MOST_DIRECTORIES:
            raise file.damaged(f"it has more than {_MOST_DIRECTORIES:,} directories")
        seen.add(offset)
        found.append(Directory(file, form, offset))
        offset = found[-1].following
    if not found or not len(found[0]):
        raise UnsupportedLayoutError("it holds no image")
    return found


def _header(file: SlideFile) -> tuple[_Form, int]:
    head = file.read(0, min(16, file.size))
    order = _ORDERS.get(head[:2])
    if order is None or len(head) < 8:
        raise UnsupportedLayoutError("it is not a TIFF file")
    (version,) = struct.unpack_from(order + "H", head, 2)
    if version == 42:
        form = _Form(order, *(struct.Struct(order + code) for code in ("H", "HHI4s", "I")))
        return form, int(form.offset.unpack_from(head, 4)[0])
    if version == 43 and len(head) == 16 and struct.unpack_from(order + "HH", head, 4) == (8, 0):
        form = _Form(order, *(struct.Struct(order + code) for code in ("Q", "HHQ8s", "Q")))
        return form, int(form.offset.unpack_from(head, 8)[0])
    raise UnsupportedLayoutError("it is not a TIFF file")
