"""The map of a figure: its colours over the tissue, and what a reader needs to read them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import Color
from napari_lumen.annotations.decision import DECISION, NO_LABEL, NORMAL, TUMOUR, TUMOUR_FROM
from napari_lumen.explain.colours import ATTENTION, Colormap
from napari_lumen.explain.distribution import Distribution
from napari_lumen.explain.drawing import Bitmap, Box, Mark, Text
from napari_lumen.explain.overlay import Interpolation, coloured, laid_over, on_picture
from napari_lumen.explain.scaling import Scaling
from napari_lumen.geometry import Grid, Region

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
SIZE = 15  # of text
_BAR = 18  # px: its width
_TICKS = 5
_GREY: Color = (120, 120, 120)
_HATCH, _HATCH_LINE = 10, 2  # px from one line to the next, and across a line


@dataclass(frozen=True, eq=False)
class Shown:
    """The map of a figure.

    Attributes
    ----------
    title : str
        Beside the colour bar.
    values : ndarray (h, w)
        NaN where there is nothing.
    grid : Grid
        Where its cells lie, level-0 px.
    spread : Distribution
        Of the values by which it is coloured.
    value_range : (float, float) or None
        That the network guarantees.
    note : str
        What the reader should know, e.g. that values of two tiles cannot be compared.
    within : Region or None
        Where the map ends, level-0 px; see `RunMap.within`.
    states : bool
        Whether it is a tumour probability in the colours of tumour, normal and no label.
    """

    title: str
    values: npt.NDArray[np.floating[Any]]
    grid: Grid
    spread: Distribution
    value_range: tuple[float, float] | None = None
    note: str = ""
    within: Region | None = None
    states: bool = False


@dataclass(frozen=True)
class Style:
    """How a figure looks.

    Attributes
    ----------
    width : int
        Of the longer side of the picture, px.
    colormap : Colormap
    scaling : Scaling
    opacity : float
        Of the map, in [0, 1]; the tissue stays legible, as in the window.
    interpolation : {"nearest", "linear"}
    """

    width: int = 1200
    colormap: Colormap = ATTENTION
    scaling: Scaling = field(default_factory=Scaling)
    opacity: float = 0.6
    interpolation: Interpolation = "nearest"


@dataclass(frozen=True)
class Line:
    """A line of the legend, after a swatch: framed, filled, hatched, or without one."""

    text: str
    frame: Color | None = None
    fill: Color | None = None
    hatched: bool = False


@dataclass(frozen=True, eq=False)
class Painted:
    """A map over its tissue, the colour bar at a picture's right where it has one, and its legend."""

    picture: Picture
    bar: tuple[Mark, ...]
    legend: tuple[Line, ...]


def painted(
    tissue: Picture, shown: Shown, style: Style, region: Region, slide: Region, *, framed: bool, at: Region
) -> Painted:
    """Paint a map over its tissue.

    Parameters
    ----------
    tissue : ndarray
        uint8 (h, w, 3).
    shown : Shown
    style : Style
    region, slide : Region
        What the picture shows, and the whole slide, level-0 px.
    framed : bool
        Whether frames show where the map ends.
    at : Region
        The picture's place in the figure; the bar is put beside it.
    """
    shape = tissue.shape[:2]

    def on(values: npt.NDArray[np.floating[Any]], interpolation: Interpolation = "nearest") -> Any:
        return on_picture(values, shown.grid, region, shape, interpolation, shown.within)

    covered = np.isfinite(on(np.zeros(shown.values.shape, np.float32)))
    glass = np.zeros((1, 1), np.float32)
    one = Grid((1, 1), (slide.height, slide.width), (slide.y, slide.x))
    inside = np.isfinite(on_picture(glass, one, region, shape))
    note = (Line(shown.note),) if shown.note else ()
    if shown.states:
        colours = _decided(on(shown.values), covered & inside, style.opacity)
        return Painted(laid_over(tissue, colours), (), (Line(f"{shown.title}."), *_states(style), *note))
    values = on(shown.values, style.interpolation)
    low, high, said = style.scaling.limits(shown.spread, shown.value_range)
    picture = laid_over(tissue, coloured(values, (low, high), style.colormap, style.opacity))
    legend = [Line(f"{shown.title}: colours from {said}.")]
    nothing = inside & ~np.isfinite(values) & (covered | (not framed))
    if nothing.any():
        # where low values are clear, too, lines tell them from what has none
        hatched = any(alpha < 1 for *_, alpha in style.colormap.colors)
        if hatched:
            picture[nothing & _lines(shape)] = _GREY
        said = "Hatched" if hatched else "Clear"
        legend.append(Line(f"{said}: the model computed nothing there.", hatched=hatched))
    return Painted(picture, tuple(_colour_bar(at, (low, high), style)), (*legend, *note))


def hatching(side: int) -> Picture:
    """Return a swatch of what has no value, uint8 (side, side, 3)."""
    return np.where(_lines((side, side))[..., None], np.array(_GREY, np.uint8), np.uint8(255)).astype(
        np.uint8
    )


def _lines(shape: tuple[int, ...]) -> Mask:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    lines: Mask = (rows + columns) % _HATCH < _HATCH_LINE
    return lines


def _decided(values: npt.NDArray[np.floating[Any]], covered: Mask, opacity: float) -> Picture:
    """Return the colours of a decision, uint8 (h, w, 4); clear where the map does not reach."""
    colours = np.zeros((*values.shape, 4), np.uint8)
    known = np.isfinite(values)
    for state, where in (
        (NO_LABEL, covered & ~known),
        (NORMAL, known & (values < TUMOUR_FROM)),
        (TUMOUR, known & (values >= TUMOUR_FROM)),
    ):
        colours[where] = (*state.color, round(255 * opacity))
    return colours


def _states(style: Style) -> list[Line]:
    """Return what the colours of a decision stand for, each as it looks on white."""
    white = np.full((1, 1, 3), 255, np.uint8)
    lines = []
    for state in DECISION:
        colour = np.array([[(*state.color, round(255 * style.opacity))]], np.uint8)
        red, green, blue = laid_over(white, colour)[0, 0].tolist()
        name = state.name[:1].upper() + state.name[1:]
        lines.append(Line(f"{name}: {state.said}.", fill=(red, green, blue)))
    return lines


def _colour_bar(at: Region, limits: tuple[float, float], style: Style) -> list[Mark]:
    """Draw the colours as they look on white, with their values."""
    x, top, height = at.right, at.y, round(at.height)
    share = np.linspace(1, 0, height)[:, None].repeat(_BAR, axis=1)
    white = np.full((height, _BAR, 3), 255, np.uint8)
    bar = laid_over(white, coloured(share, (0.0, 1.0), style.colormap, style.opacity))
    marks: list[Mark] = [Bitmap(x, top, bar), Box(x, top, _BAR, height, frame=_GREY)]
    for number in range(_TICKS):
        part = number / (_TICKS - 1)
        y = top + (1 - part) * (height - 1)
        marks.append(Box(x + _BAR, y, 5, 1, fill=_GREY))
        value = limits[0] + part * (limits[1] - limits[0])
        marks.append(Text(x + _BAR + 9, y, _number(value, limits), SIZE))
    return marks


def _number(value: float, limits: tuple[float, float]) -> str:
    """Return a value with the digits that tell the ticks apart."""
    apart = (limits[1] - limits[0]) / (_TICKS - 1)
    digits = max(3, math.ceil(math.log10(max(abs(limits[0]), abs(limits[1]), apart) / apart)) + 2)
    return f"{0.0 if abs(value) < apart * 1e-6 else value:.{min(digits, 9)}g}"
