"""A change of colours as a table, so that a tile costs a look-up a pixel."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating[Any]]


class ColourTable:
    """A change of colours that looks at each pixel by itself: what becomes of each of the 2 ** 24 colours.

    It grows to 64 MB as colours occur, a red at a time. Safe to use from many threads.

    Parameters
    ----------
    change : callable
        Takes pixels (n, 3) of red, green and blue, 0 to 255, and returns what becomes of them.
    """

    def __init__(self, change: Callable[[Values], Values]) -> None:
        self._change = change
        self._table = np.empty((256, 256 * 256), "<u4")  # red in the lowest byte, blue in the third
        self._known = np.zeros(256, bool)
        self._lock = Lock()

    def apply(self, image: RGB) -> RGB:
        """Return an image with its colours changed, uint8 (h, w, 3)."""
        there = np.bincount(image[..., 0].ravel(), minlength=256) > 0
        for red in np.flatnonzero(there & ~self._known).tolist():
            self._learn(red)
        place = image[..., 0].astype(np.intp)
        for channel in (1, 2):
            place <<= 8
            place |= image[..., channel]
        changed = self._table.reshape(-1).take(place)
        return np.ascontiguousarray(changed.view(np.uint8).reshape(*image.shape[:2], 4)[..., :3])

    def _learn(self, red: int) -> None:
        with self._lock:
            if self._known[red]:
                return
            green, blue = np.meshgrid(np.arange(256.0), np.arange(256.0), indexing="ij")
            pixels = np.stack([np.full_like(green, red), green, blue], axis=-1).reshape(-1, 3)
            changed = np.clip(np.rint(self._change(pixels)), 0, 255).astype("<u4")
            self._table[red] = changed[:, 0] | changed[:, 1] << 8 | changed[:, 2] << 16
            self._known[red] = True
