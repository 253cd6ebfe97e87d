"""Plain TIFF pictures that the tiled reader leaves: read whole through tifffile."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_lumen.errors import SlideError
from napari_lumen.slides.level import Channel
from napari_lumen.slides.picture import PictureFile
from napari_lumen.slides.picture_pillow import GREY, RED_GREEN_BLUE, on_white
from napari_lumen.slides.slide import Pixels

_ALPHA = (1, 2)  # of the tag ExtraSamples: associated and unassociated
_UM_PER_INCH, _UM_PER_CM = 25400.0, 10000.0


def tiff_picture(path: Path) -> PictureFile:
    """Look at the first image of a TIFF.

    Raises
    ------
    SlideError
        When it is a stack, or of a kind that is no picture.
    """
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        page = series.keyframe
        axes, shape = _flat(series, path.name)
        _check(page, path)
        dtype = np.dtype(series.dtype)
        if dtype.kind not in "buif":
            raise SlideError(f"{path.name} holds {dtype}, which is no picture.")
        height, width = shape[axes.index("Y")], shape[axes.index("X")]
        samples = next((side for axis, side in zip(axes, shape, strict=True) if axis in "SC"), 1)
        palette = page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None
        alpha = samples in (2, 4) and bool(page.extrasamples) and int(page.extrasamples[-1]) in _ALPHA
        colors = samples - alpha
        shown = np.dtype(np.uint8) if dtype.kind == "b" or palette else np.dtype(dtype.name)
        channels: tuple[Channel, ...]
        if palette or (shown == np.uint8 and colors == 3 and "S" in axes):
            channels = ()
        elif colors == 1:
            channels = GREY
        elif colors == 3 and "S" in axes:
            channels = RED_GREEN_BLUE
        else:
            channels = tuple(Channel(f"channel {index + 1}") for index in range(colors))
        return PictureFile(
            form="TIFF",
            shape=(height, width),
            channels=channels,
            dtype=shown,
            mpp=_density(page),
            load=partial(_load, path, axes, shape, alpha),
            icc_profile=page.tags.valueof(34675),
            properties={"axes": axes, "compression": tifffile.COMPRESSION(page.compression).name},
        )


def samples_of_8_bits(path: Path) -> int:
    """Return the samples of a TIFF's pixel, 3 for a palette; 0 of signed ones and of more than 8 bits."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            plain = int(page.sampleformat or 1) == 1 and int(page.bitspersample) <= 8
            palette = page.photometric == tifffile.PHOTOMETRIC.PALETTE
            return (3 if palette else int(page.samplesperpixel)) if plain else 0
    except Exception:  # a damaged head fails in any way
        return 0


def _flat(series: Any, name: str) -> tuple[str, tuple[int, ...]]:
    """Return the axes and shape of an image without those of length 1, or refuse a stack."""
    kept = [
        (axis, side) for axis, side in zip(series.axes, series.shape, strict=True) if side > 1 or axis in "YX"
    ]
    axes = "".join(axis for axis, _ in kept)
    if sorted(axes) not in (["X", "Y"], ["S", "X", "Y"], ["C", "X", "Y"]):
        deep = ", ".join(f"{axis} ({side})" for axis, side in kept if axis not in "YXSC")
        raise SlideError(
            f"{name} is a stack along {deep or axes}; only one plane can be shown as a slide. "
            "Export one of them."
        )
    return axes, tuple(side for _, side in kept)


def _check(page: Any, path: Path) -> None:
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise SlideError(f"{path.name} has the compression {int(page.compression)}, which is unknown here.")
    size = path.stat().st_size
    end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)
    if end > size:
        raise SlideError(
            f"{path.name} is truncated: it ends at byte {size:,} of at least {end:,}. "
            "Copy or download it again."
        )


def _load(path: Path, axes: str, shape: tuple[int, ...], alpha: bool) -> Pixels:
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        page = series.keyframe
        values = np.asarray(series.asarray()).reshape(shape)
        palette = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
        inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if palette is not None:  # (3, colours) of 16 bits
        return np.ascontiguousarray((palette >> 8).astype(np.uint8).T[values])
    if values.dtype.kind == "b":
        values = values * np.uint8(255)
    if inverted and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    if len(axes) == 2:
        values, axes = values[..., None], axes + "S"
    last = next(axis for axis in axes if axis in "SC")
    values = values.transpose([axes.index(axis) for axis in ("Y", "X", last)])
    if alpha and values.dtype.kind == "u":
        values = on_white(values[..., :-1], values[..., -1:])
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def _density(page: Any) -> tuple[float, float] | None:
    """Return µm per pixel (y, x) from the resolution tags, unchecked."""
    scale = {2: _UM_PER_INCH, 3: _UM_PER_CM}.get(int(page.tags.valueof("ResolutionUnit", default=1)))
    values = [page.tags.valueof(f"{axis}Resolution", default=None) for axis in "YX"]
    if scale is None or any(value is None for value in values):
        return None
    y, x = (scale * below / above if above else math.inf for above, below in values)
    return y, x
