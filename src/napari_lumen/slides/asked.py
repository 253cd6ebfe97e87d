"""What may be asked of a slide, and the sentences for what may not. Numbers of NumPy are numbers."""

from __future__ import annotations

import math
from operator import index
from typing import Any

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair, Window
from napari_lumen.slides.pixel_size import as_pair

_LARGEST_MPP = 1e6  # µm: a metre


def asked_level(name: str, count: int, level: Any) -> int:
    """Return the number of a level of a slide of this name that has so many."""
    try:
        number = index(level)
    except TypeError:
        number = -1
    if not 0 <= number < count:
        only = "only level 0" if count == 1 else f"levels 0 to {count - 1}"
        raise ValueError(f"{name} has {only}, not {level!r}.")
    return number


def asked_window(name: str, y: Any, x: Any, height: Any, width: Any) -> Window:
    """Return a window, of at least one pixel.

    Raises
    ------
    ValueError
        When it is none.
    SlideError
        When a number is a fraction: cut off without a word, it would be another window than was meant.
    """
    try:
        window = Window(index(y), index(x), index(height), index(width))
    except TypeError:  # seldom, so that windows of integers cost nothing more
        window = _whole_window(name, y, x, height, width)
    if window.height < 1 or window.width < 1:
        raise ValueError(
            f"{name} is read in windows of whole pixels and at least 1 x 1, "
            f"not y {y!r}, x {x!r}, height {height!r}, width {width!r}."
        )
    return window


def _whole_window(name: str, y: Any, x: Any, height: Any, width: Any) -> Window:
    """Return a window of numbers that are whole by value; one of no pixels where they are no numbers."""
    try:
        numbers = [float(value) for value in (y, x, height, width)]
        whole = [int(value) for value in numbers]
    except (TypeError, ValueError, OverflowError):
        return Window(0, 0, 0, 0)
    if numbers != whole:
        raise SlideError(
            f"{name} is read in whole pixels, not y {y!r}, x {x!r}, height {height!r}, width {width!r}; "
            "round them first, or use read_at for a place in between."
        )
    return Window(*whole)


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
