"""From slides to napari layers: one of a colour picture, one a channel of any other slide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lumen.plugin.layers import KEY, MICROMETRES, LayerData
from napari_lumen.plugin.ready import Ready, make_ready

if TYPE_CHECKING:
    from napari.utils.colormaps import Colormap

    from napari_lumen.slides import Channel, Slide
    from napari_lumen.slides.color import Color
    from napari_lumen.slides.slide import Pixels

_PIXELS = ("pixel", "pixel")
SMALL = "small"  # in a slide's facts: its small levels as of `Ready`, in the scanner's colours
SLIDER = "slider"  # in a channel's facts: the values to choose from, which no reader can tell napari
_SHOWN_AT_ONCE = 6  # more colours than these on top of each other tell nothing


def slide_layers(slide: Slide, color: Color | None = None, ready: Ready | None = None) -> list[LayerData]:
    """Return the layers of a slide, bottom to top.

    Without a known pixel size the layers are in pixels: a length in µm would be invented.

    Parameters
    ----------
    slide : Slide
    color : callable, optional
        Changes the colours of a colour picture for display, as of `napari_lumen.slides.color.to_srgb`.
    ready : Ready, optional
        What `make_ready` has read of it; read here without it.
    """
    ready = make_ready(slide) if ready is None else ready
    return [_colour_layer(slide, color, ready)] if slide.is_rgb else _channel_layers(slide, ready)


def slide_layer(slide: Slide, color: Color | None = None) -> LayerData:
    """Return a colour picture as a multiscale RGB image."""
    return _colour_layer(slide, color, make_ready(slide))


def colour_levels(slide: Slide, small: Sequence[Pixels], color: Color | None) -> list[Any]:
    """Return the levels of a colour picture as napari shows them: the small ones from memory."""
    shown = small if color is None else [color(level) for level in small]
    return [*slide.dask_levels(color)[: -len(shown)], *shown]


def _colour_layer(slide: Slide, color: Color | None, ready: Ready) -> LayerData:
    return (
        colour_levels(slide, ready.small, color),
        {
            "name": slide.path.name,
            "rgb": True,
            "cache": False,  # decoded tiles are kept already, and what the network failed to bring must go
            "interpolation2d": "linear",  # between levels, so that nuclei do not flicker when zooming
            **_placement(slide),
            "metadata": {KEY: {**slide_facts(slide), SMALL: ready.small, "color": color}},
        },
        "image",
    )


def _channel_layers(slide: Slide, ready: Ready) -> list[LayerData]:
    """Return one image for each channel, added up; any of them may be removed, so each knows the slide."""
    facts = {**slide_facts(slide), SMALL: ready.small}
    layers: list[LayerData] = []
    for index, (channel, contrast) in enumerate(zip(slide.channels, ready.contrasts, strict=True)):
        planes = [level[..., index] for level in ready.small]
        layers.append(
            (
                [*slide.dask_levels(channel=index)[: -len(planes)], *planes],
                {
                    "name": f"{slide.path.name} · {channel.name}",
                    "rgb": False,
                    # channels share what dask keeps; but what the network failed to bring must go
                    "cache": isinstance(slide.location, Path),
                    "interpolation2d": "linear",
                    "blending": "additive",
                    "colormap": channel_colormap(channel),
                    "contrast_limits": contrast.limits,
                    "visible": index < _SHOWN_AT_ONCE,
                    **_placement(slide),
                    "metadata": {KEY: {**facts, "channel": channel.name, SLIDER: contrast.slider}},
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
