"""Image and label files: found by their stems, read whole, kept decoded within a number of bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from napari_lumen.errors import RunError, first_line
from napari_lumen.slides import open_slide
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.image_set import RGB

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
_DEFAULT_BYTES = 512 << 20
_MOST_PIXELS = 1 << 28  # of an image that is read whole; more is a slide
_HIGHEST = 2**31 - 1  # label


class Decoded:
    """Decoded files, least recently used up to a number of bytes; safe from many threads.

    Parameters
    ----------
    cache : TileCache, optional
        Shared with others, such as the sets of one training; without it, 512 MB of its own.
    """

    def __init__(self, cache: TileCache | None = None) -> None:
        self._cache = TileCache(_DEFAULT_BYTES) if cache is None else cache

    def get(self, path: Path, read: Callable[[Path], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return what `read` returns of a file, read-only; threads that ask meanwhile wait for it."""
        return self._cache.fetch(read, path, lambda: read(path))


def read_rgb(path: Path) -> RGB:
    """Read an image as uint8 (h, w, 3), red first; a grey one has three equal channels.

    Raises
    ------
    SlideError
        When it cannot be decoded.
    RunError
        When it has other channels or more than 8 bits, or is a whole slide.
    """
    with open_slide(path, mpp=1.0) as slide:  # any: without it, a remembered one would be looked for
        if slide.dtype != np.uint8 or slide.samples not in (1, 3):
            raise RunError(
                f"{path} has {slide.samples} channels of {slide.dtype}; training takes RGB or grey images of "
                "8 bits. Convert it first."
            )
        if slide.shape[0] * slide.shape[1] > _MOST_PIXELS:
            raise RunError(f"{path} is too large to be read whole; train on it as a slide with annotations.")
        pixels = slide.read(0, 0, *slide.shape)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def read_values(path: Path) -> npt.NDArray[np.int32]:
    """Read a label image as int32 (h, w): a PNG (of a palette its indices), TIFF or NPY.

    Raises
    ------
    RunError
        When it cannot be read, or is not of one channel of whole numbers.
    """
    try:
        if path.suffix.lower() == ".npy":
            array = np.asarray(np.load(path, allow_pickle=False))
        elif path.suffix.lower() in (".tif", ".tiff"):
            array = np.asarray(tifffile.imread(path))
        else:
            with Image.open(path) as image:
                array = np.asarray(image)
    except Exception as error:  # each library has its own errors for a damaged file
        raise RunError(f"Cannot read the labels {path}: {first_line(error)}.") from error
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise RunError(
            f"{path} holds {array.dtype} of the shape {array.shape}; a label image has one channel of whole "
            "numbers."
        )
    highest = max(abs(int(array.min())), int(array.max())) if array.size else 0
    if highest > _HIGHEST:
        raise RunError(f"{path} holds {highest:,}; labels go up to {_HIGHEST:,}. Number its objects anew.")
    return array.astype(np.int32)


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of a folder that end in one of the suffixes, by their stems, sorted.

    Raises
    ------
    RunError
        When there is no such folder, none in it, or two of one stem.
    """
    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}. Check the path.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise RunError(f"{folder} holds {found[path.stem].name} and {path.name}; keep one of the two.")
        found[path.stem] = path
    if not found:
        raise RunError(f"{folder} holds no file that ends in {', '.join(suffixes)}.")
    return found
