"""Parts of a picture, at its own scale or at another one."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow

from napari_lumen.training.augmentation.resampling import Image, Labels, as_stored, white
from napari_lumen.training.data.item import IGNORE


def random_crop(
    image: Image, labels: Labels, rng: np.random.Generator, *, size: int, fill: float | None = None
) -> tuple[Image, Labels]:
    """Cut out a square of `size` px; a picture that is smaller is in the middle of `fill` without labels.

    Parameters
    ----------
    image, labels : ndarray
    rng : numpy.random.Generator
    size : int
    fill : float, optional
        White without it.
    """
    height, width = labels.shape
    if min(height, width) < size:
        rows, columns = ((max(0, size - side), max(0, size - side)) for side in (height, width))
        around = [(rows[0] // 2, rows[0] - rows[0] // 2), (columns[0] // 2, columns[0] - columns[0] // 2)]
        ground = white(image) if fill is None else fill
        image = np.pad(image, [*around, (0, 0)], constant_values=ground)
        labels = np.pad(labels, around, constant_values=IGNORE)
        height, width = labels.shape
    y, x = (int(rng.integers(side - size + 1)) for side in (height, width))
    part = slice(y, y + size), slice(x, x + size)
    return image[part].copy(), labels[part].copy()


def crop_scaled(
    image: Image, labels: Labels, y: float, x: float, reach: float, size: int
) -> tuple[Image, Labels]:
    """Cut out the square of `reach` px at (y, x) and scale it to `size` px, averaged where it shrinks.

    Parameters
    ----------
    image, labels : ndarray
    y, x : float
        Upper and left edge of the square, pixel edges at integers.
    reach : float
    size : int
    """
    # rounding must not lead out of the picture, which Pillow refuses
    box = (x, y, min(x + reach, labels.shape[1]), min(y + reach, labels.shape[0]))
    if image.dtype == np.uint8:
        whole = Pillow.fromarray(image).resize((size, size), Pillow.Resampling.BILINEAR, box=box)
        seen = np.array(whole)
    else:
        channels = [
            Pillow.fromarray(np.ascontiguousarray(image[..., channel], np.float32)).resize(
                (size, size), Pillow.Resampling.BILINEAR, box=box
            )
            for channel in range(image.shape[2])
        ]
        seen = as_stored(np.stack([np.asarray(channel) for channel in channels], axis=-1), image.dtype)
    rows, columns = (
        np.floor(edge + (np.arange(size) + 0.5) * reach / size).astype(np.intp).clip(0, side - 1)
        for edge, side in ((y, labels.shape[0]), (x, labels.shape[1]))
    )
    return seen, labels[np.ix_(rows, columns)]
