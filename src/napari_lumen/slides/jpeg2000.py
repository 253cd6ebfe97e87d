"""JPEG 2000 codestreams to pixels, behind a look at what their header asks for."""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

_ZEROS = bytes(16)  # more than pads a codestream, and than coded data hold


def frame_shape(data: bytes) -> tuple[int, int, int]:
    """Return height, width and components that a codestream states.

    To be asked before decoding: OpenJPEG allocates what the header asks for before it finds that the rest
    is missing.

    Raises
    ------
    ValueError
        When the header is broken.
    """
    height, width, steps = _siz(data)
    return height, width, len(steps)


def is_subsampled(data: bytes) -> bool:
    """Whether a codestream holds its colours at a lower resolution, which imagecodecs refuses."""
    _, _, steps = _siz(data)
    return any(step != (1, 1) for step in steps)


def decode(data: bytes) -> npt.NDArray[Any]:
    """Return the pixels (height, width) or (height, width, components), as they are stored.

    OpenJPEG refuses what breaks off; of wrong bytes within, it makes wrong pixels: JPEG 2000 has nothing to
    tell them by.

    Raises
    ------
    ValueError or an error of the codec
        When it is damaged as far as can be seen.
    """
    if data[-16:] == _ZEROS and data.rstrip(b"\0")[-2:] != b"\xff\xd9":
        raise ValueError("its end is zeros")
    return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))


def _siz(data: bytes) -> tuple[int, int, list[tuple[int, int]]]:
    """Return height, width and subsampling (y, x) of each component."""
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
