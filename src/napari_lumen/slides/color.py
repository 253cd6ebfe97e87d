"""Colour profiles: a scanner's RGB shown as sRGB. For display only, models get what the scanner wrote."""

from __future__ import annotations

import io
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from napari_lumen.errors import SlideError

Picture = npt.NDArray[np.uint8]
Color = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]

_SIDE = 256  # values of a channel
_PIXEL = np.dtype("<u4")  # red, green, blue and a byte that is not used, in this order


def to_srgb(profile: bytes) -> Color:
    """Return what turns a scanner's colours into sRGB.

    Relative colorimetric with black point compensation: white glass stays white and black stays black.
    All 16.8 million answers of lcms are looked up in a table (64 MB, built at the first call in a third
    of a second): 0.09 to 0.12 ms for 256 x 256 px where lcms takes 0.83 ms, and 0.19 ms go into decoding
    such a JPEG tile of an Aperio slide. The answers are those of lcms to the bit.

    Parameters
    ----------
    profile : bytes
        An ICC profile of an RGB device, as of `Slide.icc_profile`.

    Returns
    -------
    callable
        Takes and returns uint8 (h, w, 3); safe from many threads.

    Raises
    ------
    SlideError
        When the profile is damaged or not of an RGB device.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise SlideError(
            "The colour profile of the slide is damaged or not for RGB; its colours are shown as the scanner "
            "wrote them."
        ) from error
    return _Table(transform)


class _Table:
    """The answers of a transform for every colour, built at the first question."""

    def __init__(self, transform: ImageCms.ImageCmsTransform) -> None:
        self._transform = transform
        self._lock = Lock()
        self._answers: npt.NDArray[np.uint32] | None = None

    def __call__(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return uint8 (h, w, 3) in sRGB for such pixels."""
        if not pixels.size:
            return pixels
        answers = self._answers if self._answers is not None else self._build()
        return _unpacked(answers.take(_packed(pixels)), pixels.shape)

    def _build(self) -> npt.NDArray[np.uint32]:
        with self._lock:
            if self._answers is None:
                answers = np.zeros((_SIDE, _SIDE, _SIDE, 4), np.uint8)  # by blue, green, red: little-endian
                plane = np.empty((_SIDE, _SIDE, 3), np.uint8)
                plane[..., 0] = np.arange(_SIDE)
                plane[..., 1] = np.arange(_SIDE)[:, None]
                for blue in range(_SIDE):
                    plane[..., 2] = blue
                    image = ImageCms.applyTransform(Image.fromarray(plane), self._transform)
                    answers[blue, ..., :3] = np.asarray(image)
                self._answers = answers.view(_PIXEL).ravel()
            return self._answers


def _packed(pixels: Picture) -> npt.NDArray[np.intp]:
    """Return each pixel as one number: four bytes are read at every third one, and the fourth is cut off."""
    bytes_ = np.empty(pixels.size + 1, np.uint8)
    bytes_[:-1].reshape(pixels.shape)[:] = pixels
    bytes_[-1] = 0
    four = np.ndarray((pixels.size // 3,), _PIXEL, bytes_.data, strides=(3,))
    packed: npt.NDArray[np.intp] = np.bitwise_and(four, 0xFFFFFF, dtype=np.intp)
    return packed


def _unpacked(numbers: npt.NDArray[np.uint32], shape: tuple[int, ...]) -> Picture:
    """Return the first three bytes of each number, as pixels (read-only).

    Pillow drops every fourth byte in a third of the time that numpy needs.
    """
    image = Image.frombuffer("RGBA", (shape[1], shape[0]), numbers, "raw", "RGBA", 0, 1)
    return np.frombuffer(image.tobytes("raw", "RGB"), np.uint8).reshape(shape)
