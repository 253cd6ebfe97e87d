"""A picture for a publication: tissue, a map over it, its colours in numbers, a scale bar and a legend."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import Color
from napari_lumen.errors import RunError
from napari_lumen.explain.drawing import Bitmap, Box, Drawing, Mark, Text, text_width
from napari_lumen.explain.figure_map import SIZE as _SIZE
from napari_lumen.explain.figure_map import Line, Shown, Style, hatching, painted
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.slides import Slide

__all__ = ["SUFFIXES", "Frame", "Shown", "Style", "figure", "micrometres", "scale_bar_length", "write_figure"]

Picture = npt.NDArray[np.uint8]
SUFFIXES = (".png", ".svg")
_MARGIN, _GAP = 16, 10
_LEAST, _MOST = 64, 8_192  # px a side of the picture
_BAR_SHARE = 0.25  # of the width, at most, that the scale bar takes
_BAR_LINE = 5
_NICE = (5, 2, 1)
_SWATCH = 14


@dataclass(frozen=True)
class Frame:
    """A rectangle that a figure shows, level-0 px; frames of one name are one line of the legend."""

    region: Region
    name: str
    color: Color


def figure(
    slide: Slide,
    region: Region,
    shown: Shown | None = None,
    *,
    frames: Sequence[Frame] = (),
    source: str = "",
    style: Style | None = None,
) -> Drawing:
    """Draw a figure of a region of a slide.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    region : Region
        Level-0 px; what lies outside the slide is white.
    shown : Shown, optional
        The map; the tissue alone without it.
    frames : sequence of Frame
    source : str
        Below the legend: model and run, say.
    style : Style, optional

    Raises
    ------
    SlideError
        When the slide cannot be read there, or its pixel size is unknown.
    RunError
        When the region covers nothing of the slide, or the picture is too small or large.
    """
    style = style or Style()
    mpp = slide.require_mpp()
    if region.intersect(Region(0, 0, *slide.shape)).empty:
        raise RunError(
            f"The region lies outside {slide.path.name} ({slide.shape[1]} x {slide.shape[0]} px, width x "
            "height). Choose one on the slide."
        )
    shape = _shape(region, mpp, style.width)
    grid = Grid(shape, (region.height / shape[0], region.width / shape[1]), (region.y, region.x))
    tissue: Picture = slide.read_grid(grid, Window(0, 0, *shape))
    if not slide.is_rgb:
        raise RunError(f"{slide.path.name} is no colour picture: figures show stained tissue.")
    bar: tuple[Mark, ...] = ()
    legend: list[Line] = []
    if shown is not None:
        whole, place = Region(0, 0, *slide.shape), Region(_MARGIN, _MARGIN, shape[0], shape[1] + _GAP)
        found = painted(tissue, shown, style, region, whole, framed=bool(frames), at=place)
        tissue, bar, legend = found.picture, found.bar, list(found.legend)
    colors = dict.fromkeys((frame.name, frame.color) for frame in frames)
    legend += [Line(name, frame=color) for name, color in colors]
    if source:
        legend.append(Line(source))
    marks: list[Mark] = [Bitmap(_MARGIN, _MARGIN, tissue), *_framed(frames, region, shape)]
    marks += [*_scale_bar(region, mpp, shape), *bar]
    return _composed(marks, legend, shape, "" if shown is None else shown.title)


def write_figure(drawing: Drawing, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG or SVG, by the suffix, and return its path.

    Raises
    ------
    RunError
        When the suffix is neither, or it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise RunError(f"{path} is neither PNG nor SVG: let its name end in {' or '.join(SUFFIXES)}.")
    try:
        if path.suffix.lower() == ".svg":
            path.write_text(drawing.svg(), encoding="utf-8")
        else:
            path.write_bytes(drawing.png())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def scale_bar_length(width_um: float) -> float:
    """Return the longest of 1, 2 and 5 times a power of ten that takes a quarter of a width, µm."""
    most = width_um * _BAR_SHARE
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * nice for nice in _NICE if power * nice <= most * (1 + 1e-9))


def micrometres(length: float) -> str:
    """Return a length in words: ``50 µm``, ``2 mm``."""
    return f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"


def _shape(region: Region, mpp: Pair, longest: int) -> tuple[int, int]:
    """Return the height and width of the picture, whose pixels are square in µm."""
    if not _LEAST <= longest <= _MOST:
        raise RunError(f"A figure is {_LEAST} to {_MOST:,} px wide, not {longest:,}.")
    if region.empty:
        raise RunError("The region of the figure covers nothing: give it a height and a width.")
    height, width = region.height * mpp[0], region.width * mpp[1]
    scale = longest / max(height, width)
    return max(_LEAST, round(height * scale)), max(_LEAST, round(width * scale))


def _scale_bar(region: Region, mpp: Pair, shape: tuple[int, int]) -> list[Mark]:
    length = scale_bar_length(region.width * mpp[1])
    long = length / (region.width * mpp[1]) * shape[1]
    said = micrometres(length)
    wide = max(long, text_width(said, _SIZE)) + 16
    x, y = _MARGIN + 8, _MARGIN + shape[0] - 8 - 36
    return [
        Box(x, y, wide, 36, fill=(255, 255, 255)),
        Text(x + wide / 2, y + 12, said, _SIZE, "middle"),
        Box(x + (wide - long) / 2, y + 25, long, _BAR_LINE, fill=(0, 0, 0)),
    ]


def _framed(frames: Sequence[Frame], region: Region, shape: tuple[int, int]) -> list[Mark]:
    marks: list[Mark] = []
    for frame in frames:
        part = frame.region.intersect(region)
        if not part.empty:
            y, x = shape[0] / region.height, shape[1] / region.width
            top, left = (part.y - region.y) * y, (part.x - region.x) * x
            size = (part.width * x, part.height * y)
            marks.append(Box(_MARGIN + left, _MARGIN + top, *size, frame=frame.color, line=3))
    return marks


def _composed(marks: list[Mark], legend: list[Line], shape: tuple[int, int], title: str) -> Drawing:
    """Put the legend below and find how large all of it is."""
    y = _MARGIN + shape[0] + _GAP + _SIZE
    right = float(_MARGIN + shape[1])
    for line in legend:
        x: float = _MARGIN
        if line.hatched:
            marks.append(Bitmap(x, y - _SWATCH / 2, hatching(_SWATCH)))
        elif line.frame is not None or line.fill is not None:
            marks.append(Box(x, y - _SWATCH / 2, _SWATCH, _SWATCH, line.fill, line.frame, line=3))
        if line != Line(line.text):
            x += _SWATCH + 8
        for part in _wrapped(line.text, max(_MARGIN + shape[1] - x, 300)):
            marks.append(Text(x, y, part, _SIZE))
            y += _SIZE + 7
    for mark in marks:
        if isinstance(mark, Text) and mark.anchor == "start":
            right = max(right, mark.x + text_width(mark.text, mark.size))
    return Drawing(math.ceil(right) + _MARGIN, math.ceil(y) + 4, title or "Tissue", tuple(marks))


def _wrapped(line: str, width: float) -> list[str]:
    """Break a line at spaces so that each part fits a width."""
    parts = [""]
    for word in line.split():
        longer = f"{parts[-1]} {word}".strip()
        if parts[-1] and text_width(longer, _SIZE) > width:
            parts.append(word)
        else:
            parts[-1] = longer
    return parts
