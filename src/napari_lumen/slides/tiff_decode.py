"""From the bytes of one tile or strip of a TIFF to its pixels, by imagecodecs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

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
        return partial(_jpeg, tables=directory.data(347) or None, coding=coding)
    if coding.compression in _J2K:
        return partial(_jpeg2000, convert=coding.photometric == _YCBCR or coding.compression == _YCBCR_J2K)
    return partial(_plain, coding=coding)


def subsampled(data: bytes) -> bool:
    """Whether a JPEG 2000 codestream holds its colours at a lower resolution, which imagecodecs refuses."""
    _, _, components = _siz(data)
    return any(step != (1, 1) for step in components)


def _jpeg(data: bytes, out: Pixels, least: tuple[int, int], *, tables: bytes | None, coding: Coding) -> None:
    if data[-2:] != b"\xff\xd9" and data[-16:] == bytes(16) and data.rstrip(b"\0")[-2:] != b"\xff\xd9":
        raise ValueError("its end is zeros")  # libjpeg would fill in grey without a word
    colorspace, outcolorspace = tifffile.tifffile.jpeg_decode_colorspace(
        coding.photometric, 2 if coding.separate else 1, coding.extra, data[6:10] == b"JFIF"
    )
    shape = _jpeg_shape(data)
    # an array that does not fit is never filled: a damaged header could ask for gigabytes
    if shape == out.shape:
        into = out if out.flags.c_contiguous else np.empty_like(out)
    elif least[0] <= shape[0] <= out.shape[0] and least[1] <= shape[1] <= out.shape[1]:
        if shape[2] != out.shape[2]:
            raise ValueError(f"it has {shape[2]} components, not {out.shape[2]}")
        into = np.empty(shape, np.uint8)
    else:
        raise ValueError(f"it is {shape[1]} x {shape[0]} px, not {out.shape[1]} x {out.shape[0]}")
    imagecodecs.jpeg8_decode(
        data, tables=tables, colorspace=colorspace, outcolorspace=outcolorspace, out=into
    )
    if into is not out:
        out[: shape[0], : shape[1]] = into


def _jpeg_shape(data: bytes) -> tuple[int, int, int]:
    """Return height, width and components that a JPEG states."""
    if data[:2] != b"\xff\xd8":
        raise ValueError("it is no JPEG")
    place = 2
    while place + 10 <= len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, components = struct.unpack_from(">HHB", data, place + 5)
            return height, width, components
        if marker == 0xFF:  # padding
            place += 1
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        place += 2 + length
    raise ValueError("its JPEG header is broken")


def _jpeg2000(data: bytes, out: Pixels, least: tuple[int, int], *, convert: bool) -> None:
    height, width, components = _siz(data)
    fits = least[0] <= height <= out.shape[0] and least[1] <= width <= out.shape[1]
    if not fits or len(components) != out.shape[2]:
        raise ValueError(
            f"it is {width} x {height} px of {len(components)} components, "
            f"not {out.shape[1]} x {out.shape[0]} of {out.shape[2]}"
        )
    decoded = np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))
    decoded = decoded.reshape(height, width, len(components))
    if convert and decoded.dtype == np.uint8 and len(components) == 3:
        size = (width, height)
        picture = Image.frombuffer("YCbCr", size, np.ascontiguousarray(decoded), "raw", "YCbCr", 0, 1)
        decoded = np.asarray(picture.convert("RGB"))
    out[:height, :width] = decoded


def _siz(data: bytes) -> tuple[int, int, list[tuple[int, int]]]:
    """Return height, width and subsampling (y, x) of each component that a JPEG 2000 codestream states.

    OpenJPEG allocates what the header asks for before it finds that the rest is missing.
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 1 << 16)
    if start < 0 or start + 42 > len(data):
        raise ValueError("it is no JPEG 2000")
    width, height, left, top, tile_width, tile_height, tile_left, tile_top, count = struct.unpack_from(
        ">8IH", data, start + 8
    )
    if start + 42 + 3 * count > len(data) or not count:
        raise ValueError("its JPEG 2000 header is broken")
    if min(tile_width, tile_height) == 0 or left >= width or top >= height:
        raise ValueError("its JPEG 2000 header is broken")
    tiles = -(-(width - tile_left) // tile_width) * -(-(height - tile_top) // tile_height)
    if tiles > 65535:
        raise ValueError("its JPEG 2000 header is broken")
    sizes = [data[start + 42 + 3 * index : start + 45 + 3 * index] for index in range(count)]
    return height - top, width - left, [(size[2], size[1]) for size in sizes]


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
