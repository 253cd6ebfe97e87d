"""Anti-aliased resampling of pixels of any depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Box = tuple[float, float, float, float]

_INT32_BITS = 31


def resize(pixels: npt.NDArray[Any], shape: tuple[int, int], box: Box) -> npt.NDArray[Any]:
    """Resample part of an image by triangle weights, widened where it shrinks so that nothing aliases.

    Parameters
    ----------
    pixels : ndarray
        (h, w, channels), whole numbers or floats.
    shape : (int, int)
        Height and width of the result.
    box : (float, float, float, float)
        Left, top, right and bottom edge of the part in pixels; may be fractional.

    Returns
    -------
    ndarray
        (*shape, channels) of the same type; a constant stays that constant.
    """
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.array(_resized(pixels, shape, box))
    if pixels.dtype.kind in "ui":
        plane = _narrow if pixels.dtype.itemsize <= 2 else _wide
    else:
        plane = _double if pixels.dtype.itemsize > 4 else _single
    return np.stack([plane(pixels[..., index], shape, box) for index in range(pixels.shape[2])], axis=-1)


def _resized(values: npt.NDArray[Any], shape: tuple[int, int], box: Box) -> npt.NDArray[Any]:
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR, box=box))


def _single(values: npt.NDArray[Any], shape: tuple[int, int], box: Box) -> npt.NDArray[Any]:
    return _resized(values.astype(np.float32), shape, box).astype(values.dtype, copy=False)


def _narrow(values: npt.NDArray[Any], shape: tuple[int, int], box: Box) -> npt.NDArray[Any]:
    return np.asarray(np.rint(_resized(values.astype(np.float32), shape, box)), values.dtype)


def _wide(values: npt.NDArray[Any], shape: tuple[int, int], box: Box) -> npt.NDArray[Any]:
    """Resample whole numbers that a float of 32 bits would round, by their distance from the least.

    Pillow takes such distances of up to 31 bits; of longer ones the last bits are left out.
    """
    least = values.min()
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    distance = values.view(unsigned) - least.view(unsigned)  # modulo 2**bits, so that none overflows
    surplus = unsigned.type(max(0, int(distance.max()).bit_length() - _INT32_BITS))
    resized = _resized((distance >> surplus).astype(np.int32), shape, box).astype(unsigned)
    return np.asarray(((resized << surplus) + least.view(unsigned)).view(values.dtype))


def _double(values: npt.NDArray[Any], shape: tuple[int, int], box: Box) -> npt.NDArray[Any]:
    """Resample floats of 64 bits by their distance from the least: Pillow's floats have 32."""
    known = values[np.isfinite(values)]
    least = known.min() if known.size else values.dtype.type(0)
    return np.asarray(_resized((values - least).astype(np.float32), shape, box) + least)
