"""Vendor formats through OpenSlide."""

from __future__ import annotations

import configparser
import ctypes
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import openslide
from openslide import lowlevel

from napari_lumen.errors import SlideError, first_line, some_of
from napari_lumen.geometry import Pair, Region, Window
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.cache import GuestCache, TileCache, process_cache
from napari_lumen.slides.level import LARGEST_SIDE, TILE, levels_from_shapes
from napari_lumen.slides.slide import Picture, Pixels, Slide
from napari_lumen.slides.stated_size import StatedSize, size_of_resolution
from napari_lumen.slides.vendor_cache import VendorCache

_OPAQUE = 0xFF000000  # the alpha of a premultiplied ARGB pixel
_MIRAX = ".mrxs"


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide: MRXS, NDPI, SCN, BIF, VMS, Trestle, Sakura, Zeiss and more.

    All threads read through one handle: OpenSlide is made for that, and knows decoded tiles by handle, so
    that handles of their own would decode the same strips of an NDPI again. A handle is dead after its
    first error, for every thread; a read that fails is done once more by a new one.

    Where a level's ratio to level 0 is whole, a read returns the stored pixels. OpenSlide takes places in
    whole level-0 pixels and blends neighbours in between, so elsewhere they lie within half of one.

    Parameters
    ----------
    path : Path
        What the user named.
    file : Path or None
        The file that OpenSlide opens, where it is another one (a member of a DICOM folder).
    cache : TileCache, optional
        In whose limit OpenSlide keeps decoded tiles; the process's own by default.

    Raises
    ------
    SlideError
    """

    def __init__(self, path: Path, file: Path | None = None, cache: TileCache | None = None) -> None:
        super().__init__(path)
        self._file = file or path
        self._lock = Lock()
        self._closed = False
        self._attached: object = None
        _require_mirax_data(self._file)
        if path.suffix.lower() == _MIRAX:  # of the file itself there may be two alike
            self.files = (path, path.with_suffix("") / "Slidedat.ini")
        self._cache: GuestCache | None = (process_cache() if cache is None else cache).guest(VendorCache)
        handle = self._open()
        self._handle: Any = handle
        try:
            self._adopt(handle)
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{path.name} cannot be opened: {first_line(error)}. Copy it again or re-export it."
            ) from error

    def _adopt(self, handle: Any) -> None:
        names = lowlevel.get_property_names(handle)
        self.properties = {name: lowlevel.get_property_value(handle, name) for name in names}
        numbers = range(lowlevel.get_level_count(handle))
        sizes = [lowlevel.get_level_dimensions(handle, number) for number in numbers]
        _check_sizes(self.path, sizes)
        self._steps = [lowlevel.get_level_downsample(handle, number) for number in numbers]
        self.levels = levels_from_shapes(
            [(height, width) for width, height in sizes], [self._tile(number) for number in numbers]
        )
        self.vendor = self.properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
        self.mpp = self._pixel_size()
        self.magnification = self._float(openslide.PROPERTY_NAME_OBJECTIVE_POWER)
        self.bounds = self._bounds()
        self.icc_profile = lowlevel.read_icc_profile(handle)
        self.associated = AssociatedImages(
            {name: partial(self._associated, name) for name in lowlevel.get_associated_image_names(handle)}
        )

    def _open(self) -> Any:
        cache = self._cache
        if cache is None:
            raise SlideError(f"{self.path.name} is closed; open it again.")
        try:
            with self._file.open("rb"):  # OpenSlide does not say why it cannot
                pass
        except FileNotFoundError as error:
            raise SlideError(
                f"{self.path.name} is no longer at {self._file.parent}. Put it back and open it again."
            ) from error
        except OSError as error:
            raise SlideError(
                f"{self.path.name} cannot be read: {error.strerror or error}. "
                "Check the disk and your permissions."
            ) from error
        try:
            handle = lowlevel.open(self._file)
            cache.attach(handle)
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise SlideError(
                f"{self.path.name} is not a slide in any format that is known here. "
                "Check that it is the slide file itself and was copied whole."
            ) from error
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{self.path.name} cannot be opened: {first_line(error)}. Copy it again or re-export it."
            ) from error
        return handle

    def _float(self, name: str) -> float | None:
        try:
            return float(self.properties[name])
        except (KeyError, ValueError):
            return None

    def _pixel_size(self) -> Pair | None:
        y, x = self._float(openslide.PROPERTY_NAME_MPP_Y), self._float(openslide.PROPERTY_NAME_MPP_X)
        if y is None or x is None:
            return None
        is_resolution = self.vendor == "generic-tiff"
        return (size_of_resolution((y, x)) if is_resolution else StatedSize((y, x))).checked(self.path)

    def _tile(self, level: int) -> tuple[int, int]:
        """Return height and width of what a level is decoded in, as far as it is stated."""
        height, width = (self._float(f"openslide.level[{level}].tile-{side}") for side in ("height", "width"))
        return (int(height), int(width)) if height and width and min(height, width) >= 1 else (TILE, TILE)

    def _bounds(self) -> Region | None:
        names = ("bounds-y", "bounds-x", "bounds-height", "bounds-width")
        values = [self._float(f"openslide.{name}") for name in names]
        if any(value is None for value in values):
            return None
        y, x, height, width = (float(value) for value in values if value is not None)
        sane = all(math.isfinite(value) for value in (y, x, height, width)) and height > 0 and width > 0
        return Region(y, x, height, width) if sane else None

    def _read(self, level: int, window: Window) -> Pixels:
        handle = self._current()
        try:
            return self._region(handle, level, window)
        except openslide.OpenSlideError:
            pass  # perhaps another thread's error: ask a new handle
        fresh = self._open()
        try:
            pixels = self._region(fresh, level, window)
        except openslide.OpenSlideError as error:
            lowlevel.close(fresh)  # nobody else has it, and the error would keep it as long as itself
            self._replace(handle, None)
            raise SlideError(
                f"{self.path.name} cannot be decoded at level {level}, row {window.y}, "
                f"column {window.x}: {first_line(error)}. The file is damaged there."
            ) from error
        self._replace(handle, fresh)
        return pixels

    def _region(self, handle: Any, level: int, window: Window) -> Picture:
        step = self._steps[level]
        argb = np.empty((window.height, window.width), np.uint32)
        place = argb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
        # into our own memory: the public read_region converts to a Pillow image, which costs as much again
        lowlevel._read_region(
            handle, place, round(window.x * step), round(window.y * step), level, window.width, window.height
        )
        return _on_white(argb)

    def _current(self) -> Any:
        """Return the handle, a new one where the last has died."""
        with self._lock:
            if self._closed:
                raise SlideError(f"{self.path.name} is closed; open it again.")
            if self._handle is None:
                self._handle, self._attached = self._open(), None
            if self._cache is not None:
                self._attached = self._cache.attach(self._handle, self._attached)
            return self._handle

    def _replace(self, dead: Any, fresh: Any) -> None:
        """Put a handle, or None, in the place of a dead one that no other thread has replaced yet."""
        with self._lock:
            if self._handle is dead and not self._closed:
                self._handle, self._attached = fresh, None

    def _associated(self, name: str) -> Picture:
        handle = self._current()
        try:
            width, height = lowlevel.get_associated_image_dimensions(handle, name)
            argb = np.empty((height, width), np.uint32)
            place = argb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
            lowlevel._read_associated_image(handle, name, place)
        except openslide.OpenSlideError as error:
            self._replace(handle, None)
            self._current()  # says so where the file is gone
            raise SlideError(
                f"The {name} of {self.path.name} cannot be decoded: {first_line(error)}. "
                "The file is damaged there."
            ) from error
        return _on_white(argb)

    def close(self) -> None:
        """Free the file, as soon as no other thread is reading from it."""
        with self._lock:
            self._closed, self._handle, self._cache = True, None, None


def _on_white(argb: npt.NDArray[np.uint32]) -> Picture:
    """Return premultiplied ARGB (h, w) as RGB (h, w, 3) over white: what was never scanned is glass."""
    # the bytes in memory are B, G, R, A: OpenSlide's words are the machine's, and ours are little endian
    parts = argb.view(np.uint8).reshape(*argb.shape, 4)
    out = np.empty((*argb.shape, 3), np.uint8)
    for channel in range(3):  # a third of the time of one copy with a reversed axis
        out[..., channel] = parts[..., 2 - channel]
    if argb.size and argb.min() < _OPAQUE:
        out += 255 - parts[..., 3:]  # exact, as no colour is above its alpha
    return out


def _require_mirax_data(path: Path) -> None:
    """Refuse an MRXS slide of which files are missing: OpenSlide would tell only when it comes to them."""
    if path.suffix.lower() != _MIRAX:
        return
    folder = path.with_suffix("")
    if not folder.is_dir():
        raise SlideError(
            f"{path.name} lacks its data: there is no folder {folder.name} beside it. Copy that folder too."
        )
    index = folder / "Slidedat.ini"
    if not index.is_file():
        raise SlideError(
            f"{path.name} lacks Slidedat.ini in its folder {folder.name}. Copy the whole folder again."
        )
    reader = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        reader.read_string(index.read_text(encoding="utf-8-sig", errors="replace"))
    except configparser.Error:
        return  # OpenSlide has its own words for that
    named = [reader.get("HIERARCHICAL", "INDEXFILE", fallback="")]
    if reader.has_section("DATAFILE"):
        named += [
            value
            for key, value in reader.items("DATAFILE")
            if key.startswith("file_") and key != "file_count"
        ]
    missing = [name for name in named if name and not (folder / name).is_file()]
    if missing:
        raise SlideError(
            f"{path.name} lacks {some_of(missing, 1)} in its folder {folder.name}. "
            "Copy the whole folder again."
        )


def _check_sizes(path: Path, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse a damaged head, from which OpenSlide takes sides of any length."""
    width, height = sizes[0]
    for level, (across, down) in enumerate(sizes):
        if not (1 <= across <= min(width, LARGEST_SIDE) and 1 <= down <= min(height, LARGEST_SIDE)):
            raise SlideError(
                f"{path.name} is damaged: it states {across} x {down} px for level {level}. "
                "Copy it again or re-export it."
            )
