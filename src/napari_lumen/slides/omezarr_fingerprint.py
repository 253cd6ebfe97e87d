"""What knows an OME-Zarr image again: its geometry, and samples of the chunks as they are stored."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import RangeByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from napari_lumen.slides.fingerprint import digest_of, spread

_CHUNKS = 32  # of the finest level, and as many of the coarsest
_SAMPLE = 4096  # bytes of each, from its start


def fingerprint_of_arrays(arrays: Sequence[zarr.Array[Any]]) -> str:
    """Return the hex digest of the levels of an image, finest first: the same wherever it lies.

    Of the chunks only the start is fetched and none is decoded: through a network it costs some 64 small
    answers, of which many come at once.

    Raises
    ------
    OSError
        When the disk or the network fails.
    """
    geometry = repr([(array.shape, array.dtype.str) for array in arrays])
    looked_at = [arrays[0], arrays[-1]] if len(arrays) > 1 else [arrays[0]]
    return digest_of([geometry.encode(), *sync(_samples(looked_at))])


async def _samples(arrays: Sequence[zarr.Array[Any]]) -> list[bytes]:
    return await asyncio.gather(*(_sample(array, key) for array in arrays for key in _keys(array)))


def _keys(array: zarr.Array[Any]) -> list[str]:
    """Return the names of chunks (of shards, where chunks lie in these) from all over an array."""
    stored = array.shards or array.chunks
    grid = [math.ceil(side / chunk) for side, chunk in zip(array.shape, stored, strict=True)]
    places = (np.unravel_index(number, grid) for number in spread(_CHUNKS, math.prod(grid)))
    return [array.metadata.encode_chunk_key(tuple(map(int, place))) for place in places]


async def _sample(array: zarr.Array[Any], key: str) -> bytes:
    place = array.store_path / key
    found = await place.store.get(place.path, default_buffer_prototype(), RangeByteRequest(0, _SAMPLE))
    return b"" if found is None else found.to_bytes()[:_SAMPLE]
