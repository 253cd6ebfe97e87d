"""Levels of a slide as lazy dask arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_lumen.geometry import Grid, Window, spanned

if TYPE_CHECKING:
    from napari_lumen.slides.slide import Pixels

_CHUNK = 512  # several 256 px tiles decoded together
_LARGEST_VIEW = 16 << 20  # px that are read in one piece


def dask_level(
    grid: Grid,
    read: Callable[[Grid, Window], Pixels],
    samples: int,
    dtype: np.dtype[Any],
    name: str,
    channel: int | None = None,
) -> da.Array:
    """Return a grid as a lazy dask array (h, w, samples), read when it is asked for.

    Parameters
    ----------
    grid : Grid
    read : callable
        Returns a window of the grid; called from many threads.
    samples : int
    dtype : numpy.dtype
    name : str
        Of the array in dask's graphs, and of nothing else.
    channel : int, optional
        Only this sample of each pixel: the array is (h, w). Channels of the same name share what dask
        keeps of a view.
    """
    source = _Source(grid, read, samples, dtype)
    chunked = da.from_array(
        source,
        chunks=(_CHUNK, _CHUNK, samples),
        name=name,
        lock=False,
        asarray=False,
        fancy=False,
        inline_array=True,
    )
    level: _Level = _cast(_Level, chunked)
    level.source = source
    if channel is None:
        return level
    single: _Channel = _cast(_Channel, chunked[..., channel])
    single.level, single.channel = level, channel
    return single


def _cast(kind: Any, array: da.Array) -> Any:
    return kind(array.dask, array.name, array.chunks, dtype=array.dtype)


class _Level(da.Array):
    """An array of which a rectangle is one task, since reading one uses all cores by itself.

    dask takes longer over the twenty tasks of a viewport in chunks than the decoder over its pixels. What
    is too large for one piece, or indexed in another way, is read by chunks.
    """

    source: _Source

    def __getitem__(self, index: Any) -> da.Array:
        source = self.source
        window = _rectangle(index, source.shape)
        if window is None:
            return _by_chunks(self, index)
        y, x, height, width = window.y, window.x, window.height, window.width
        name = f"{self.name}-{y}-{x}-{height}-{width}"
        chunks = ((height,), (width,), (source.shape[2],))
        return da.Array(
            {(name, 0, 0, 0): (source.read, source.grid, window)}, name, chunks, dtype=source.dtype
        )


class _Channel(da.Array):
    """One channel of a level, cut out of the same one task."""

    level: _Level
    channel: int

    def __getitem__(self, index: Any) -> da.Array:
        if _rectangle(index, self.shape) is None:
            return _by_chunks(self, index)
        return _by_chunks(self.level[index], (..., self.channel))


def _by_chunks(array: da.Array, index: Any) -> da.Array:
    chunked: da.Array = da.Array.__getitem__(array, index)
    return chunked


def _rectangle(index: Any, shape: tuple[int, ...]) -> Window | None:
    """Return the window of an index such as ``[y0:y1, x0:x1]``, None for any other and for a large one."""
    if (
        not isinstance(index, tuple)
        or not 2 <= len(index) <= len(shape)
        or index[2:] not in ((), (slice(None),))
    ):
        return None
    spans = []
    for part, side in zip(index[:2], shape[:2], strict=True):
        if not isinstance(part, slice) or part.step not in (None, 1):
            return None
        start, stop, _ = part.indices(side)
        spans.append((start, stop - start))
    (y, height), (x, width) = spans
    if height < 1 or width < 1 or height * width > _LARGEST_VIEW:
        return None
    return Window(y, x, height, width)


class _Source:
    """The array protocol that dask asks for, over a grid."""

    ndim = 3

    def __init__(
        self, grid: Grid, read: Callable[[Grid, Window], Pixels], samples: int, dtype: np.dtype[Any]
    ) -> None:
        self.grid = grid
        self.read = read
        self.dtype = dtype
        self.shape = (*grid.shape, samples)

    def __getitem__(self, key: Any) -> Pixels:
        parts = key if isinstance(key, tuple) else (key,)
        rows, columns, channels = (*parts, *(slice(None),) * 3)[:3]
        (y, height, within_rows), (x, width, within_columns) = (
            spanned(part, side) for part, side in zip((rows, columns), self.grid.shape, strict=True)
        )
        return self.read(self.grid, Window(y, x, height, width))[within_rows, within_columns, channels]
