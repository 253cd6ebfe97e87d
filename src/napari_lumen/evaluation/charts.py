"""Curves as inline SVG, so that a report is one file that needs no script."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from napari_lumen.annotations.classes import Color
from napari_lumen.evaluation.curves import Curve
from napari_lumen.evaluation.defined import Floats

_SIDE, _LEFT, _TOP, _BOTTOM = 280, 48, 26, 40
_DASHES = ("", "7 3", "2 3", "9 3 2 3")  # curves are told apart without colour too


def chart(
    title: str, x_label: str, y_label: str, curves: Mapping[str, Curve], colors: Mapping[str, Color]
) -> str:
    """Return a chart of curves in the unit square.

    Parameters
    ----------
    title, x_label, y_label : str
    curves : mapping of str to Curve
        By class; one without points is listed as not defined.
    colors : mapping of str to (int, int, int)
        By class.
    """
    width, height = _LEFT + _SIDE + 12, _TOP + _SIDE + _BOTTOM + 18 * len(curves)
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text class="heading" x="{_LEFT}" y="16">{escape(title)}</text>',
        *_axes(x_label, y_label, 1.0),
    ]
    for number, (name, curve) in enumerate(curves.items()):
        style = (
            f'fill="none" stroke="{_ink(colors[name])}" stroke-width="2" '
            f'stroke-dasharray="{_DASHES[number % len(_DASHES)]}"'
        )
        line = _TOP + _SIDE + _BOTTOM + 18 * number + 8
        area = "not defined" if np.isnan(curve.area) else f"{curve.area:.3f}"
        if len(curve.x):
            parts.append(f'<polyline points="{_points(curve.x, curve.y)}" {style}/>')
        parts.append(f'<path d="M{_LEFT} {line}h30" {style}/>')
        parts.append(f'<text x="{_LEFT + 38}" y="{line + 4}">{escape(name)}: area {area}</text>')
    return "".join([*parts, "</svg>"])


def froc_chart(false_positives: Floats, sensitivity: Floats, most: float) -> str:
    """Return the chart of a FROC curve up to so many false positives a slide."""
    width, height = _LEFT + _SIDE + 12, _TOP + _SIDE + _BOTTOM
    shown = false_positives <= most
    # it is a step: the sensitivity of a point is had until the next
    x = np.append(false_positives[shown], most) / most
    y = np.append(sensitivity[shown], sensitivity[shown][-1])
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>FROC</title>",
        f'<text class="heading" x="{_LEFT}" y="16">FROC</text>',
        *_axes("false positives a slide", "sensitivity", most),
    ]
    if not np.isnan(y).any():
        line = 'fill="none" stroke="rgb(33,102,172)" stroke-width="2"'
        parts.append(f'<polyline points="{_points(np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1])}" {line}/>')
    return "".join([*parts, "</svg>"])


def _axes(x_label: str, y_label: str, x_most: float) -> list[str]:
    bottom, middle = _TOP + _SIDE, _LEFT + _SIDE / 2
    parts = [f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _LEFT + tick * _SIDE, bottom - tick * _SIDE
        parts.append(f'<path class="grid" d="M{x:g} {bottom}V{_TOP}M{_LEFT} {y:g}H{_LEFT + _SIDE}"/>')
        parts.append(f'<text text-anchor="middle" x="{x:g}" y="{bottom + 14}">{tick * x_most:g}</text>')
        parts.append(f'<text text-anchor="end" x="{_LEFT - 4}" y="{y + 4:g}">{tick:g}</text>')
    parts.append(f'<text text-anchor="middle" x="{middle:g}" y="{bottom + 29}">{escape(x_label)}</text>')
    place = f"translate(12 {_TOP + _SIDE / 2:g}) rotate(-90)"
    parts.append(f'<text text-anchor="middle" transform="{place}">{escape(y_label)}</text>')
    return parts


def _points(x: Floats, y: Floats) -> str:
    at_x, at_y = _LEFT + x * _SIDE, _TOP + (1 - y) * _SIDE
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(at_x, at_y, strict=True))


def _ink(color: Color) -> str:
    """Return a class's colour, darkened where it would vanish on white."""
    brightest = max(1.0, (0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]) / 150)
    return "rgb({:.0f},{:.0f},{:.0f})".format(*(channel / brightest for channel in color))
