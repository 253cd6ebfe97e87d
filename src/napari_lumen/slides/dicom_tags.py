"""The elements of a DICOM file's header: explicit VR, little endian (PS3.5, 7.1.2), as slides are written.

A reader of our own, because a slide's header describes each of its frames, 100,000 of them and more: what
is not asked for must be stepped over, not parsed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from napari_lumen.slides.dicom_errors import BrokenDicomError, UnsupportedDicomError

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
_PER_FRAME = 0x52009230
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_DEEPEST = 16
# the end of a sequence, where the next element is one of the pixel data group
_BEFORE_PIXELS = re.compile(rb"\xfe\xff\xdd\xe0\0{4}(?=\xe0\x7f[\x01\x02\x10]\0O[BVW]\0\0)")


class RanOffError(Exception):
    """The bytes at hand end before the element does."""


@dataclass(frozen=True, slots=True)
class Element:
    """Where the value of an element lies.

    Attributes
    ----------
    tag : int
        Group and element, 0xGGGGEEEE.
    vr : bytes
    start, end : int
        Of the value in the data; the end of pixel data of undefined length is its start.
    undefined : bool
        Whether its length is undefined.
    """

    tag: int
    vr: bytes
    start: int
    end: int
    undefined: bool


def elements(data: bytes, start: int, end: int | None = None, depth: int = 0) -> Iterator[Element]:
    """Yield the elements from `start` to `end`, to the end of an item, or to the pixel data, included.

    Raises
    ------
    RanOffError
        When the data ends first.
    BrokenDicomError, UnsupportedDicomError
    """
    if depth > _DEEPEST:
        raise BrokenDicomError("its sequences are nested without end")
    at = start
    while end is None or at < end:
        tag, vr, value, length = _head(data, at)
        if tag == ITEM_END:
            return
        if tag == PIXEL_DATA:
            undefined = length == UNDEFINED
            yield Element(tag, vr, value, value if undefined else value + length, undefined)
            return
        stop = _sequence_end(data, tag, vr, value, depth) if length == UNDEFINED else value + length
        if stop > len(data):
            raise RanOffError
        yield Element(tag, vr, value, stop, length == UNDEFINED)
        at = stop


def items(data: bytes, sequence: Element) -> Iterator[tuple[int, int | None]]:
    """Yield start and end (None where undefined) of each item of a sequence, for `elements`."""
    at = sequence.start
    while at < sequence.end:
        tag, length = _item_head(data, at)
        if tag == SEQUENCE_END:
            return
        if tag != ITEM:
            raise BrokenDicomError("a sequence of its header is damaged")
        yield at + 8, None if length == UNDEFINED else at + 8 + length
        at = _item_end(data, at + 8, 0) if length == UNDEFINED else at + 8 + length


def _head(data: bytes, at: int) -> tuple[int, bytes, int, int]:
    """Return tag, VR, start of the value and length of an element."""
    try:
        group, element, vr, length = struct.unpack_from("<HH2sH", data, at)
        tag = group << 16 | element
        if group == 0xFFFE:
            return tag, b"", at + 8, struct.unpack_from("<I", data, at + 4)[0]
        if vr in _LONG:
            return tag, vr, at + 12, struct.unpack_from("<I", data, at + 8)[0]
    except struct.error as error:
        raise RanOffError from error
    if not vr.isalpha() or not vr.isupper():
        raise BrokenDicomError("its header is damaged, or not of explicit value types")
    return tag, vr, at + 8, length


def _item_head(data: bytes, at: int) -> tuple[int, int]:
    try:
        group, element, length = struct.unpack_from("<HHI", data, at)
    except struct.error as error:
        raise RanOffError from error
    return group << 16 | element, length


def _sequence_end(data: bytes, tag: int, vr: bytes, start: int, depth: int) -> int:
    if vr != b"SQ":
        raise UnsupportedDicomError("an element of its header has neither a length nor a known type")
    if tag == _PER_FRAME and (found := _BEFORE_PIXELS.search(data, start)):
        return found.end()
    at = start
    while True:
        kind, length = _item_head(data, at)
        if kind == SEQUENCE_END:
            return at + 8
        if kind != ITEM:
            raise BrokenDicomError("a sequence of its header is damaged")
        at = _item_end(data, at + 8, depth + 1) if length == UNDEFINED else at + 8 + length


def _item_end(data: bytes, start: int, depth: int) -> int:
    """Return where an item of undefined length ends, behind its delimiter."""
    at = start
    for element in elements(data, start, None, depth):
        if element.tag == PIXEL_DATA:
            raise UnsupportedDicomError("it holds pictures within its header")
        at = element.end
    return at + 8


def text(data: bytes, element: Element | None) -> str:
    """Return a text without its padding, "" for none."""
    return (
        "" if element is None else data[element.start : element.end].decode("utf-8", "replace").strip("\0 ")
    )


def texts(data: bytes, element: Element | None) -> list[str]:
    """Return the texts of an element of several values."""
    whole = text(data, element)
    return [part.strip() for part in whole.split("\\")] if whole else []


def integer(data: bytes, element: Element | None, default: int | None = None) -> int:
    """Return a whole number; KeyError where it is absent without a default."""
    if element is None:
        if default is None:
            raise KeyError
        return default
    if element.vr == b"US":
        return int(struct.unpack_from("<H", data, element.start)[0])
    if element.vr == b"UL":
        return int(struct.unpack_from("<I", data, element.start)[0])
    return int(text(data, element))


def decimal(data: bytes, element: Element | None) -> float | None:
    """Return a decimal number, or None."""
    try:
        return float(text(data, element))
    except ValueError:
        return None
