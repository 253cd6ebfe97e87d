"""Plain pictures as slides of one level: a microscopy field in a PNG, JPEG, BMP or plain TIFF file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair, Window
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.level import Channel, levels_from_shapes
from napari_lumen.slides.pixel_size import COARSEST, checked_mpp
from napari_lumen.slides.slide import Pixels, Slide
from napari_lumen.slides.tiff_directory import HEADS

_MOST_PIXELS = 1_000_000_000  # read whole into memory
_PASSING_SECONDS = 5.0  # until a disk that did not answer is asked again


@dataclass(frozen=True, slots=True)
class PictureFile:
    """What a picture file says of itself, and how to decode it.

    Attributes
    ----------
    form : str
        PNG, JPEG, BMP or TIFF.
    shape : (int, int)
        Height and width as shown, px.
    channels : tuple of Channel
        Empty for 8-bit colour.
    dtype : dtype
    mpp : (float, float) or None
        µm per pixel (y, x), where the file states a resolution at all.
    load : callable
        Returns the pixels, `dtype` (h, w, samples), as shown.
    icc_profile : bytes or None
    properties : mapping of str to str
    """

    form: str
    shape: tuple[int, int]
    channels: tuple[Channel, ...]
    dtype: np.dtype[Any]
    mpp: Pair | None
    load: Callable[[], Pixels]
    icc_profile: bytes | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


class PictureSlide(Slide):
    """A picture file, decoded whole at the first read and kept until it is closed.

    The pixels lie in memory all that time, up to a gigapixel and outside the cache of tiles: such files
    have no tiles, and each would have to be decoded from its start again. A file that cannot be decoded is
    tried once.

    Parameters
    ----------
    path : Path

    Raises
    ------
    SlideError
        When it is no picture, is truncated, or has more than a gigapixel.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        file = _look(path)
        height, width = file.shape
        if height * width > _MOST_PIXELS:
            raise SlideError(
                f"{path.name} has {width:,} x {height:,} px, more than the gigapixel that a plain picture "
                "may have here; convert it to a tiled pyramid, such as an OME-TIFF."
            )
        if height * width == 0:
            raise SlideError(f"{path.name} is a picture without pixels. Copy or export it again.")
        self.levels = levels_from_shapes([file.shape])
        self.channels = file.channels
        self.dtype = file.dtype
        self.mpp = _of_a_microscope(file.mpp, path)
        self.icc_profile = file.icc_profile
        self.vendor = file.form.lower()
        self.properties = file.properties
        self.magnification = None
        self.bounds = None
        self.associated = AssociatedImages({})
        self._file = file
        self._whole: Pixels | None = None
        self._failure: _Failure | None = None
        self._closed = False
        self._lock = Lock()

    def close(self) -> None:
        """Free the pixels."""
        with self._lock:
            self._closed = True
            self._whole = None

    def _read(self, level: int, window: Window) -> Pixels:
        return self._pixels()[window.slices].copy()

    def _pixels(self) -> Pixels:
        with self._lock:  # the first thread decodes, the others wait for it
            if self._closed:
                raise SlideError(f"{self.path.name} is closed; open it again.")
            if self._failure is not None and time.monotonic() < self._failure.until:
                raise SlideError(self._failure.sentence) from self._failure.cause
            if self._whole is None:
                try:
                    self._whole = self._file.load()
                except Exception as error:  # decoders raise types of their own
                    self._failure = failure = _failure(error, self.path)
                    raise SlideError(failure.sentence) from failure.cause
            return self._whole


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a picture cannot be decoded, and until when that is taken for granted."""

    sentence: str
    cause: Exception
    until: float


def _failure(error: Exception, path: Path) -> _Failure:
    error = error.with_traceback(None)  # it would keep half a picture in memory
    error.__context__ = error.__cause__ = None
    again = time.monotonic() + _PASSING_SECONDS
    if isinstance(error, FileNotFoundError):
        sentence = f"{path.name} is no longer at {path.parent}. Put it back and open it again."
        return _Failure(sentence, error, again)
    if isinstance(error, OSError) and error.errno is not None:  # decoders raise it without a number
        sentence = f"{path.name} cannot be read: {error.strerror}. Check the disk and your permissions."
        return _Failure(sentence, error, again)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    sentence = f"{path.name} cannot be decoded: {reason}. Copy or export it again."
    return _Failure(sentence, error, again if isinstance(error, MemoryError) else math.inf)


def _look(path: Path) -> PictureFile:
    """Read the head of a picture by what it holds, whatever its suffix."""
    with path.open("rb") as file:
        head = file.read(8)
    try:
        if head[:4] in HEADS:
            from napari_lumen.slides.picture_tiff import tiff_picture

            return tiff_picture(path)
        from napari_lumen.slides.picture_pillow import pillow_picture

        found = pillow_picture(path, head)
    except SlideError:
        raise
    except Exception as error:  # a damaged head fails in any way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SlideError(f"{path.name} is a damaged picture: {reason}. Copy or export it again.") from error
    if found is None:
        raise SlideError(
            f"{path.name} is not a picture in any format that is known here (PNG, JPEG, BMP, TIFF). "
            "Check that it is the right file and was copied whole."
        )
    return found


def _of_a_microscope(mpp: Pair | None, path: Path) -> Pair | None:
    """Return a stated pixel size, None where it is a print resolution, as most pictures have one."""
    if mpp is not None and any(COARSEST < side < math.inf for side in mpp):
        return None
    return checked_mpp(mpp, path)
