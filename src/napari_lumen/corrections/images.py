"""Label images as PNG files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_lumen.errors import RunError, first_line
from napari_lumen.holding import appearing

Pixels = npt.NDArray[np.uint8]


def write_png(path: Path, pixels: Pixels) -> None:
    """Write uint8 (h, w) or (h, w, 3); on disk when this returns."""
    with appearing(path) as partial:
        try:
            with partial.open("wb") as file:
                Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG", compress_level=1)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def read_png(path: Path, dimensions: int = 2) -> Pixels:
    """Read uint8 (h, w), or (h, w, 3) for three dimensions.

    Raises
    ------
    RunError
        When it cannot be read, or is of another kind.
    """
    try:
        with Image.open(path) as image:
            pixels: npt.NDArray[Any] = np.array(image)
    except (OSError, ValueError, SyntaxError) as error:  # PIL says the last two of broken chunks
        raise RunError(f"{path} cannot be read as a PNG: {first_line(error)}. Bring it back.") from error
    if pixels.dtype != np.uint8 or pixels.ndim != dimensions:
        raise RunError(f"{path} is no label image: it holds {pixels.dtype} {pixels.shape}. Bring it back.")
    return pixels
