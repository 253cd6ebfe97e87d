"""OME-Zarr slides, in a folder or behind a URL: chunks read in threads through zarr, and cached."""

from __future__ import annotations

import base64
import binascii
import math
import os
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import zarr

from napari_lumen.errors import SlideError, first_line
from napari_lumen.geometry import Window
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.cache import TileCache, process_cache
from napari_lumen.slides.decoding import decoding_pool
from napari_lumen.slides.level import LARGEST_SIDE, TILE, Level, levels_from_shapes
from napari_lumen.slides.omezarr_fingerprint import fingerprint_of_arrays
from napari_lumen.slides.omezarr_metadata import OWN_KEY, Multiscale
from napari_lumen.slides.omezarr_store import find_image, name_of, open_level, open_root
from napari_lumen.slides.omezarr_values import is_light, values_of
from napari_lumen.slides.pixel_size import checked_mpp
from napari_lumen.slides.slide import Picture, Pixels, Slide

_LARGEST_CHUNK = 1 << 30  # bytes: a chunk is decoded whole
_LARGEST_ASSOCIATED = 64 << 20  # px


class OmeZarrSlide(Slide):
    """An OME-Zarr image of version 0.1 to 0.5, or the largest image of a bioformats2raw folder.

    Parameters
    ----------
    location : Path or str
        A folder, or a URL that fsspec knows.
    cache : TileCache, optional
        Where decoded chunks are kept; the one of the process without it.

    Attributes
    ----------
    location : Path or str
        As given: `path` cannot hold the two slashes of a URL.

    Raises
    ------
    SlideError
    """

    missing_is_white = True  # so Zarr means chunks that are not there

    def __init__(self, location: Path | str, cache: TileCache | None = None) -> None:
        super().__init__(Path(location))
        self.location = location
        self.files = ()
        self._name = name_of(location)
        group, image, siblings = find_image(root := open_root(location), self._name)
        self._adopt(group, image)
        own = group.attrs.get(OWN_KEY)
        self._adopt_own(own if isinstance(own, Mapping) else {})
        self.associated = AssociatedImages(
            {
                name: partial(_associated, root, path, f"{self._name}/{path}")
                for name, path in siblings.items()
            }
        )
        self._cache = process_cache() if cache is None else cache
        self._owner = object()
        weakref.finalize(self, self._cache.abandon, self._owner)  # a viewer drops its slides without a word
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False
        self._lock = Lock()

    def _adopt(self, group: zarr.Group, image: Multiscale) -> None:
        arrays = [open_level(group, path, level, self._name) for level, path in enumerate(image.paths)]
        for level, array in enumerate(arrays):
            self._check(image, array, level)
        rows, columns = image.axes.index("y"), image.axes.index("x")
        order = sorted(
            range(len(arrays)), key=lambda level: -arrays[level].shape[rows] * arrays[level].shape[columns]
        )
        self._arrays = arrays = [arrays[level] for level in order]
        self._axes = image.axes
        self.levels = levels_from_shapes(
            [(array.shape[rows], array.shape[columns]) for array in arrays],
            [(_tile_side(array.chunks[rows]), _tile_side(array.chunks[columns])) for array in arrays],
        )
        count = arrays[0].shape[image.axes.index("c")] if "c" in image.axes else 1
        self.dtype = _shown_type(arrays[0].dtype)
        is_rgb = self.dtype == np.uint8 and image.is_rgb(count)
        if is_rgb is None:
            is_rgb = is_light(arrays[-1], image.axes)
        if not is_rgb:
            self.channels = image.channels(count)
        self.mpp = checked_mpp(image.sizes[order[0]], self.path)
        self.vendor = "ome-zarr"
        stated = {
            "name": image.name,
            "version": image.version,
            "axes": "".join(image.axes),
            "zarr_format": str(group.metadata.zarr_format),
            "chunks": " x ".join(map(str, arrays[0].chunks)),
        }
        self.properties = {key: value for key, value in stated.items() if value}
        self.bounds = None

    def _adopt_own(self, own: Mapping[str, Any]) -> None:
        """Take what our converter wrote where the format has no place for it."""
        magnification = own.get("magnification")
        self.magnification = float(magnification) if isinstance(magnification, int | float) else None
        try:
            self.icc_profile = base64.b64decode(own["icc_profile"], validate=True)
        except (KeyError, TypeError, binascii.Error):
            self.icc_profile = None

    def _check(self, image: Multiscale, array: zarr.Array[Any], level: int) -> None:
        if len(array.shape) != len(image.axes):
            raise SlideError(
                f"{self._name} has {len(array.shape)} axes at level {level} where its metadata names "
                f"{len(image.axes)} ({', '.join(image.axes)}). Convert it again."
            )
        deep = [
            f"{axis} ({side})"
            for axis, side in zip(image.axes, array.shape, strict=True)
            if axis not in "cyx" and side != 1
        ]
        if deep:
            raise SlideError(
                f"{self._name} is a stack along {' and '.join(deep)}; only one plane and one time can be "
                "shown as a slide. Export one of them."
            )
        if min(array.shape) < 1:
            raise SlideError(f"{self._name} is empty at level {level}. Copy or convert it again.")
        if max(array.shape) > LARGEST_SIDE:
            sides = " x ".join(f"{side:,}" for side in array.shape)
            raise SlideError(
                f"{self._name} states a size of {sides} at level {level}, which no slide has. "
                "Copy or convert it again."
            )
        if array.dtype.kind not in "buif":
            raise SlideError(f"{self._name} holds {array.dtype} at level {level}, which is no picture.")
        size = math.prod(array.chunks) * array.dtype.itemsize
        if size > _LARGEST_CHUNK:
            raise SlideError(
                f"{self._name} is stored in chunks of {size / 2**30:.1f} GB at level {level}; "
                "convert it to chunks of 512 or 1,024 px."
            )

    def fingerprint_now(self) -> str:
        """Return the hex digest of the geometry and of samples of what is stored: the same wherever it lies.

        Raises
        ------
        SlideError
            When it is no longer there, or the network fails.
        """
        try:
            if isinstance(self.location, Path) and not self.location.is_dir():
                raise FileNotFoundError("there is no such folder")
            return fingerprint_of_arrays(self._arrays)
        except OSError as error:
            raise SlideError(
                f"{self._name} can no longer be read from {self.location}: "
                f"{error.strerror or first_line(error)}. Check the disk or the network and open it again."
            ) from error

    def require_there(self) -> None:
        """Look whether the arrays are still there: what is missing of them reads as white, see `Slide`."""
        finest = self._arrays[0]
        if zarr.open_array(store=finest.store_path, mode="r").shape != finest.shape:
            raise SlideError(f"{self._name} is another one than at the start. Open it again.")

    def close(self) -> None:
        """Free the threads and the cache; the network session is shared and stays."""
        with self._lock:
            self._closed = True
            self._cache.drop(self._owner)
            if self._threads is not None:
                self._threads.shutdown(wait=False)
                self._threads = None

    def _read(self, level: int, window: Window) -> Pixels:
        if self._closed:
            raise SlideError(f"{self._name} is closed; open it again.")
        out = np.empty((window.height, window.width, self.samples), self.dtype)

        def place(cell: tuple[int, int, Window]) -> None:
            row, column, part = cell
            tile = self._tile(level, row, column)
            top, left = row * self.levels[level].tile[0], column * self.levels[level].tile[1]
            target = Window(part.y - window.y, part.x - window.x, part.height, part.width)
            source = Window(part.y - top, part.x - left, part.height, part.width)
            out[target.slices] = tile[source.slices]

        cells = list(self.levels[level].cells(window))
        if len(cells) == 1:
            place(cells[0])
        else:
            list(self._pool().map(place, cells))
        return out

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise SlideError(f"{self._name} is closed; open it again.")
            if self._threads is None:
                self._threads = decoding_pool(os.cpu_count() or 1)
            return self._threads

    def _tile(self, level: int, row: int, column: int) -> Pixels:
        """Return the pixels of one cell of a level, clipped to it: `dtype` (h, w, samples), read-only."""
        return self._cache.fetch(self._owner, (level, row, column), partial(self._decode, level, row, column))

    def _decode(self, level: int, row: int, column: int) -> Pixels:
        cell = self.levels[level]
        window = Window(row * cell.tile[0], column * cell.tile[1], *cell.tile)
        try:
            return _pixels(self._arrays[level], self._axes, window.intersect(_whole(cell)), self.dtype)
        except Exception as error:  # codecs and networks raise types of their own
            raise SlideError(
                self._told(error, f"at level {level}, tile row {row}, column {column}")
            ) from error

    def _told(self, error: Exception, place: str) -> str:
        """Return what went wrong at a place, and what to do."""
        if not isinstance(self.location, Path):
            return (
                f"{self._name} cannot be fetched or decoded {place}: {first_line(error)}. Check the network."
            )
        if isinstance(error, PermissionError):
            return (
                f"{self._name} may not be read {place}: {error.strerror or 'permission denied'}. "
                "Ask its owner for permission to read all files in the folder."
            )
        if isinstance(error, OSError) and error.errno is not None:  # codecs raise it without a number
            return f"{self._name} cannot be read {place}: {error.strerror}. Check the disk."
        return f"{self._name} cannot be decoded {place}: {first_line(error)}. The file is damaged there."


def _whole(level: Level) -> Window:
    return Window(0, 0, *level.shape)


def _tile_side(chunk: int) -> int:
    """Return the side of a whole number of chunks that is worth a thread: small ones are read together."""
    return chunk * math.ceil(TILE / chunk)


def _shown_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that is handed out: of this machine's byte order, and 8 bits for yes and no."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def _pixels(array: zarr.Array[Any], axes: tuple[str, ...], window: Window, dtype: np.dtype[Any]) -> Pixels:
    """Return a window of an array of any order of axes as (h, w, channels)."""
    rows, columns = window.slices
    chosen: dict[str, slice | int] = {"y": rows, "x": columns, "c": slice(None)}
    values = values_of(array, tuple(chosen.get(axis, 0) for axis in axes))
    left = [axis for axis in axes if axis in "cyx"]
    if "c" not in left:
        values, left = values[..., None], [*left, "c"]
    values = values.transpose([left.index(axis) for axis in "yxc"])
    if values.dtype == dtype and values.flags.c_contiguous:
        return values
    out = np.empty(values.shape, dtype)
    for channel in range(values.shape[2]):  # four times as fast as all at once
        out[..., channel] = values[..., channel]
    if values.dtype.kind == "b":
        out *= 255
    return out


def _associated(root: zarr.Group, path: str, name: str) -> Picture:
    """Return the finest level of a label or macro that fits in memory, uint8 (h, w, 3)."""
    from napari_lumen.slides.omezarr_metadata import multiscale_of

    group = root[path]
    image = multiscale_of(group.attrs, name)
    if image is None or not isinstance(group, zarr.Group):
        raise SlideError(f"{name} is no image.")
    for level, part in enumerate(image.paths):
        array = open_level(group, part, level, name)
        height, width = (array.shape[image.axes.index(axis)] for axis in "yx")
        if height * width <= _LARGEST_ASSOCIATED:
            try:
                pixels = _pixels(array, image.axes, Window(0, 0, height, width), np.dtype(np.uint8))
            except Exception as error:  # codecs and networks raise types of their own
                raise SlideError(f"{name} cannot be decoded: {first_line(error)}.") from error
            return pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    raise SlideError(f"{name} is too large to be shown beside the slide.")
