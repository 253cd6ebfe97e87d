"""JPEG codestreams of 8 bits to pixels; a damaged one is refused, where libjpeg fills in grey without a word.

The decoder is simplejpeg, as fast as imagecodecs on the same libjpeg-turbo: imagecodecs passes over the
warnings of libjpeg, by which alone a broken scan can be told from a whole one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Literal

import imagecodecs
import numpy as np
import numpy.typing as npt
import simplejpeg

Stored = Literal["RGB", "YCBCR"]

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN = 0xDA
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})  # 0xF7 is that of JPEG-LS
_TABLES = frozenset((0xC4, 0xCC, 0xDB, 0xDD))
_COLOR_HINTS = frozenset((0xE0, 0xEE))  # JFIF and Adobe
_ADOBE = {
    stored: b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + transform
    for stored, transform in (("RGB", b"\x00"), ("YCBCR", b"\x01"))
}
_SPACES = {1: "GRAY", 4: "CMYK"}
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_ALIGNED = 3  # bytes that encoders leave behind the last pixel, whatever is in them
_UNKNOWN_TO_TURBO = "Could not determine"  # odd subsamplings, two components: libjpeg itself knows them


def frame_shape(data: bytes) -> tuple[int, int, int]:
    """Return height, width and components that a JPEG or JPEG-LS codestream states.

    To be asked before decoding: a damaged header can ask for gigabytes.

    Raises
    ------
    ValueError
        When the header is broken.
    """
    for marker, start, _ in _segments(data):
        if marker in _FRAMES and start + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, start + 5)
            return height, width, components
    raise ValueError("its JPEG header is broken")


def tables_of(data: bytes) -> bytes:
    """Return the tables of an abbreviated stream that holds nothing else, to be handed to `decode`."""
    return b"".join(data[start:stop] for marker, start, stop in _segments(data) if marker in _TABLES)


def decode(
    data: bytes, out: npt.NDArray[np.uint8], *, tables: bytes = b"", stored: Stored | None = None
) -> None:
    """Decode a whole codestream into an array of its `frame_shape`; three components come out as RGB.

    Parameters
    ----------
    data : bytes
    out : ndarray
        uint8 (height, width, components), C-contiguous.
    tables : bytes
        Of an abbreviated codestream, as of `tables_of`.
    stored : "RGB" or "YCBCR", optional
        How three components are stored, whatever the codestream says of itself.

    Raises
    ------
    ValueError or an error of the codec
        When it is damaged anywhere.
    """
    parts: list[bytes | memoryview] = [_START]
    if stored is not None:
        parts.append(_ADOBE[stored])
    parts.append(tables)
    view, done = memoryview(data), 2
    if stored is not None:
        for marker, start, stop in _segments(data):
            if marker in _COLOR_HINTS:
                parts.append(view[done:start])
                done = stop
    # some writers leave the end marker out; where it is there, nobody reads behind it
    stream = b"".join((*parts, view[done:], _END))
    space = _SPACES.get(out.shape[2], "RGB")
    try:
        simplejpeg.decode_jpeg(stream, space, buffer=out)
    except ValueError as error:
        if _is_padded(data, str(error)):
            simplejpeg.decode_jpeg(stream, space, buffer=out, strict=False)
        elif _UNKNOWN_TO_TURBO in str(error):
            imagecodecs.jpeg8_decode(stream, out=out)
        else:
            raise


def _is_padded(data: bytes, warning: str) -> bool:
    """Whether a warning is but of padding between the last pixel and the end marker.

    A broken scan, too, may have its pixels together before its bytes are used up; what is left is coded
    data then, not one byte over and over.
    """
    left = _LEFT_OVER.search(warning)
    if left is None:
        return False
    count, end = int(left[1]), data.rfind(_END)
    tail = data[:end][-count:] if end >= 0 else data[-count:]
    return count <= _ALIGNED or len(set(tail)) == 1


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and stop of each segment before the first scan."""
    if data[:2] != _START:
        raise ValueError("it is no JPEG")
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == _SCAN:
            return
        stop = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        yield marker, place, stop
        place = stop
