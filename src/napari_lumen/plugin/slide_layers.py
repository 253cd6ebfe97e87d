"""From slides to napari layers: one of a colour picture, one a channel of any other slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.plugin.layers import KEY, MICROMETRES, LayerData

if TYPE_CHECKING:
    from napari.utils.colormaps import Colormap

    from napari_lumen.slides import Channel, Slide
    from napari_lumen.slides.color import Color

_PIXELS = ("pixel", "pixel")
_BRIGHTEST = 0.999  # of the pixels are at most this bright: a speck of dust must not darken the tissue
_SHOWN_AT_ONCE = 6  # more colours than these on top of each other tell nothing


def slide_layers(slide: Slide, color: Color | None = None) -> list[LayerData]:
    """Return the layers of a slide, bottom to top.

    Without a known pixel size the layers are in pixels: a length in µm would be invented.

    Parameters
    ----------
    slide : Slide
    color : callable, optional
        Changes the colours of a colour picture for display, as of `napari_lumen.slides.color.to_srgb`.
    """
    return [slide_layer(slide, color)] if slide.is_rgb else _channel_layers(slide)


def slide_layer(slide: Slide, color: Color | None = None) -> LayerData:
    """Return a colour picture as a multiscale RGB image."""
    return (
        slide.dask_levels(color),
        {
            "name": slide.path.name,
            "rgb": True,
            "interpolation2d": "linear",  # between levels, so that nuclei do not flicker when zooming
            **_placement(slide),
            "metadata": {KEY: {**slide_facts(slide), "color": color}},
        },
        "image",
    )


def _channel_layers(slide: Slide) -> list[LayerData]:
    """Return one image for each channel, added up; the first carries the slide's facts."""
    facts = slide_facts(slide)
    # napari would hold it in memory anyway, for the thumbnail; the limits of contrast come from it as well
    coarsest = np.asarray(slide.dask_levels()[-1])
    layers: list[LayerData] = []
    for index, channel in enumerate(slide.channels):
        own = {"kind": "channel", "path": facts["path"], "fingerprint": facts["fingerprint"]}
        plane = np.ascontiguousarray(coarsest[..., index])
        layers.append(
            (
                [*slide.dask_levels(channel=index)[:-1], plane],
                {
                    "name": f"{slide.path.name} · {channel.name}",
                    "rgb": False,
                    "interpolation2d": "linear",
                    "blending": "additive",
                    "colormap": channel_colormap(channel),
                    "contrast_limits": contrast_limits(plane),
                    "visible": index < _SHOWN_AT_ONCE,
                    **_placement(slide),
                    "metadata": {KEY: own if index else facts},
                },
                "image",
            )
        )
    return layers


def channel_colormap(channel: Channel) -> Colormap:
    """Return napari's colormap of a channel: from black to its colour."""
    from napari.utils.colormaps import Colormap

    colors = [(0, 0, 0, 1), (*(value / 255 for value in channel.color), 1)]
    return Colormap(colors, name="lumen #{:02x}{:02x}{:02x}".format(*channel.color))


def contrast_limits(plane: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the values shown as black and as the full colour: the range of a plane without its specks."""
    known = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(np.quantile(known, _BRIGHTEST))
    if high <= low:
        high = float(known.max())
    if high > low:
        return low, high
    return (low, low + 1.0) if low < 1 else (low - 1.0, low)


def slide_facts(slide: Slide) -> dict[str, Any]:
    """Return what is known of a slide, in plain values, and the open slide itself under ``"slide"``."""
    return {
        "kind": "slide",
        "slide": slide,
        "path": str(slide.path),
        "vendor": slide.vendor,
        "shape": slide.shape,
        **size_facts(slide),
        "magnification": slide.magnification,
        "levels": [{"shape": level.shape, "downsample": level.downsample} for level in slide.levels],
        "bounds": None
        if slide.bounds is None
        else (slide.bounds.y, slide.bounds.x, slide.bounds.height, slide.bounds.width),
        "fingerprint": slide.fingerprint,
        "associated": sorted(slide.associated),
        "properties": dict(slide.properties),
        "channels": [channel.name for channel in slide.channels],
    }


def size_facts(slide: Slide) -> dict[str, Any]:
    """Return the part of `slide_facts` that changes when the user gives a pixel size."""
    height, width = slide.shape
    mpp = slide.mpp
    return {
        "mpp": mpp,
        "size_mm": None if mpp is None else (height * mpp[0] / 1000, width * mpp[1] / 1000),
    }


def _placement(slide: Slide) -> dict[str, Any]:
    return {
        "multiscale": True,
        "scale": slide.mpp or (1.0, 1.0),
        "units": MICROMETRES if slide.mpp else _PIXELS,
    }
