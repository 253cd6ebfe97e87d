"""What a figure consists of, and how that becomes PNG and SVG."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from napari_lumen.annotations.classes import Color

Picture = npt.NDArray[np.uint8]
Anchor = Literal["start", "middle", "end"]
_DPI = 300
_FAMILY = "Helvetica, Arial, sans-serif"
_FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc")
_OWN_FONT, _MICRO = "Aileron", "µ"
_BASELINE = 0.8  # of the size of text: how far its baseline lies below its top


@dataclass(frozen=True, eq=False)
class Bitmap:
    """A picture, uint8 (h, w, 3), its upper left corner at (x, y); one pixel a unit."""

    x: float
    y: float
    pixels: Picture


@dataclass(frozen=True)
class Box:
    """A rectangle, filled, framed, or both; colours are (r, g, b), 0 to 255."""

    x: float
    y: float
    width: float
    height: float
    fill: Color | None = None
    frame: Color | None = None
    line: float = 1.0


@dataclass(frozen=True)
class Text:
    """A line of text; (x, y) is the middle of its height, and its start, middle or end."""

    x: float
    y: float
    text: str
    size: int
    anchor: Anchor = "start"
    color: Color = (0, 0, 0)


Mark = Bitmap | Box | Text


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure.

    Attributes
    ----------
    width, height : int
        Units; one is a pixel of the PNG.
    title : str
        For those who cannot see it.
    marks : tuple of Mark
        The later ones on top.
    """

    width: int
    height: int
    title: str
    marks: tuple[Mark, ...]

    def png(self) -> bytes:
        """Return it as PNG, at 300 dpi."""
        out = io.BytesIO()
        Image.fromarray(self.pixels()).save(out, "PNG", dpi=(_DPI, _DPI))
        return out.getvalue()

    def pixels(self) -> Picture:
        """Return it as a picture, uint8 (height, width, 3)."""
        image = Image.new("RGB", (self.width, self.height), "white")
        pen = ImageDraw.Draw(image)
        for mark in self.marks:
            if isinstance(mark, Bitmap):
                image.paste(Image.fromarray(mark.pixels), (round(mark.x), round(mark.y)))
            elif isinstance(mark, Box):
                corners = (mark.x, mark.y, mark.x + mark.width - 1, mark.y + mark.height - 1)
                pen.rectangle(
                    tuple(map(round, corners)),
                    mark.fill,
                    mark.frame,
                    max(1, round(mark.line)) if mark.frame else 0,
                )
            else:
                wide = text_width(mark.text, mark.size)
                left = mark.x - {"start": 0.0, "middle": wide / 2, "end": wide}[mark.anchor]
                write(pen, left, mark.y, mark.text, mark.size, mark.color)
        return np.asarray(image)

    def svg(self) -> str:
        """Return it as SVG: pictures inside, text as text."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="{_FAMILY}">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{self.width}" height="{self.height}" fill="white"/>',
            *map(_svg, self.marks),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"


@cache
def text_font(size: int) -> Any:
    """Return the font of pictures: one of the system, which has letters of most languages, or Pillow's."""
    for name in _FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def text_width(text: str, size: int) -> float:
    """Return how wide a line of text is, units."""
    return float(text_font(size).getlength(_plain(text, size)))


def write(
    pen: ImageDraw.ImageDraw, x: float, y: float, text: str, size: int, color: Color = (0, 0, 0)
) -> None:
    """Write a line of text; (x, y) is its start, in the middle of its height."""
    font, plain = text_font(size), _plain(text, size)
    pen.text((x, y), plain, color, font, "lm")
    if plain == text:
        return
    top = y - sum(font.getmetrics()) / 2
    for place in (index for index, letter in enumerate(text) if letter == _MICRO):
        left, _, _, bottom = font.getbbox("u")  # its left stem goes on below the line
        start = x + font.getlength(plain[:place]) + left
        stem = max(1, round(size / 12))
        pen.rectangle((start, top + bottom - size / 3, start + stem - 1, top + bottom + size / 5), color)


def _plain(text: str, size: int) -> str:
    """Return text with a plain u for the micro sign, which Pillow's own font lacks."""
    return text.replace(_MICRO, "u") if text_font(size).getname()[0] == _OWN_FONT else text


def _svg(mark: Mark) -> str:
    if isinstance(mark, Bitmap):
        height, width = mark.pixels.shape[:2]
        out = io.BytesIO()
        Image.fromarray(mark.pixels).save(out, "PNG")
        data = base64.b64encode(out.getvalue()).decode()
        return (
            f'<image x="{mark.x:g}" y="{mark.y:g}" width="{width}" height="{height}" '
            f'href="data:image/png;base64,{data}"/>'
        )
    if isinstance(mark, Box):
        inset = mark.line / 2 if mark.frame else 0.0  # a frame lies inside, as in the PNG
        return (
            f'<rect x="{mark.x + inset:g}" y="{mark.y + inset:g}" '
            f'width="{max(0.0, mark.width - 2 * inset):g}" height="{max(0.0, mark.height - 2 * inset):g}" '
            f'fill="{_ink(mark.fill)}" stroke="{_ink(mark.frame)}" stroke-width="{mark.line:g}"/>'
        )
    baseline = mark.y + (_BASELINE - 0.5) * mark.size
    return (
        f'<text x="{mark.x:g}" y="{baseline:g}" font-size="{mark.size}" text-anchor="{mark.anchor}" '
        f'fill="{_ink(mark.color)}">{escape(mark.text)}</text>'
    )


def _ink(color: Color | None) -> str:
    return "none" if color is None else "#{:02x}{:02x}{:02x}".format(*color)
