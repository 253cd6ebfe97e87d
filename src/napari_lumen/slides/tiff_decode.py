"""From the bytes of one tile or strip of a TIFF to its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from napari_lumen.slides import jpeg, jpeg2000
from napari_lumen.slides.tiff_directory import Directory, UnsupportedLayoutError

Pixels = npt.NDArray[Any]
Decoder = Callable[[bytes, Pixels, tuple[int, int]], None]

NONE, _LZW, JPEG, _DEFLATE, _PACKBITS = 1, 5, 7, 8, 32773
_YCBCR_J2K = 33003  # Aperio's: OpenJPEG and tifffile leave the colours as they are
_J2K = (_YCBCR_J2K, 33004, 33005, 34712)
_LZMA, _ZSTD = 34925, (34926, 50000)
_BYTES = (NONE, _LZW, _DEFLATE, 32946, _PACKBITS, _LZMA, *_ZSTD)
_MOST_GROWTH = {NONE: 1, _LZW: 3000, _DEFLATE: 1100, 32946: 1100, _PACKBITS: 64, JPEG: 2000}
_RGB, _PALETTE, _YCBCR = 2, 3, 6
_MOST_SAMPLES = 256
_MOST_BITS, _MOST_FORMAT = 64, 6
_KNOWN_PHOTOMETRIC = (*range(7), 8, 9, 10, 32803, 32844, 32845, 34892, 52527)
_KNOWN_PREDICTORS = (1, 2, 3, 34892, 34893, 34894, 34895)
_DTYPES = {(1, 8): "u1", (1, 16): "u2", (1, 32): "u4", (2, 16): "i2", (2, 32): "i4"} | {
    (3, bits): f"f{bits // 8}" for bits in (16, 32, 64)
}


@dataclass(frozen=True, slots=True)
class Coding:
    """How the pixels of a directory are stored.

    Attributes
    ----------
    dtype : dtype
        In the file's byte order.
    samples : int
        Values per pixel.
    separate : bool
        Whether each sample has tiles of its own.
    photometric, compression, predictor : int
        As TIFF numbers them.
    extra : tuple of int
        What the samples beyond the colours are: 1 and 2 are opacity, with and without premultiplied colours.
    """

    dtype: np.dtype[Any]
    samples: int
    separate: bool
    photometric: int
    compression: int
    predictor: int
    extra: tuple[int, ...]

    @property
    def per_segment(self) -> int:
        """Values per pixel of one tile or strip."""
        return 1 if self.separate else self.samples

    @property
    def most_growth(self) -> int | None:
        """How many times larger than its bytes a decoded segment can be; None where there is no bound."""
        return _MOST_GROWTH.get(self.compression)

    @property
    def is_cheap(self) -> bool:
        """Whether decoding takes less than a hundredth of a second for a megabyte."""
        return self.compression not in (*_J2K, _LZMA)


def coding_of(directory: Directory) -> Coding:
    """Return how the pixels of a directory are stored.

    Raises
    ------
    UnsupportedLayoutError
        When nothing here decodes that.
    SlideError
        When it states what no file has.
    """
    samples = directory.integer(277, 1)
    bits = {int(value) for value in directory.numbers(258)[: max(1, samples)]} or {1}
    kinds = {int(value) for value in directory.numbers(339)[: max(1, samples)]} or {1}
    code = _DTYPES.get((min(kinds), min(bits))) if len(bits) == len(kinds) == 1 else None
    compression = directory.integer(259, NONE)
    if compression not in (JPEG, *_J2K, *_BYTES):
        raise UnsupportedLayoutError(f"its compression {compression} is unknown")
    most = 4 if compression == JPEG and directory.integer(284, 1) != 2 else _MOST_SAMPLES
    if not 1 <= samples <= most:
        raise directory.file.damaged(f"it states {samples:,} samples a pixel")
    if max(bits) > _MOST_BITS or max(kinds) > _MOST_FORMAT:
        raise directory.file.damaged(f"it states samples of {max(bits):,} bits and of kind {max(kinds):,}")
    if code is None:
        raise UnsupportedLayoutError(f"it holds {samples} samples of {'/'.join(map(str, sorted(bits)))} bits")
    coding = Coding(
        np.dtype(code).newbyteorder(directory.order),
        samples,
        directory.integer(284, 1) == 2 and samples > 1,
        directory.integer(262, 1),
        compression,
        1 if compression in (JPEG, *_J2K) else directory.integer(317, 1),
        tuple(int(value) for value in directory.numbers(338)),
    )
    _check(coding, directory)
    return coding


def _check(coding: Coding, directory: Directory) -> None:
    file = directory.file
    for name, value, known in (
        ("a colour space", coding.photometric, _KNOWN_PHOTOMETRIC),
        ("a predictor", coding.predictor, _KNOWN_PREDICTORS),
        ("an order of samples", directory.integer(284, 1), (1, 2)),
    ):
        if value not in known:  # no format: another reader would only make more of the damage
            raise file.damaged(f"it states {name} of {value}, which there is not")
    if coding.photometric not in (0, 1, _RGB, _PALETTE, _YCBCR):
        raise UnsupportedLayoutError(f"its colour space {coding.photometric} is unknown")
    if coding.photometric == _YCBCR and coding.compression not in (JPEG, *_J2K):
        raise UnsupportedLayoutError("it is in YCbCr without being JPEG")
    if coding.photometric in (_RGB, _YCBCR) and coding.samples < 3:
        raise UnsupportedLayoutError(f"it is a colour image of {coding.samples} samples")
    if coding.compression == JPEG and coding.dtype != np.uint8:
        raise UnsupportedLayoutError("it is JPEG of more than 8 bits")
    if coding.predictor not in (1, 2, 3) or (coding.predictor == 3) != (
        coding.predictor != 1 and coding.dtype.kind == "f"
    ):
        raise UnsupportedLayoutError(f"its predictor {coding.predictor} is unknown for {coding.dtype.name}")
    if directory.integer(266, 1) == 2 and coding.compression in _BYTES:
        raise UnsupportedLayoutError("its bits run backwards")
    if directory.integer(32997, 1) > 1:
        raise UnsupportedLayoutError("it is a volume")


def decoder_of(directory: Directory, coding: Coding) -> Decoder:
    """Return what decodes one segment of a directory.

    It takes the bytes, the array (h, w, samples) to fill and the least (height, width) of it that must be
    there: writers crop segments at the edges, and what they crop off is left as it is. It raises ValueError
    or an error of the codec.
    """
    if coding.compression == JPEG:
        is_rgb = coding.photometric == _RGB and coding.per_segment == 3 and not coding.extra
        return partial(_jpeg, tables=_tables(directory), is_rgb=is_rgb)
    if coding.compression in _J2K:
        return partial(_jpeg2000, convert=coding.photometric == _YCBCR or coding.compression == _YCBCR_J2K)
    return partial(_plain, coding=coding)


def _tables(directory: Directory) -> bytes:
    try:
        return jpeg.tables_of(directory.data(347)) if 347 in directory else b""
    except ValueError as error:
        raise directory.file.damaged("its JPEG tables are broken") from error


def _fits(shape: tuple[int, int, int], out: Pixels, least: tuple[int, int]) -> None:
    """Refuse a codestream that is no picture of its segment, before memory is spent on it."""
    height, width, components = shape
    inside = least[0] <= height <= out.shape[0] and least[1] <= width <= out.shape[1]
    if not inside or components != out.shape[2]:
        raise ValueError(
            f"it is {width} x {height} px of {components} components, "
            f"not {out.shape[1]} x {out.shape[0]} of {out.shape[2]}"
        )


def _jpeg(data: bytes, out: Pixels, least: tuple[int, int], *, tables: bytes, is_rgb: bool) -> None:
    shape = jpeg.frame_shape(data)
    _fits(shape, out, least)
    into = out if shape == out.shape and out.flags.c_contiguous else np.empty(shape, np.uint8)
    # Aperio writes RGB without a word in the codestream; a JFIF head means YCbCr
    stored: jpeg.Stored | None = "RGB" if is_rgb and data[6:10] != b"JFIF" else None
    jpeg.decode(data, into, tables=tables, stored=stored)
    if into is not out:
        out[: shape[0], : shape[1]] = into


def _jpeg2000(data: bytes, out: Pixels, least: tuple[int, int], *, convert: bool) -> None:
    shape = jpeg2000.frame_shape(data)
    _fits(shape, out, least)
    height, width, components = shape
    decoded = jpeg2000.decode(data).reshape(shape)
    if convert and decoded.dtype == np.uint8 and components == 3:
        size = (width, height)
        picture = Image.frombuffer("YCbCr", size, np.ascontiguousarray(decoded), "raw", "YCbCr", 0, 1)
        decoded = np.asarray(picture.convert("RGB"))
    out[:height, :width] = decoded


def _plain(data: bytes, out: Pixels, least: tuple[int, int], *, coding: Coding) -> None:
    row = out.shape[1] * out.shape[2]
    size = out.shape[0] * row * coding.dtype.itemsize
    if coding.compression == NONE:
        raw = data
    else:
        raw = tifffile.TIFF.DECOMPRESSORS[coding.compression](data, out=size)
    rows = min(out.shape[0], len(raw) // (row * coding.dtype.itemsize))
    if rows < least[0]:
        raise ValueError(f"it holds {len(raw):,} of {size:,} bytes")
    stored = np.frombuffer(raw, coding.dtype, rows * row).reshape(rows, *out.shape[1:])
    if coding.predictor == 1:
        out[:rows] = stored
    elif coding.predictor == 3:
        out[:rows] = tifffile.TIFF.UNPREDICTORS[3](stored, axis=-2)
    else:
        steps = stored.astype(coding.dtype.newbyteorder("="))
        tifffile.TIFF.UNPREDICTORS[2](steps, axis=-2, out=steps)
        out[:rows] = steps
