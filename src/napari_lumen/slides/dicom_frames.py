"""The frames of one DICOM file: where they lie, and decoding them."""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Callable
from threading import Lock
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from napari_lumen.slides.dicom_errors import BrokenDicomError, UnsupportedDicomError
from napari_lumen.slides.dicom_instance import NATIVE, Instance

_ITEM = (0xFFFE, 0xE000)
_HEAD = struct.Struct("<HHI")
Tile = npt.NDArray[Any]


def _jpeg(data: bytes, photometric: str) -> Tile:
    if photometric.startswith("MONOCHROME"):
        return np.asarray(imagecodecs.jpeg8_decode(data))
    # the header decides: a bare JPEG stream does not say whether it is RGB
    stored = "RGB" if photometric == "RGB" else "YCBCR"
    return np.asarray(imagecodecs.jpeg8_decode(data, colorspace=stored, outcolorspace="RGB"))


def _jpeg2000(data: bytes, photometric: str) -> Tile:
    return np.asarray(imagecodecs.jpeg2k_decode(data))


def _jpeg_ls(data: bytes, photometric: str) -> Tile:
    return np.asarray(imagecodecs.jpegls_decode(data))


_JPEG = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME2"))
_WAVELET = frozenset(("RGB", "YBR_ICT", "YBR_RCT", "MONOCHROME2"))  # the codec undoes its own transform
_PLAIN = frozenset(("RGB", "MONOCHROME2"))
_DECODERS: dict[str, tuple[Callable[[bytes, str], Tile], frozenset[str]]] = {
    "1.2.840.10008.1.2.4.50": (_jpeg, _JPEG),
    "1.2.840.10008.1.2.4.80": (_jpeg_ls, _PLAIN),
    "1.2.840.10008.1.2.4.81": (_jpeg_ls, _PLAIN),
    "1.2.840.10008.1.2.4.90": (_jpeg2000, _WAVELET),
    "1.2.840.10008.1.2.4.91": (_jpeg2000, _WAVELET),
    "1.2.840.10008.1.2.4.201": (_jpeg2000, _WAVELET),
    "1.2.840.10008.1.2.4.202": (_jpeg2000, _WAVELET),
    "1.2.840.10008.1.2.4.203": (_jpeg2000, _WAVELET),
}


def require_decoder(instance: Instance) -> None:
    """Raise UnsupportedDicomError when the frames of a file are of a kind that is not decoded here."""
    known = _PLAIN if instance.syntax == NATIVE else _DECODERS.get(instance.syntax, (None, frozenset()))[1]
    if instance.photometric not in known:
        raise UnsupportedDicomError(
            f"its pixels are stored as {instance.photometric} in transfer syntax {instance.syntax}"
        )
    colours = 1 if instance.photometric == "MONOCHROME2" else 3
    if instance.samples != colours or (colours == 3 and instance.bits != 8):
        raise UnsupportedDicomError(f"it holds {instance.samples} colours of {instance.bits} bits")


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
        shape = (*instance.tile, instance.samples)
        dtype = np.dtype("u1" if instance.bits == 8 else "<u2")
        if instance.syntax == NATIVE:
            size = shape[0] * shape[1] * shape[2] * dtype.itemsize
            data = self._bytes(instance.start + number * size, size)
            return np.frombuffer(data, dtype).reshape(shape)
        decode, _ = _DECODERS[instance.syntax]
        tile = decode(self._frame(number), instance.photometric)
        if tile.dtype != dtype or tile.shape[:2] != shape[:2] or tile.size != shape[0] * shape[1] * shape[2]:
            raise BrokenDicomError(f"the frame holds {tile.shape} of {tile.dtype}, not {shape} of {dtype}")
        return tile.reshape(shape)

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
