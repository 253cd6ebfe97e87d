"""Vendor formats and DICOM through OpenSlide."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import numpy as np
import openslide
from PIL import Image

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Region, Window
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.level import levels_from_shapes
from napari_lumen.slides.pixel_size import checked_mpp
from napari_lumen.slides.slide import Pixels, Slide


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide: MRXS, NDPI, SCN, BIF, VMS, Trestle, Sakura, Zeiss, DICOM and more.

    Parameters
    ----------
    path : Path
        What the user named.
    file : Path or None
        The file that OpenSlide opens, where it is another one (a member of a DICOM folder).

    Raises
    ------
    SlideError
    """

    def __init__(self, path: Path, file: Path | None = None) -> None:
        super().__init__(path)
        self._file = file or path
        self._lock = Lock()
        self._handle: openslide.OpenSlide | None = self._open()
        handle = self._handle
        self.levels = levels_from_shapes([(height, width) for width, height in handle.level_dimensions])
        self._steps = handle.level_downsamples
        self.properties = dict(handle.properties)
        self.vendor = self.properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
        mpp = (self._float(openslide.PROPERTY_NAME_MPP_Y), self._float(openslide.PROPERTY_NAME_MPP_X))
        self.mpp = None if mpp[0] is None or mpp[1] is None else checked_mpp((mpp[0], mpp[1]), path)
        self.magnification = self._float(openslide.PROPERTY_NAME_OBJECTIVE_POWER)
        self.bounds = self._bounds()
        self.associated = AssociatedImages(
            {name: lambda name=name: self._associated(name) for name in handle.associated_images}  # type: ignore[misc]
        )

    def _open(self) -> openslide.OpenSlide:
        try:
            return openslide.OpenSlide(str(self._file))
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise SlideError(
                f"{self.path.name} is not a slide in any format that is known here. "
                "Check that it is the slide file itself and was copied whole."
            ) from error
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{self.path.name} cannot be opened: {error}. Copy it again or re-export it."
            ) from error

    def _float(self, name: str) -> float | None:
        try:
            return float(self.properties[name])
        except (KeyError, ValueError):
            return None

    def _bounds(self) -> Region | None:
        names = ("bounds-y", "bounds-x", "bounds-height", "bounds-width")
        values = [self._float(f"openslide.{name}") for name in names]
        if any(value is None for value in values):
            return None
        y, x, height, width = (float(value) for value in values if value is not None)
        return Region(y, x, height, width)

    def _read(self, level: int, window: Window) -> Pixels:
        step = self._steps[level]
        location = (round(window.x * step), round(window.y * step))
        handle = self._handle
        if handle is None:
            raise SlideError(f"{self.path.name} is closed; open it again.")
        size = (window.width, window.height)
        try:
            return _on_white(handle.read_region(location, level, size))
        except openslide.OpenSlideError:
            pass  # a handle is dead after its first error, whichever thread met it: ask a new one
        with self._lock:
            fresh = self._open()
            try:
                pixels = _on_white(fresh.read_region(location, level, size))
            except openslide.OpenSlideError as error:
                fresh = self._open()
                raise SlideError(
                    f"{self.path.name} cannot be decoded at level {level}, row {window.y}, "
                    f"column {window.x}: {error}. The file is damaged there."
                ) from error
            finally:
                if self._handle is handle:
                    self._handle = fresh
            return pixels

    def _associated(self, name: str) -> Pixels:
        if self._handle is None:
            raise SlideError(f"{self.path.name} is closed; open it again.")
        try:
            return _on_white(self._handle.associated_images[name])
        except openslide.OpenSlideError as error:
            raise SlideError(f"The {name} of {self.path.name} cannot be decoded: {error}.") from error

    def close(self) -> None:
        """Free the file, as soon as no other thread is reading from it."""
        with self._lock:
            self._handle = None


def _on_white(image: Image.Image) -> Pixels:
    """Drop the alpha channel over white: what was never scanned is glass."""
    pixels = np.asarray(image)
    if pixels.shape[-1] == 3 or (pixels[..., 3] == 255).all():
        return np.ascontiguousarray(pixels[..., :3])
    ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
    ground.alpha_composite(image)
    return np.ascontiguousarray(np.asarray(ground)[..., :3])
