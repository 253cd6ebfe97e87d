"""PNG, JPEG and BMP files through Pillow; PNG of 16 bits through imagecodecs, for Pillow makes 8 of them."""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair
from napari_lumen.slides.level import Channel
from napari_lumen.slides.picture import PictureFile
from napari_lumen.slides.slide import Pixels

GREY = (Channel("grey"),)
RED_GREEN_BLUE = (Channel("red", (255, 0, 0)), Channel("green", (0, 255, 0)), Channel("blue", (0, 0, 255)))

_UM_PER_INCH = 25400.0
_ORIENTATION = 0x0112  # of EXIF
_GREY_TYPES, _ALPHA_TYPES = (0, 4), (4, 6)  # colour types of PNG
_BMP_HEADER = 34


def pillow_picture(path: Path, head: bytes) -> PictureFile | None:
    """Look at a PNG, JPEG or BMP file; None when it is none of these.

    Raises
    ------
    SlideError
        When the file ends before the picture does.
    """
    if head == b"\x89PNG\r\n\x1a\n":
        form, whole = "PNG", _whole_png(path)
    elif head[:3] == b"\xff\xd8\xff":
        form, whole = "JPEG", _whole_jpeg(path)
    elif head[:2] == b"BM":
        form, whole = "BMP", _whole_bmp(path)
    else:
        return None
    if not whole:
        raise SlideError(
            f"{path.name} is truncated: the {form} picture breaks off. Copy or download it again."
        )
    with _opened(path, form) as image:
        orientation = _orientation(image)
        width, height = image.size
        mpp = _density(image)
        if orientation > 4:  # turned by a quarter
            width, height = height, width
            mpp = None if mpp is None else (mpp[1], mpp[0])
        icc = image.info.get("icc_profile")
        mode = image.mode
    bits, color = _png_depth(path) if form == "PNG" else (8, 2)
    channels: tuple[Channel, ...]
    dtype: np.dtype[Any]
    load: Callable[[], Pixels]
    if bits == 16:
        channels = GREY if color in _GREY_TYPES else RED_GREEN_BLUE
        load = partial(_load_deep_png, path, orientation, color in _ALPHA_TYPES)
        dtype = np.dtype(np.uint16)
    else:
        channels = GREY if mode in ("1", "L", "LA") else ()
        load = partial(_load, path, form, orientation)
        dtype = np.dtype(np.uint8)
    return PictureFile(
        form=form,
        shape=(height, width),
        channels=channels,
        dtype=dtype,
        mpp=mpp,
        load=load,
        icc_profile=icc or None,
        properties={"mode": mode, "bits": str(bits)},
    )


def _opened(path: Path, form: str) -> ImageFile.ImageFile:
    """Open a picture without Pillow's own limit of pixels, a global that is not ours to move."""
    kinds: dict[str, Any] = {"PNG": PngImageFile, "JPEG": JpegImageFile, "BMP": BmpImageFile}
    image: ImageFile.ImageFile = kinds[form](str(path))
    return image


def _load(path: Path, form: str, orientation: int) -> Pixels:
    with _opened(path, form) as image:
        shown = _flattened(image)
    return _turned(np.asarray(shown), orientation)


def _flattened(image: Image.Image) -> Image.Image:
    """Return 8-bit grey or RGB: what is transparent lies on white, like glass."""
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.mode == "LA":
        ground = Image.new("L", image.size, 255)
        ground.paste(image.getchannel("L"), mask=image.getchannel("A"))
        return ground
    if image.mode == "RGBA" or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, (255, 255, 255))
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


def _load_deep_png(path: Path, orientation: int, has_alpha: bool) -> Pixels:
    values = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    values = values[..., None] if values.ndim == 2 else values
    if has_alpha:
        values = on_white(values[..., :-1], values[..., -1:])
    return _turned(values, orientation)


def on_white(values: Pixels, alpha: Pixels) -> Pixels:
    """Lay pixels of 16 bits (h, w, samples) with opacity (h, w, 1) on white."""
    opaque = alpha.astype(np.float32) / np.iinfo(alpha.dtype).max
    white = np.iinfo(values.dtype).max
    return np.asarray(np.rint(white + (values - np.float32(white)) * opaque), values.dtype)


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Return pixels as EXIF says that they are looked at."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if orientation in (5, 7):
        pixels = pixels.transpose(1, 0, 2)
    quarters = {3: 2, 6: 3, 7: 2, 8: 1}.get(orientation, 0)
    pixels = np.rot90(pixels, quarters)
    if orientation in (2, 4):
        pixels = np.flip(pixels, 1 if orientation == 2 else 0)
    return np.ascontiguousarray(pixels)


def _orientation(image: Image.Image) -> int:
    """Return how the picture is to be turned, 1 to 8; `getexif` would decode a whole PNG for it."""
    exif = Image.Exif()
    with suppress(Exception):  # a damaged remark is no damaged picture
        exif.load(image.info["exif"])
        return int(exif.get(_ORIENTATION, 1))
    return 1


def _density(image: Image.Image) -> Pair | None:
    """Return µm per pixel (y, x) from a stated density, unchecked."""
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (_UM_PER_INCH / y if y else math.inf, _UM_PER_INCH / x if x else math.inf)


def _png_depth(path: Path) -> tuple[int, int]:
    """Return bits per sample and colour type, which Pillow does not tell."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[24], head[25]


def _whole_png(path: Path) -> bool:
    """Whether the chain of a PNG's chunks reaches its end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if file.tell() + length + 4 > size:
                return False
            if kind == b"IEND":
                return True
            file.seek(length + 4, 1)
    return False


def _whole_jpeg(path: Path) -> bool:
    """Whether a JPEG's scan is followed by its end marker, which coded data never contain.

    Where another program sets Pillow to be tolerant, a cut file would come out grey without a word.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = 2
        while place + 4 <= len(data) and data[place] == 0xFF:
            kind = data[place + 1]
            if kind == 0xFF:  # padding
                place += 1
                continue
            if kind == 0xDA:  # the scan begins
                return data.find(b"\xff\xd9", place) >= 0
            if 0xD0 <= kind <= 0xD8 or kind == 0x01:
                place += 2
                continue
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False


def _whole_bmp(path: Path) -> bool:
    """Whether the rows of an uncompressed BMP are all there."""
    with path.open("rb") as file:
        head = file.read(_BMP_HEADER)
    if len(head) < _BMP_HEADER:
        return False
    start, kind, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", head, 10)
    if kind < 40 or compression not in (0, 3):  # the old header, or run lengths
        return True
    return bool(start + -(-width * bits // 32) * 4 * abs(height) <= path.stat().st_size)
