"""The frames of one DICOM file: where they lie in it, and reading them."""

from __future__ import annotations

import os
import struct
import weakref
from threading import Lock

import numpy as np
import numpy.typing as npt

from napari_lumen.slides.dicom_decode import Tile, decoded, dtype_of, require_decoder
from napari_lumen.slides.dicom_errors import BrokenDicomError
from napari_lumen.slides.dicom_instance import NATIVE, Instance

_ITEM = (0xFFFE, 0xE000)
_HEAD = struct.Struct("<HHI")


class Frames:
    """The frames of one file, read by number from many threads; the file closes with the last reader."""

    def __init__(self, instance: Instance) -> None:
        require_decoder(instance)
        self.instance = instance
        self._descriptor = os.open(instance.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self._length = os.fstat(self._descriptor).st_size
        self._table: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
        self._lock = Lock()

    def tile(self, number: int) -> Tile:
        """Return a decoded frame (height, width, samples).

        Raises
        ------
        Exception
            Of the codec's own types, when it is damaged.
        """
        instance = self.instance
        if instance.syntax != NATIVE:
            return decoded(self._frame(number), instance)
        size = instance.tile[0] * instance.tile[1] * instance.samples * dtype_of(instance).itemsize
        return decoded(self._bytes(instance.start + number * size, size), instance)

    def _bytes(self, start: int, size: int) -> bytes:
        if start < 0 or size < 0 or start + size > self._length:
            raise BrokenDicomError("the frame lies beyond the end of the file")
        data = os.pread(self._descriptor, size, start)
        if len(data) < size:
            raise BrokenDicomError("the file ends within the frame")
        return data

    def _frame(self, number: int) -> bytes:
        """Return the codestream of a frame, its fragments joined."""
        with self._lock:
            if self._table is None:
                self._table = self._built()
        starts, ends = self._table
        blob = self._bytes(int(starts[number]), int(ends[number] - starts[number]))
        at, parts = 0, []
        while at + 8 <= len(blob):
            group, element, size = _HEAD.unpack_from(blob, at)
            if (group, element) != _ITEM:
                break
            parts.append(blob[at + 8 : at + 8 + size])
            at += 8 + size
        if not parts:
            raise BrokenDicomError("the frame does not begin where its table says")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _built(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return where each frame's items begin and end, from the tables or by walking the items."""
        instance = self.instance
        group, element, size = _HEAD.unpack(self._bytes(instance.start, 8))
        if (group, element) != _ITEM:
            raise BrokenDicomError("its frames do not begin with a table")
        first = instance.start + 8 + size
        if instance.offsets is not None:
            starts = first + instance.offsets[0]
            return starts, starts + 8 + instance.offsets[1] + instance.offsets[1] % 2
        if size == 4 * instance.frames:
            starts = first + np.frombuffer(self._bytes(instance.start + 8, size), "<u4").astype(np.int64)
            if (np.diff(starts) > 0).all():  # else it wrapped beyond 4 GB, or is damaged
                return starts, np.append(starts[1:], self._walked(int(starts[-1]))[1][-1])
        starts, ends = self._walked(first)
        if len(starts) != instance.frames:
            raise BrokenDicomError(f"it holds {len(starts)} pieces for {instance.frames} frames")
        return starts, ends

    def _walked(self, at: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return where the items from a place on begin and end."""
        starts, ends = [], []
        while at + 8 <= self._length:
            group, element, size = _HEAD.unpack(self._bytes(at, 8))
            if (group, element) != _ITEM:
                break
            starts.append(at)
            at += 8 + size
            ends.append(at)
        if not starts:
            raise BrokenDicomError("its last frame is missing")
        return np.array(starts, np.int64), np.array(ends, np.int64)
