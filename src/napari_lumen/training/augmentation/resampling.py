"""Images and labels read at places between their pixels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from napari_lumen.training.data.item import IGNORE

Image = npt.NDArray[Any]
Labels = npt.NDArray[np.uint8]
Beyond = Literal["mirror", "empty"]


def white(image: Image) -> float:
    """Return the value of glass: 255 of uint8, 1 of float."""
    return 255.0 if image.dtype == np.uint8 else 1.0


def sample(
    image: Image,
    labels: Labels,
    y: npt.NDArray[np.floating[Any]],
    x: npt.NDArray[np.floating[Any]],
    beyond: Beyond,
    fill: float | None = None,
) -> tuple[Image, Labels]:
    """Read an image between four pixels each, and labels at the nearest pixel.

    Parameters
    ----------
    image : ndarray
        (h, w, channels).
    labels : ndarray
        (h, w) uint8.
    y, x : ndarray
        Where, in pixels whose centres are whole numbers.
    beyond : {"mirror", "empty"}
        What lies beyond the border: the picture in a mirror, or `fill` and `IGNORE`.
    fill : float, optional
        White without it.

    Returns
    -------
    image, labels : ndarray
        Of the shape of `y`, in their own dtypes.
    """
    places = np.stack([y, x])
    if beyond == "mirror":
        mode, ground, unknown = "reflect", 0.0, 0  # scipy's name for a mirror along the edge of the pixels
    else:
        # half of the outermost pixel lies beyond its centre and is still picture
        height, width = labels.shape
        inside = (y >= -0.5) & (y < height - 0.5) & (x >= -0.5) & (x < width - 0.5)
        mode, ground, unknown = "nearest", white(image) if fill is None else fill, IGNORE
    channels = [
        map_coordinates(image[..., channel].astype(np.float32), places, order=1, mode=mode)
        for channel in range(image.shape[2])
    ]
    seen = np.stack(channels, axis=-1)
    # floor: scipy's own rounding of halves differs between the axes
    rows, columns = (np.floor(place + 0.5).astype(np.intp) for place in places)
    if beyond == "mirror":
        rows, columns = _mirrored(rows, labels.shape[0]), _mirrored(columns, labels.shape[1])
        return as_stored(seen, image.dtype), labels[rows, columns]
    found = labels[rows.clip(0, labels.shape[0] - 1), columns.clip(0, labels.shape[1] - 1)]
    seen[~inside] = ground
    return as_stored(seen, image.dtype), np.where(inside, found, unknown).astype(np.uint8)


def as_stored(values: npt.NDArray[np.floating[Any]], dtype: np.dtype[Any]) -> Image:
    """Return values in the dtype of an image, rounded and clipped for uint8, clipped to [0, 1] for float."""
    if dtype == np.uint8:
        return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
    return np.asarray(np.clip(values, 0, 1), dtype)


def _mirrored(index: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.intp]:
    index = index % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)
