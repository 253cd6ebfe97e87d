"""The slides that are measured: large files put together from encoded tiles of a synthetic section."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

from napari_lumen.slides.synthetic import SyntheticSlide

TILE = 256
SQUARE = 1024  # px of level 0: what `write_svs` leaves white or fills
_PATCH = 8  # tiles a side that are drawn and encoded; the slide repeats them
_QUALITY = 80
_MPP = 0.25

Pixels = npt.NDArray[np.uint8]
Squares = Set[tuple[int, int]]


def tissue() -> Pixels:
    """Return the drawn tissue that all files repeat, uint8 (2048, 2048, 3)."""
    side = _PATCH * TILE
    return SyntheticSlide(side, side, mpp=_MPP, seed=11).read(0, 0, side, side)


def write_svs(
    path: Path, pixels: Pixels, height: int, width: int, factor: int = 4, squares: Squares | None = None
) -> Path:
    """Write an Aperio-like pyramid of JPEG tiles (YCbCr 4:2:0), the tissue repeated, levels of `factor`.

    With `squares`, rows and columns of squares of 1,024 px, there is tissue in these and glass elsewhere.
    """
    description = f"Aperio Image Library v11.2.1\n{width}x{height} JPEG/YCBCR Q=80|AppMag = 40|MPP = {_MPP}"
    with tifffile.TiffWriter(path, bigtiff=height * width > 2_000_000_000) as tiff:
        level, step = pixels, 1
        while True:
            shape = (-(-height // step), -(-width // step))
            tiff.write(
                _repeated(level, shape) if squares is None else _scattered(level, shape, squares, step),
                shape=(*shape, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                compressionargs={"level": _QUALITY},
                description=description
                if step == 1
                else f"Aperio Image Library v11.2.1\n{shape[1]}x{shape[0]}",
                metadata=None,
            )
            if max(shape) <= 2048:
                return path
            level, step = _halved(level, factor), step * factor


def _repeated(level: Pixels, shape: tuple[int, int]) -> Iterator[bytes]:
    """Yield the encoded tiles of a level row by row, each patch of tissue encoded once."""
    rows, columns = max(1, level.shape[0] // TILE), max(1, level.shape[1] // TILE)
    padded = np.full((rows * TILE, columns * TILE, 3), 255, np.uint8)
    padded[: level.shape[0], : level.shape[1]] = level[: rows * TILE, : columns * TILE]
    encoded = [
        [_encoded(padded[y : y + TILE, x : x + TILE]) for x in range(0, columns * TILE, TILE)]
        for y in range(0, rows * TILE, TILE)
    ]
    for row in range(-(-shape[0] // TILE)):
        for column in range(-(-shape[1] // TILE)):
            yield encoded[row % rows][column % columns]


def _scattered(level: Pixels, shape: tuple[int, int], squares: Squares, step: int) -> Iterator[bytes]:
    """Yield the encoded tiles of a level row by row, white where there is no square."""
    side = max(1, SQUARE // step)  # of a square at this level
    blank = np.full((TILE, TILE, 3), 255, np.uint8)
    glass = _encoded(blank)
    touched = {
        (y // TILE, x // TILE)
        for row, column in squares
        for y in range(row * side, (row + 1) * side, min(side, TILE))
        for x in range(column * side, (column + 1) * side, min(side, TILE))
    }
    count = max(1, TILE // side)  # squares across a tile
    offsets = np.arange(TILE)
    for row in range(-(-shape[0] // TILE)):
        for column in range(-(-shape[1] // TILE)):
            if (row, column) not in touched:
                yield glass
                continue
            rows, columns = row * TILE + offsets, column * TILE + offsets
            tissue = level[np.ix_(rows % level.shape[0], columns % level.shape[1])]
            top, left = row * TILE // side, column * TILE // side
            filled = np.array([[(top + y, left + x) in squares for x in range(count)] for y in range(count)])
            filled = filled.repeat(TILE // count, axis=0).repeat(TILE // count, axis=1)
            yield _encoded(np.where(filled[..., None], tissue, blank))


def _encoded(tile: Pixels) -> bytes:
    data: bytes = imagecodecs.jpeg_encode(
        np.ascontiguousarray(tile),
        level=_QUALITY,
        colorspace="rgb",
        outcolorspace="ycbcr",
        subsampling=(2, 2),
    )
    return data


def _halved(level: Pixels, factor: int) -> Pixels:
    if min(level.shape[:2]) < factor * 64:
        return level
    height, width = level.shape[0] // factor * factor, level.shape[1] // factor * factor
    blocks = level[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
