"""One stored level of a TIFF slide: the planes of its channels, decoded tile by tile to what is shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.slides.tiff_decode import Coding, Pixels
from napari_lumen.slides.tiff_directory import Directory, UnsupportedLayoutError
from napari_lumen.slides.tiff_plane import Plane

_RGB, _PALETTE, _YCBCR = 2, 3, 6
_OPACITY, _PREMULTIPLIED = (1, 2), 1
_MOST_PICTURE = 256 << 20  # bytes of a label or a macro


class TiffLevel:
    """A level as a grid of tiles.

    Parameters
    ----------
    planes : sequence of Directory
        One, or one a channel; all of one size, cut and depth.
    shape : (int, int), optional
        Height and width, where they are not those of the directories.

    Attributes
    ----------
    shape, tile : (int, int)
        Height and width of the level and of its tiles, px.
    samples : int
        Values per pixel of what is shown.
    dtype : dtype
        Of what is shown: floats of any length come as float32.
    is_cheap : bool
        Whether decoding a tile takes about as long as keeping it.
    is_rgb : bool
        Whether that is a colour picture, uint8 (h, w, 3).

    Raises
    ------
    UnsupportedLayoutError
    SlideError
    """

    def __init__(
        self, planes: Sequence[Directory], shape: tuple[int, int] | None = None, as_rgb: bool = False
    ) -> None:
        self._planes = [Plane(directory) for directory in planes]
        first = self._planes[0]
        for plane in self._planes[1:]:
            same = (plane.shape, plane.tile, plane.coding.dtype, plane.coding.samples)
            if same != (first.shape, first.tile, first.coding.dtype, first.coding.samples):
                raise UnsupportedLayoutError("its channels differ in size or depth")
        self.tile = first.tile
        self.shape = first.shape if shape is None else shape
        self._coding = first.coding
        self.is_cheap = first.coding.is_cheap and first.is_tiled
        self._stored = first.coding.samples * len(self._planes)
        self._native = native = first.coding.dtype.newbyteorder("=")
        self._palette = _palette(planes[0]) if first.coding.photometric == _PALETTE else None
        self.is_colour = self._palette is not None or (
            len(planes) == 1 and first.coding.photometric in (_RGB, _YCBCR) and _is_picture(first.coding)
        )
        self.is_rgb = self._palette is not None or (
            native == np.uint8 and (self.is_colour or (as_rgb and self._stored == 3))
        )
        self.samples = 3 if self.is_colour or self.is_rgb else self._stored - _opaque(first.coding)
        self.dtype = np.dtype(np.float32) if native.kind == "f" else native
        self._ground = 255 if self.is_rgb else 0
        self._piecewise = len(self._planes) > 1 or first.coding.separate or not first.is_tiled

    def decode(self, row: int, column: int) -> Pixels:
        """Return one tile, `dtype` (tile height, tile width, `samples`), an array of its own.

        Where the file holds nothing it is the ground: white, or 0 with channels.

        Raises
        ------
        SlideError
            When it lies beyond the end of the file.
        ValueError or an error of the codec
            When it cannot be decoded.
        """
        samples = self._coding.samples
        stored = np.empty((*self.tile, self._stored), self._native)
        if self._piecewise:  # some pieces may be there and others not
            stored[...] = self._stored_ground()
        if len(self._planes) == 1:
            found = self._planes[0].fill(row, column, stored)
        else:
            parts = (stored[..., start : start + samples] for start in range(0, self._stored, samples))
            found = False
            for plane, part in zip(self._planes, parts, strict=True):
                found |= plane.fill(row, column, part)
        if not found:
            return np.full((*self.tile, self.samples), self._ground, self.dtype)
        return self._shown(stored)

    def _stored_ground(self) -> int:
        """Return the value that is shown as the ground."""
        if self._coding.photometric == 0 and self._native.kind == "u":
            return int(np.iinfo(self._native).max)
        return self._ground

    def _shown(self, stored: Pixels) -> Pixels:
        """Return the pixels as they are shown, of what is stored."""
        if self._palette is not None:
            shown: Pixels = self._palette[stored[..., 0]]
        elif self.is_colour and self._coding.samples > 3:
            shown = _on_white(stored, self._coding.extra) if self.is_rgb else stored[..., :3].copy()
        elif stored.shape[2] > self.samples:
            shown = stored[..., : self.samples].copy()
        else:
            shown = stored
        if self._coding.photometric == 0 and self._native.kind == "u":
            shown = np.iinfo(self._native).max - shown
        return shown.astype(self.dtype, copy=False)


def picture(directory: Directory) -> npt.NDArray[np.uint8]:
    """Return the whole image of a directory, such as a label: uint8 (h, w, 3).

    Raises
    ------
    UnsupportedLayoutError
        When it is not of 8 bits in one or three colours.
    SlideError, ValueError or an error of the codec
        When it cannot be decoded.
    """
    level = TiffLevel([directory])
    height, width = level.shape
    if level.dtype != np.uint8 or level.samples not in (1, 3):
        raise UnsupportedLayoutError(f"it holds {level.samples} channels of {level.dtype}")
    if height * width * level.samples > _MOST_PICTURE:
        raise SlideError(f"{directory.file.name} keeps an associated image of {width} x {height} px.")
    out = np.empty((height, width, level.samples), np.uint8)
    for top in range(0, height, level.tile[0]):
        for left in range(0, width, level.tile[1]):
            place = out[top : top + level.tile[0], left : left + level.tile[1]]
            tile = level.decode(top // level.tile[0], left // level.tile[1])
            place[...] = tile[: place.shape[0], : place.shape[1]]
    return out if level.samples == 3 else np.repeat(out, 3, axis=2)


def _is_picture(coding: Coding) -> bool:
    """Whether samples that begin with red, green and blue end there, but for opacity."""
    return coding.samples == 3 or (coding.samples == 4 and (coding.dtype == np.uint8 or _opaque(coding) > 0))


def _opaque(coding: Coding) -> int:
    """Return how many samples of a picture without colours say how opaque it is."""
    last = coding.extra[-1] if coding.extra else 0
    return 1 if coding.samples > 1 and last in _OPACITY else 0


def _palette(directory: Directory) -> npt.NDArray[np.uint8]:
    colors = directory.numbers(320)
    if directory.integer(258, 1) != 8 or directory.integer(277, 1) != 1 or colors.size != 3 * 256:
        raise UnsupportedLayoutError("its palette is not of 256 colours")
    return np.ascontiguousarray((colors.reshape(3, 256).T >> 8).astype(np.uint8))


def _on_white(stored: npt.NDArray[np.uint8], extra: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Drop the opacity over white: what is clear is glass."""
    kind = extra[0] if extra else 0
    opacity = stored[..., 3:4]
    if kind not in _OPACITY or (opacity == 255).all():
        return stored[..., :3].copy()
    glass = 255 - opacity.astype(np.uint16)
    colors = stored[..., :3].astype(np.uint16)
    if kind == _PREMULTIPLIED:
        mixed = np.minimum(colors + glass, 255)
    else:
        mixed = (colors * opacity + 255 * glass + 127) // 255
    return np.asarray(mixed, np.uint8)
