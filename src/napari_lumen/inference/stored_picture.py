"""Pictures as they are stored: masks, label images and maps, whose values are no colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import tifffile

from napari_lumen.geometry import snap_downsample


class PictureTooLargeError(ValueError):
    """Every level of a picture has more pixels than may be read."""


@dataclass(frozen=True)
class StoredPicture:
    """The values of a picture.

    Attributes
    ----------
    values : ndarray
        Of a palette the numbers.
    axes : str
        A letter an axis, as tifffile names them: ``YX``, ``YXS`` for samples of a pixel, and others.
    has_alpha : bool
        Whether the last sample says how opaque a pixel is.
    """

    values: npt.NDArray[Any]
    axes: str
    has_alpha: bool


def read_picture(path: Path, most_pixels: int | None = None) -> StoredPicture:
    """Read a TIFF, of which the first series, or any other picture that Pillow knows.

    Parameters
    ----------
    path : Path
    most_pixels : int, optional
        Read the finest level that has no more; a file without levels has one.

    Raises
    ------
    PictureTooLargeError
        When none has so few.
    OSError, ValueError
        Whatever the libraries raise for a damaged file is one of these.
    """
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return _read_tiff(path, most_pixels)
        with PIL.Image.open(path) as picture:
            if most_pixels is not None and picture.width * picture.height > most_pixels:
                raise PictureTooLargeError(f"{picture.width} x {picture.height} px")
            values = np.asarray(picture)
            return StoredPicture(values, "YXS"[: values.ndim], "A" in picture.getbands())
    except (OSError, ValueError):
        raise
    except Exception as error:  # each library has its own errors
        raise ValueError(f"{type(error).__name__}: {error}") from error


def read_reduced(path: Path, times: float) -> tuple[StoredPicture, float]:
    """Read the level of a picture that is reduced about so many times, as far as it has levels.

    Returns
    -------
    picture : StoredPicture
    times : float
        That it is reduced.

    Raises
    ------
    OSError, ValueError
        As of `read_picture`.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return read_picture(path), 1.0
    try:
        with tifffile.TiffFile(path) as tiff:
            levels = tiff.series[0].levels
            sides = [max(level.shape[axis] for axis in _plane(level.axes)) for level in levels]
            reduced = [snap_downsample(sides[0], side) for side in sides]
            best = min(range(len(levels)), key=lambda index: abs(math.log(reduced[index] / times)))
            level = levels[best]
            alpha = bool(level.keyframe.extrasamples)
            return StoredPicture(level.asarray(), level.axes, alpha), reduced[best]
    except (OSError, ValueError):
        raise
    except Exception as error:  # as above
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _plane(axes: str) -> list[int]:
    return [place for place, axis in enumerate(axes) if axis in "YX"]


def _read_tiff(path: Path, most_pixels: int | None) -> StoredPicture:
    with tifffile.TiffFile(path) as tiff:
        levels = tiff.series[0].levels
        level = next((at for at in levels if most_pixels is None or math.prod(at.shape) <= most_pixels), None)
        if level is None:
            raise PictureTooLargeError(f"{levels[-1].shape}")
        return StoredPicture(level.asarray(), level.axes, bool(level.keyframe.extrasamples))
