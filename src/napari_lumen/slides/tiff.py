"""Tiled RGB TIFF (SVS, OME-TIFF, generic pyramids) read directly: pread, decode in threads, cache."""

from __future__ import annotations

import html
import os
import re
import struct
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import tifffile

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair, Region, Window
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.cache import TileCache
from napari_lumen.slides.level import levels_from_shapes
from napari_lumen.slides.pixel_size import checked_mpp
from napari_lumen.slides.slide import Pixels, Slide

_CACHE_BYTES = 256 << 20
_APERIO_YCBCR = 33003
_UM_PER_INCH, _UM_PER_CM = 25400.0, 10000.0
_OME_UNITS = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micrometer": 1.0,
    "inch": _UM_PER_INCH,
    "in": _UM_PER_INCH,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "Å": 1e-4,
    "pm": 1e-6,
}


class UnsupportedLayoutError(Exception):
    """The file is a TIFF but not one that this backend reads; another may."""


class TiffSlide(Slide):
    """A tiled 8-bit RGB TIFF.

    Raises
    ------
    UnsupportedLayoutError
        When the layout is another one (strips, other depths or channels, an unknown codec).
    SlideError
        When the file is truncated.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._tiff = tifffile.TiffFile(path)
        except (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError) as error:
            raise UnsupportedLayoutError("it is not a TIFF file") from error
        try:
            self._adopt()
        except BaseException:
            self._tiff.close()
            raise

    def _adopt(self) -> None:
        series = _main_series(self._tiff)
        self._pages = [_checked_page(level) for level in series.levels]
        self._check_extent()
        self._check_directories()
        self.levels = levels_from_shapes([(page.imagelength, page.imagewidth) for page in self._pages])
        self.properties = _properties(self._tiff)
        self.vendor = "aperio" if self._tiff.is_svs else "ome-tiff" if self._tiff.is_ome else "generic-tiff"
        self.mpp = checked_mpp(_pixel_size(self._tiff, self.properties), self.path)
        self.magnification = _number(self.properties.get("AppMag"))
        self.bounds: Region | None = None
        self.associated = AssociatedImages(_associated(self._tiff, self.path.name))
        self._descriptor = os.open(self.path, os.O_RDONLY)
        # a viewer drops its slides without a word
        self._release = weakref.finalize(self, os.close, self._descriptor)
        self._cache = TileCache(_CACHE_BYTES)
        self._threads: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def _check_extent(self) -> None:
        size = self.path.stat().st_size
        for page in (*self._pages, *self._tiff.pages):
            end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
            if end > size:
                raise SlideError(
                    f"{self.path.name} is truncated: it ends at byte {size:,} of at least {end:,}. "
                    "Copy or download it again."
                )

    def _check_directories(self) -> None:
        """Refuse a file whose chain of directories, or the last values of one, break off.

        Levels behind the break would go unnoticed.
        """
        pages, form = self._tiff.pages, self._tiff.tiff
        size = self.path.stat().st_size
        following = 0
        with self.path.open("rb") as file:
            for page in pages:
                file.seek(page.offset)
                (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
                tags = file.read(count * form.tagsize)
                chain = file.read(form.offsetsize)
                if len(chain) < form.offsetsize or _end_of_values(tags, form) > size:
                    raise self._broken_off(size)
                (following,) = struct.unpack(form.offsetformat, chain)
        if following:
            raise self._broken_off(following)

    def _broken_off(self, place: int) -> SlideError:
        return SlideError(
            f"{self.path.name} is truncated: its directories break off at byte {place:,}. "
            "Copy or download it again."
        )

    def close(self) -> None:
        """Free the file, the decoding threads and the cache."""
        with self._lock:
            if self._descriptor >= 0:
                self._release()
                self._descriptor = -1
                self._tiff.close()
                self._cache.clear()
            if self._threads is not None:
                self._threads.shutdown(wait=False)
                self._threads = None

    def _read(self, level: int, window: Window) -> Pixels:
        page = self._pages[level]
        rows = range(window.y // page.tilelength, -(-(window.y + window.height) // page.tilelength))
        columns = range(window.x // page.tilewidth, -(-(window.x + window.width) // page.tilewidth))
        wanted = [(row, column) for row in rows for column in columns]
        out = np.empty((window.height, window.width, 3), np.uint8)

        def place(cell: tuple[int, int]) -> None:
            top, left = cell[0] * page.tilelength, cell[1] * page.tilewidth
            part = window.intersect(Window(top, left, page.tilelength, page.tilewidth))
            tile = self._tile(level, *cell)
            out[
                part.y - window.y : part.y - window.y + part.height,
                part.x - window.x : part.x - window.x + part.width,
            ] = tile[part.y - top : part.y - top + part.height, part.x - left : part.x - left + part.width]

        missing = [cell for cell in wanted if self._cache.get((level, *cell)) is None]
        for cell in set(wanted).difference(missing) if len(missing) > 2 else wanted:
            place(cell)
        if len(missing) > 2:  # worth the threads
            list(self._pool().map(place, missing))
        return out

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._descriptor < 0:
                raise SlideError(f"{self.path.name} is closed; open it again.")
            if self._threads is None:
                self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="lumen-decode")
            return self._threads

    def _tile(self, level: int, row: int, column: int) -> Pixels:
        """Return one decoded tile, uint8 (tilelength, tilewidth, 3), from the cache or the file."""
        key = (level, row, column)
        tile = self._cache.get(key)
        if tile is not None:
            return tile
        page = self._pages[level]
        index = row * -(-page.imagewidth // page.tilewidth) + column
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if count == 0:  # sparse: nothing was scanned there
            tile = np.full((page.tilelength, page.tilewidth, 3), 255, np.uint8)
        else:
            tile = self._decode(page, index, offset, count, key)
        self._cache.put(key, tile)
        return tile

    def _decode(self, page: Any, index: int, offset: int, count: int, key: tuple[int, int, int]) -> Pixels:
        if self._descriptor < 0:
            raise SlideError(f"{self.path.name} is closed; open it again.")
        try:
            data = os.pread(self._descriptor, count, offset)
            decoded = page.decode(data, index, jpegtables=page.jpegtables)[0]
        except Exception as error:  # codecs raise types of their own
            raise SlideError(
                f"{self.path.name} cannot be decoded at level {key[0]}, tile row {key[1]}, column {key[2]}: "
                f"{_sentence(error)}. The file is damaged there."
            ) from error
        tile = np.asarray(decoded[0])
        if tile.shape == (page.tilelength, page.tilewidth, 3):
            return tile
        full = np.full((page.tilelength, page.tilewidth, 3), 255, np.uint8)  # an edge tile stored cropped
        full[: tile.shape[0], : tile.shape[1]] = tile
        return full


def _sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _end_of_values(tags: bytes, form: Any) -> int:
    """Return the offset behind the last value that a directory's entries point to."""
    end = 0
    inline = form.offsetsize
    for start in range(0, len(tags), form.tagsize):
        entry = tags[start : start + form.tagsize]
        (kind,) = struct.unpack_from(form.byteorder + "H", entry, 2)
        (count,) = struct.unpack_from(form.offsetformat, entry, 4)
        layout = tifffile.TIFF.DATA_FORMATS.get(kind)
        if layout is None:
            continue
        length = count * struct.calcsize(form.byteorder + layout)
        if length > inline:
            (offset,) = struct.unpack_from(form.offsetformat, entry, form.tagsize - inline)
            end = max(end, offset + length)
    return end


def stated_pixel_size(path: Path) -> Pair | None:
    """Return the pixel size (y, x) in µm that a TIFF states, whoever reads its pixels."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return checked_mpp(_pixel_size(tiff, _properties(tiff)), path)
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError):
        return None


def _main_series(tiff: tifffile.TiffFile) -> Any:
    """Return the series of the tissue: the first one; of an OME-TIFF, the one of most pixels."""
    try:
        if tiff.is_ome:  # converters put label and macro at any place
            return max(tiff.series, key=lambda series: series.size)
        return tiff.series[0]
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise UnsupportedLayoutError("it holds no image") from error


def _checked_page(level: Any) -> Any:
    """Return the one page of a level, or refuse its layout."""
    page = level.keyframe
    if len(level.pages) != 1:
        raise UnsupportedLayoutError(f"it is a stack of {len(level.pages)} planes")
    if not page.is_tiled:
        raise UnsupportedLayoutError("it is stored in strips")
    if page.dtype != np.uint8 or page.samplesperpixel != 3 or page.planarconfig != 1:
        raise UnsupportedLayoutError(
            f"it holds {page.samplesperpixel} channels of {page.dtype}, not 8-bit RGB"
        )
    if page.compression == _APERIO_YCBCR:
        raise UnsupportedLayoutError("it is JPEG 2000 in YCbCr, which tifffile leaves unconverted")
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
    except (KeyError, ValueError) as error:
        raise UnsupportedLayoutError(f"its compression {int(page.compression)} is unknown") from error
    return page


def _properties(tiff: tifffile.TiffFile) -> Mapping[str, str]:
    description = tiff.pages.first.description or ""
    if tiff.is_svs:
        head, *pairs = description.split("|")
        found = {"Description": head.strip()}
        for pair in pairs:
            key, _, value = pair.partition("=")
            found[key.strip()] = value.strip()
        return found
    if tiff.is_ome:
        pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", description)
        if pixels is None:
            return {}
        return {key: html.unescape(value) for key, value in re.findall(r'(\w+)="([^"]*)"', pixels.group())}
    return {"Description": description} if description else {}


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _pixel_size(tiff: tifffile.TiffFile, properties: Mapping[str, str]) -> Pair | None:
    """Return µm per pixel (y, x) from the vendor's own statement, else from the resolution tags."""
    if tiff.is_svs:
        value = _number(properties.get("MPP"))
        return None if value is None else (value, value)
    if tiff.is_ome:
        sizes = []
        for axis in ("Y", "X"):
            value = _number(properties.get(f"PhysicalSize{axis}"))
            unit = _OME_UNITS.get(properties.get(f"PhysicalSize{axis}Unit", "µm"))
            if value is None or unit is None:
                return None
            sizes.append(value * unit)
        return sizes[0], sizes[1]
    page = tiff.pages.first
    unit = page.tags.valueof("ResolutionUnit", default=1)
    scale = {2: _UM_PER_INCH, 3: _UM_PER_CM}.get(int(unit))
    values = [page.tags.valueof(f"{axis}Resolution", default=None) for axis in "YX"]
    if scale is None or any(value is None or value[0] == 0 or value[1] == 0 for value in values):
        return None
    (y_num, y_den), (x_num, x_den) = values
    return scale * y_den / y_num, scale * x_den / x_num


def _associated(tiff: tifffile.TiffFile, file: str) -> Mapping[str, Any]:
    lock = Lock()  # tifffile reads through one file handle

    def reader(series: Any) -> Any:
        def read() -> Pixels:
            try:
                with lock:
                    image = np.asarray(series.asarray())
            except Exception as error:  # codecs raise types of their own
                raise SlideError(
                    f"The {series.name.lower()} of {file} cannot be decoded: {_sentence(error)}."
                ) from error
            return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)

        return read

    return {
        series.name.lower(): reader(series)
        for series in tiff.series[1:]
        if series.name.lower() in ("label", "macro", "thumbnail")
    }
