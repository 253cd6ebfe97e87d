"""What is drawn on labels with the mouse, as masks: lines and outlines.

Places are (row, column) in pixels of the labels, the middle of the first at (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.draw import polygon2mask

from napari_lumen.geometry import Pair, Window

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a line covers or an outline holds.

    Attributes
    ----------
    window : Window
    mask : ndarray
        bool (h, w) of the window; False beyond it.
    """

    window: Window
    mask: Mask

    def on(self, window: Window) -> Mask:
        """Return the mask of another window."""
        found = np.zeros((window.height, window.width), bool)
        common = self.window.intersect(window)
        if common.height and common.width:
            found[within(common, window)] = self.mask[within(common, self.window)]
        return found


def traced(path: Sequence[Pair], shape: tuple[int, int], width: int = 1) -> Drawn:
    """Return the pixels of a line, of which each shares an edge with the next: nothing slips through."""
    window = _spanning(path, shape, width)
    line = np.zeros((window.height, window.width), bool)
    corners = [(round(place[0]), round(place[1])) for place in path]
    for (row, column), (last_row, last_column) in zip(corners, corners[1:] or corners, strict=False):
        steps = 2 * max(abs(last_row - row), abs(last_column - column)) + 1
        rows = np.rint(np.linspace(row, last_row, steps)).astype(int) - window.y
        columns = np.rint(np.linspace(column, last_column, steps)).astype(int) - window.x
        rows, columns = np.concatenate([rows, rows[1:]]), np.concatenate([columns, columns[:-1]])
        kept = (rows >= 0) & (rows < window.height) & (columns >= 0) & (columns < window.width)
        line[rows[kept], columns[kept]] = True
    return Drawn(window, line if width == 1 else ndimage.binary_dilation(line, np.ones((width, width), bool)))


def outlined(path: Sequence[Pair], shape: tuple[int, int]) -> Drawn:
    """Return the pixels of which the middle lies in a closed outline."""
    window = _spanning(path, shape)
    size = window.height, window.width
    if not all(size):
        return Drawn(window, np.zeros(size, bool))
    return Drawn(window, polygon2mask(size, np.asarray(path, float) - (window.y, window.x)))


def _spanning(path: Sequence[Pair], shape: tuple[int, int], margin: int = 1) -> Window:
    """Return the pixels that a path lies in, and some around them."""
    corners = np.asarray(path, float)
    top, left = (int(edge) - margin for edge in np.floor(corners.min(axis=0)))
    bottom, right = (int(edge) + margin + 1 for edge in np.ceil(corners.max(axis=0)))
    return Window(top, left, bottom - top, right - left).intersect(Window(0, 0, *shape))


def within(window: Window, other: Window) -> tuple[slice, slice]:
    """Return the slices of a window in an array of another that holds it."""
    return Window(window.y - other.y, window.x - other.x, window.height, window.width).slices
