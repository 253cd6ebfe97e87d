"""DICOM whole-slide images read directly: pread, decode in threads, cache."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np

from napari_lumen.errors import SlideError, first_line
from napari_lumen.geometry import Pair, Window
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.cache import TileCache, process_cache
from napari_lumen.slides.decoding import decoding_pool
from napari_lumen.slides.dicom_decode import Tile
from napari_lumen.slides.dicom_errors import UnsupportedDicomError
from napari_lumen.slides.dicom_groups import OpticalPath
from napari_lumen.slides.dicom_image import DicomImage
from napari_lumen.slides.dicom_instance import Instance
from napari_lumen.slides.dicom_level import DicomLevel
from napari_lumen.slides.dicom_series import Series
from napari_lumen.slides.level import Channel, Level, default_color, levels_from_shapes
from napari_lumen.slides.pixel_size import checked_mpp
from napari_lumen.slides.slide import Picture, Pixels, Slide

_ASSOCIATED = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}
_MOST_SKEWED = 2.0  # between the ratios of a level to the finest along y and x
_THREADED = 2  # tiles; more are worth the threads


class DicomSlide(Slide):
    """A DICOM whole-slide image: one file or many, in parts, tiled in full or sparsely.

    Of several focal planes the middle one is shown, and `properties` says so. Monochrome optical paths are
    channels.

    Parameters
    ----------
    path : Path
        What the user named: a file or a folder.
    series : Series
    cache : TileCache, optional
        The process's own by default.

    Raises
    ------
    UnsupportedDicomError
        When another reader should be asked.
    SlideError
    """

    def __init__(self, path: Path, series: Series, cache: TileCache | None = None) -> None:
        super().__init__(path)
        self.files = tuple(instance.path for instance in series.volumes)
        levels = [DicomLevel(path, members) for members in _by_shape(series.volumes)]
        base = levels[0].first
        _check_shapes(path, levels)
        if base.resampled:
            warnings.warn(
                f"{path.name} lacks its finest level: the largest picture there, {base.shape[1]} x "
                f"{base.shape[0]} px, is a reduced one. Check that all files of the slide were copied.",
                UserWarning,
                stacklevel=2,
            )
        kinds = [(level.first.samples, level.depth, level.first.bits, level.order) for level in levels]
        if any(kind != kinds[0] for kind in kinds):
            raise UnsupportedDicomError("its levels differ in their channels")
        self.levels = levels_from_shapes(
            [level.first.shape for level in levels], [level.first.tile for level in levels]
        )
        self.vendor = "dicom"
        self.properties = dict(base.facts)
        if base.planes > 1:
            self.properties["lumen.focal-plane"] = f"{base.planes // 2 + 1} of {base.planes}"
        self.mpp = _mpp(base, path)
        self.magnification = next((one.power for one in levels[0].paths if one.power), None)
        self.icc_profile = next((one.icc for one in levels[0].paths if one.icc), None)
        self.bounds = None
        if base.samples == 1:
            self.channels = _channels(levels[0].paths)
            self.dtype = np.dtype(np.uint8 if base.bits == 8 else np.uint16)
        self._stored: Sequence[DicomLevel] | None = levels
        self._pictures: dict[str, DicomImage] = {}
        for name, member in _pictures(series):
            try:
                self._pictures[name] = DicomImage(path, [member])
            except UnsupportedDicomError:
                continue  # no reason to refuse the tissue
        self.associated = AssociatedImages({name: partial(self._picture, name) for name in self._pictures})
        self._cache = cache or process_cache()
        self._owner = object()
        self._threads: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def _read(self, level: int, window: Window) -> Pixels:
        stored = self._open_levels()[level]
        shown = self.levels[level]
        cells = list(shown.cells(window))
        if len(cells) == 1:
            row, column, part = cells[0]
            return _part(self._tile(stored, level, row, column), part, shown).copy()
        out = np.empty((window.height, window.width, self.samples), self.dtype)

        def place(cell: tuple[int, int, Window]) -> None:
            row, column, part = cell
            where = Window(part.y - window.y, part.x - window.x, part.height, part.width)
            out[where.slices] = _part(self._tile(stored, level, row, column), part, shown)

        if len(cells) <= _THREADED:
            for cell in cells:
                place(cell)
        else:
            list(self._pool().map(place, cells))
        return out

    def _tile(self, stored: DicomLevel, level: int, row: int, column: int) -> Tile:
        def make() -> Tile:
            try:
                return stored.tile(row, column, self._ground)
            except Exception as error:  # codecs raise types of their own
                raise SlideError(
                    f"{self.path.name} cannot be decoded at level {level}, tile row {row}, column {column}: "
                    f"{first_line(error)}. The file is damaged there."
                ) from error

        return self._cache.fetch(self._owner, (level, row, column), make)

    def _open_levels(self) -> Sequence[DicomLevel]:
        levels = self._stored
        if levels is None:
            raise self._is_closed()
        return levels

    def _is_closed(self) -> SlideError:
        return SlideError(f"{self.path.name} is closed; open it again.")

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._stored is None:
                raise self._is_closed()
            if self._threads is None:
                self._threads = decoding_pool(os.cpu_count() or 1)
            return self._threads

    def _picture(self, name: str) -> Picture:
        self._open_levels()
        try:
            return self._pictures[name].whole()
        except Exception as error:  # codecs raise types of their own
            raise SlideError(
                f"The {name} of {self.path.name} cannot be decoded: {first_line(error)}. "
                "The file is damaged there."
            ) from error

    def close(self) -> None:
        """Free the files, as soon as no other thread is reading from them, the threads and the tiles."""
        with self._lock:
            self._stored = None
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)
        self._cache.drop(self._owner)


def _by_shape(volumes: Sequence[Instance]) -> list[list[Instance]]:
    """Return the files of each level, finest level first."""
    levels: dict[tuple[int, int], list[Instance]] = {}
    for instance in volumes:
        levels.setdefault(instance.shape, []).append(instance)
    return [levels[shape] for shape in sorted(levels, key=lambda shape: -shape[0] * shape[1])]


def _pictures(series: Series) -> list[tuple[str, Instance]]:
    return [
        (_ASSOCIATED[member.kind], member)
        for member in series.instances
        if member.kind in _ASSOCIATED and member.samples == 3
    ]


def _check_shapes(path: Path, levels: Sequence[DicomLevel]) -> None:
    """Refuse levels of which one cannot be a smaller version of the other: a size is damaged."""
    base = levels[0].first.shape
    for level in levels[1:]:
        shape, tile = level.first.shape, level.first.tile
        least = [full / side for full, side in zip(base, shape, strict=True)]
        # some writers pad coarse levels to whole tiles
        most = [full / max(1, side - pad) for full, side, pad in zip(base, shape, tile, strict=True)]
        if least[0] > _MOST_SKEWED * most[1] or least[1] > _MOST_SKEWED * most[0]:
            raise SlideError(
                f"{path.name} is damaged: it states levels of {base[1]} x {base[0]} px "
                f"({levels[0].first.path.name}) and {shape[1]} x {shape[0]} px ({level.first.path.name}), "
                "which cannot be of one picture. Copy both files again."
            )


def _mpp(base: Instance, path: Path) -> Pair | None:
    if base.spacing.unreadable:
        warnings.warn(
            f"{path.name} states a pixel size of {base.spacing.unreadable!r} mm, which is no pair of "
            "numbers; it is treated as unknown.",
            UserWarning,
            stacklevel=3,
        )
    size = base.spacing.size
    return None if size is None else checked_mpp((size[0] * 1e3, size[1] * 1e3), path)


def _channels(paths: Sequence[OpticalPath]) -> tuple[Channel, ...]:
    if len(paths) < 2:
        return (Channel(paths[0].description or "Intensity" if paths else "Intensity"),)
    return tuple(
        Channel(
            one.description or one.identifier or f"Channel {number + 1}", default_color(number, len(paths))
        )
        for number, one in enumerate(paths)
    )


def _part(tile: Tile, part: Window, level: Level) -> Tile:
    """Return the part of a tile that lies in a window of its level."""
    y, x = part.y % level.tile[0], part.x % level.tile[1]
    return tile[y : y + part.height, x : x + part.width]
