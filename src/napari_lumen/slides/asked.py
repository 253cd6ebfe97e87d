"""What may be asked of a slide, and the sentences for what may not. Numbers of NumPy are numbers."""

from __future__ import annotations

import math
import operator
from typing import Any

from napari_lumen.geometry import Pair, Window
from napari_lumen.slides.pixel_size import as_pair

_LARGEST_MPP = 1e6  # µm: a metre


def asked_level(name: str, count: int, level: Any) -> int:
    """Return the number of a level of a slide of this name that has so many."""
    try:
        number = operator.index(level)
    except TypeError:
        number = -1
    if not 0 <= number < count:
        only = "only level 0" if count == 1 else f"levels 0 to {count - 1}"
        raise ValueError(f"{name} has {only}, not {level!r}.")
    return number


def asked_window(name: str, y: Any, x: Any, height: Any, width: Any) -> Window:
    """Return a window, of at least one pixel."""
    try:
        window = Window(int(y), int(x), int(height), int(width))
    except (TypeError, ValueError, OverflowError):
        window = Window(0, 0, 0, 0)
    if window.height < 1 or window.width < 1:
        raise ValueError(
            f"{name} is read in windows of whole pixels and at least 1 x 1, "
            f"not y {y!r}, x {x!r}, height {height!r}, width {width!r}."
        )
    return window


def asked_place(name: str, y: Any, x: Any) -> Pair:
    """Return a point of level 0, which may lie outside."""
    try:
        place = (float(y), float(x))
    except (TypeError, ValueError, OverflowError):
        place = (math.nan, math.nan)
    if not all(map(math.isfinite, place)):
        raise ValueError(f"{name} is read from two finite numbers y and x, not {y!r} and {x!r}.")
    return place


def asked_mpp(name: str, mpp: Any) -> Pair:
    """Return a pixel size (y, x) in µm to read at."""
    try:
        pair = as_pair(mpp)
    except (TypeError, ValueError):
        pair = (math.nan, math.nan)
    if not all(0 < value <= _LARGEST_MPP for value in pair):
        raise ValueError(
            f"{name} is read at a pixel size, or a pair (y, x), above 0 and up to {_LARGEST_MPP:,.0f} µm, "
            f"not {mpp!r}."
        )
    return pair
