"""TIFF slides (SVS, OME-TIFF, QPTIFF, Philips, Ventana, generic) read directly: pread, threads, cache."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError, first_line
from napari_lumen.geometry import Pair, Region, Window
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.cache import TileCache, process_cache
from napari_lumen.slides.decoding import decoding_pool
from napari_lumen.slides.level import Channel, levels_from_shapes
from napari_lumen.slides.slide import Pixels, Slide
from napari_lumen.slides.tiff_directory import Directory, SlideFile, UnsupportedLayoutError, directories
from napari_lumen.slides.tiff_facts import named
from napari_lumen.slides.tiff_layout import Layout, layout_of
from napari_lumen.slides.tiff_level import TiffLevel, picture

__all__ = ["TiffSlide", "UnsupportedLayoutError", "stated_pixel_size"]

_ICC_PROFILE = 34675
_WORTH_THREADS = 3  # tiles
_LONGEST = 160  # letters of what a codec says
_REMEMBERED = 10_000  # tiles that were read once
_COLORS = (Channel("Red", (255, 0, 0)), Channel("Green", (0, 255, 0)), Channel("Blue", (0, 0, 255)))

_Cell = tuple[int, int]
Found = TypeVar("Found")


class TiffSlide(Slide):
    """A TIFF: tiled or in strips, 8-bit RGB or channels of any depth.

    Parameters
    ----------
    path : Path
    cache : TileCache, optional
        Where decoded tiles are kept; the process's own by default.

    Raises
    ------
    UnsupportedLayoutError
        When the layout is one that another backend may read (overlapping tiles, an unknown codec).
    SlideError
        When the file is truncated, contradicts itself, or is a stack along Z or T.
    """

    def __init__(self, path: Path, cache: TileCache | None = None) -> None:
        super().__init__(path)
        self._file = SlideFile(path)
        try:
            self._adopt(_understood(self._file, lambda: layout_of(directories(self._file))))
        except BaseException:
            self._file.close()
            raise
        self._cache = process_cache() if cache is None else cache
        self._owner = object()
        weakref.finalize(self, self._cache.abandon, self._owner)
        self._read_once: set[tuple[int, int, int]] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False
        self._lock = Lock()

    def _adopt(self, layout: Layout) -> None:
        shapes = layout.shapes or (None,) * len(layout.levels)
        stored = _understood(
            self._file,
            lambda: [
                TiffLevel(planes, shape, layout.as_rgb)
                for planes, shape in zip(layout.levels, shapes, strict=True)
            ],
        )
        base = stored[0]
        alike = (base.samples, base.dtype, base.is_rgb)
        self._stored = [level for level in stored if (level.samples, level.dtype, level.is_rgb) == alike]
        for empty in layout.left_out:
            self._warn(f"states {empty}, which holds nothing")
        for level in stored:
            if level not in self._stored:
                height, width = level.shape
                self._warn(f"states a level of {width} x {height} px in another depth or other colours")
        self.levels = levels_from_shapes(
            [level.shape for level in self._stored], [level.tile for level in self._stored]
        )
        self.properties = layout.facts.properties
        self.vendor = layout.facts.vendor
        self.mpp = layout.facts.size.checked(self.path)
        self.magnification = layout.facts.magnification
        self.bounds: Region | None = None
        if not base.is_rgb:
            self.channels = _COLORS if base.is_colour else named(layout.channels, base.samples)
            self.dtype = base.dtype
        self.icc_profile = layout.levels[0][0].data(_ICC_PROFILE) or None
        self.associated = AssociatedImages(
            {name: partial(_associated, name, page) for name, page in layout.associated.items()}
        )

    def _warn(self, what: str) -> None:
        warnings.warn(f"{self.path.name} {what}; it is left out.", UserWarning, stacklevel=2)

    def close(self) -> None:
        """Free the file, the decoding threads and the cached tiles."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, None
        self._file.close()
        self._cache.drop(self._owner)
        if threads is not None:
            threads.shutdown(wait=False)

    def _read(self, level: int, window: Window) -> Pixels:
        height, width = self.levels[level].tile
        row, column = window.y // height, window.x // width
        bottom, right = window.y + window.height, window.x + window.width
        if bottom <= (row + 1) * height and right <= (column + 1) * width:  # of one tile
            if window.height == height and window.width == width:
                return self._whole_tile(level, row, column)
            y, x = row * height, column * width
            return self._tile(level, row, column)[window.y - y : bottom - y, window.x - x : right - x].copy()
        out = np.empty((window.height, window.width, self.samples), self.dtype)

        def place(cell: _Cell, tile: Pixels) -> None:
            y, x = cell[0] * height, cell[1] * width
            top, left = max(window.y, y), max(window.x, x)
            low, far = min(bottom, y + height), min(right, x + width)
            out[top - window.y : low - window.y, left - window.x : far - window.x] = tile[
                top - y : low - y, left - x : far - x
            ]

        missing = []
        for cell in _cells(row, -(-bottom // height), column, -(-right // width)):
            tile = self._cache.get(self._owner, (level, *cell))
            if tile is None:
                missing.append(cell)
            else:
                place(cell, tile)
        self._share_out(lambda cell: place(cell, self._tile(level, *cell)), missing)
        return out

    def _share_out(self, work: Callable[[_Cell], None], cells: list[_Cell]) -> None:
        """Do the work of each cell, with the help of other threads where that pays.

        The caller takes its part, so that a pool that others keep busy never holds it up.
        """
        waiting = iter(cells)

        def drain() -> None:
            for cell in waiting:  # each thread takes the next
                work(cell)

        helpers = min(_cores(), len(cells)) - 1 if len(cells) >= _WORTH_THREADS else 0
        futures: list[Future[None]] = []
        if helpers > 0:
            pool = self._pool()
            futures = [pool.submit(drain) for _ in range(helpers)]
        try:
            drain()
        finally:
            for _ in waiting:  # after an error: nothing more is to be done
                pass
            started = [future for future in futures if not future.cancel()]
            wait(started)
        for future in started:
            future.result()

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise SlideError(f"{self.path.name} is closed; open it again.")
            if self._threads is None:
                self._threads = decoding_pool(max(1, _cores() - 1))
            return self._threads

    def _whole_tile(self, level: int, row: int, column: int) -> Pixels:
        """Return one decoded tile, writable; kept in the cache from the second time that it is asked for.

        A run over a slide reads each tile once: memory that is new for each would cost it half as much
        again as the decoding, and push out what the viewer shows.
        """
        key = (level, row, column)
        tile = self._cache.get(self._owner, key)
        if tile is not None or key in self._read_once or not self._stored[level].is_cheap:
            return self._tile(level, row, column).copy()
        if len(self._read_once) >= _REMEMBERED:
            self._read_once.clear()
        self._read_once.add(key)
        return self._decode(level, row, column)

    def _tile(self, level: int, row: int, column: int) -> Pixels:
        """Return one decoded tile, read-only, from the cache or the file."""
        key = (level, row, column)
        return self._cache.fetch(self._owner, key, partial(self._decode, level, row, column))

    def _decode(self, level: int, row: int, column: int) -> Pixels:
        if self._closed:
            raise SlideError(f"{self.path.name} is closed; open it again.")
        try:
            return self._stored[level].decode(row, column)
        except SlideError:
            raise
        except Exception as error:  # codecs raise types of their own
            raise SlideError(
                f"{self.path.name} cannot be decoded at level {level}, tile row {row}, column {column}: "
                f"{first_line(error)[:_LONGEST]}. The file is damaged there."
            ) from error


def stated_pixel_size(path: Path) -> Pair | None:
    """Return the pixel size (y, x) in µm that a TIFF states, whoever reads its pixels."""
    file = SlideFile(path)
    try:
        layout = _understood(file, lambda: layout_of(directories(file)))
        return layout.facts.size.checked(path)
    except (UnsupportedLayoutError, SlideError):
        return None
    finally:
        file.close()


def _understood(file: SlideFile, look: Callable[[], Found]) -> Found:
    """Return what a look at the structure finds; what trips it is a contradiction in the file."""
    try:
        return look()
    except (ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise file.damaged(
            f"its directories contradict themselves ({first_line(error)[:_LONGEST]})"
        ) from error


def _cells(top: int, bottom: int, left: int, right: int) -> Iterator[_Cell]:
    return ((row, column) for row in range(top, bottom) for column in range(left, right))


def _cores() -> int:
    """Return how many threads of this process can run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _associated(name: str, page: Directory) -> npt.NDArray[np.uint8]:
    try:
        return picture(page)
    except SlideError:
        raise
    except Exception as error:  # codecs raise types of their own
        raise SlideError(
            f"The {name} of {page.file.name} cannot be decoded: {first_line(error)[:_LONGEST]}."
        ) from error
