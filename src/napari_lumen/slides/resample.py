"""Anti-aliased resampling of pixels of any depth, and the mark of pixels that cannot be decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_lumen.geometry import Window

_HATCH = 16  # px from stripe to stripe
_GREYS = (168, 208)


def resize(
    pixels: npt.NDArray[Any], shape: tuple[int, int], box: tuple[float, float, float, float]
) -> npt.NDArray[Any]:
    """Resample part of an image by triangle weights, widened where it shrinks so that nothing aliases.

    Parameters
    ----------
    pixels : ndarray
        (h, w, channels), uint8, uint16 or float.
    shape : (int, int)
        Height and width of the result.
    box : (float, float, float, float)
        Left, top, right and bottom edge of the part in pixels; may be fractional.

    Returns
    -------
    ndarray
        (*shape, channels) of the same type.
    """
    size = (shape[1], shape[0])
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box=box))
    planes = [
        np.asarray(
            Image.fromarray(pixels[..., index].astype(np.float32)).resize(
                size, Image.Resampling.BILINEAR, box=box
            )
        )
        for index in range(pixels.shape[2])
    ]
    values = np.stack(planes, axis=-1)
    return np.rint(values).astype(pixels.dtype) if pixels.dtype.kind in "ui" else values


def hatch(window: Window, channels: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return grey stripes for pixels that cannot be decoded, continuous from window to window."""
    rows, columns = np.ogrid[window.y : window.y + window.height, window.x : window.x + window.width]
    stripes = np.asarray(_GREYS, dtype)[((rows + columns) % _HATCH < _HATCH // 2).astype(int)]
    return np.repeat(stripes[..., None], channels, axis=2)
