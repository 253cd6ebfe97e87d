"""Reading the values of a Zarr array, and what of it is looked at to tell glass from the dark."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.sync import sync
from zarr.storage import LocalStore

_SETTLING = 1.0  # seconds, at most
_LOOK = 1024  # px: side of what is looked at
_LARGEST_CHUNK = 64 << 20  # bytes that are decoded for a look
_DARK = 100  # of 255: stained tissue and glass are lighter in the mean, fluorescence is darker


def values_of(array: zarr.Array[Any], place: tuple[slice | int, ...]) -> npt.NDArray[Any]:
    """Return a part of an array; raises whatever its codecs and its store do."""
    try:
        return np.asarray(array[place])
    except Exception:
        if isinstance(array.store, LocalStore):
            with suppress(Exception):
                sync(_settled())
        raise


async def _settled() -> None:
    """Wait for what zarr has begun: it drops the other chunks of a failed read half way.

    A process that ends then prints a complaint of asyncio for each of them.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=_SETTLING)


def is_light(array: zarr.Array[Any], axes: tuple[str, ...]) -> bool:
    """Whether three channels of 8 bits look like glass with stained tissue: fluorescence is dark.

    Decided by the middle of the array given, the coarsest level. What cannot be read, or only in very large
    pieces, counts as light: most slides are.
    """
    if array.dtype != np.uint8 or math.prod(array.chunks) > _LARGEST_CHUNK:
        return True
    place: list[slice | int] = []
    for axis, side in zip(axes, array.shape, strict=True):
        start = max(0, (side - _LOOK) // 2)
        place.append(slice(start, start + _LOOK) if axis in "cyx" else 0)
    try:
        return float(values_of(array, tuple(place)).mean()) > _DARK
    except Exception:  # codecs and networks raise types of their own
        return True
