"""Glands: curved, sometimes branched tubes cut across, on a jittered lattice; distances to their outlines.

A gland is a chain of capsules; where two would touch, both give way, so that stroma stays between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_lumen.slides.synthetic.cache import Recent
from napari_lumen.slides.synthetic.layout import FAR, Kind, Layout
from napari_lumen.slides.synthetic.noise import Floats, SmoothNoise, derive, draw

PITCH = 150.0  # µm between the lattice sites of glands
REACH = 175.0  # µm: no part of a gland lies farther from its centre
_AROUND = 150.0  # µm: the tissue farther from a gland takes no notice of it
_GAP = 9.0  # µm of stroma kept between two glands


@dataclass(frozen=True, slots=True)
class Gland:
    """One gland.

    Attributes
    ----------
    row, column : int
        Its lattice site.
    y, x : float
        Centre, µm.
    capsules : tuple of (y0, x0, y1, x1, radius)
        Its body, µm.
    wall : float
        Height of its epithelium, µm.
    mucin : float
        Share of its cells that are goblet cells, 0 to 1.
    shade : float
        Depth of its cytoplasm's stain, about 0.8 to 1.2.
    reach : float
        Farthest distance of its outline from its centre, µm.
    """

    row: int
    column: int
    y: float
    x: float
    capsules: tuple[tuple[float, float, float, float, float], ...]
    wall: float
    mucin: float
    shade: float
    reach: float


class Glands:
    """The glands of a slide."""

    def __init__(self, layout: Layout, seed: int) -> None:
        self._layout, self._seed = layout, seed
        self._direction = SmoothNoise(derive(seed, 1), 900.0)
        self._density = SmoothNoise(derive(seed, 2), 420.0)
        self._warp = tuple(
            (SmoothNoise(derive(seed, 3, axis, step), spacing), amplitude)
            for step, (spacing, amplitude) in enumerate(((46.0, 6.5), (15.0, 1.4)))
            for axis in (0, 1)
        )
        self._glands: Recent[tuple[int, int], Gland | None] = Recent(8192)

    def near(self, top: float, left: float, bottom: float, right: float) -> list[Gland]:
        """Return the glands in or around a rectangle that its tissue takes notice of, in a fixed order."""
        far = REACH + _AROUND
        rows = range(math.floor((top - far) / PITCH) - 1, math.floor((bottom + far) / PITCH) + 2)
        columns = range(math.floor((left - far) / PITCH) - 1, math.floor((right + far) / PITCH) + 2)
        found = []
        for row in rows:
            for column in columns:
                key = row, column
                gland = self._glands.get(key, lambda key=key: self._gland(*key))  # type: ignore[misc]
                if gland is None:
                    continue
                far = gland.reach + _AROUND
                if top - far < gland.y < bottom + far and left - far < gland.x < right + far:
                    found.append(gland)
        return found

    def distances(self, glands: list[Gland], y: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return the signed distance to the nearest outline, and the index of that gland (-1: none).

        Parameters
        ----------
        glands : list of Gland
            All glands that may reach the points, as `near` gives them.
        y, x : ndarray
            Axes (h, 1) and (1, w), or points, in µm.
        """
        shape = np.broadcast_shapes(y.shape, x.shape)
        first, second, index = np.full(shape, FAR), np.full(shape, FAR), np.full(shape, -1.0)
        if not glands:
            return first, index
        warped_y, warped_x = np.broadcast_to(y, shape), np.broadcast_to(x, shape)
        for (noise, amplitude), axis in zip(self._warp, (0, 1, 0, 1), strict=True):
            if axis == 0:
                warped_y = warped_y + amplitude * noise(y, x)
            else:
                warped_x = warped_x + amplitude * noise(y, x)
        for number, gland in enumerate(glands):
            far = gland.reach + _AROUND
            if y.shape[1:] == (1,) and x.shape[:1] == (1,):
                rows = slice(*np.searchsorted(y[:, 0], (gland.y - far, gland.y + far)))
                part = rows, slice(*np.searchsorted(x[0], (gland.x - far, gland.x + far)))
            else:
                part = slice(None), slice(None)
            distance = _capsules(gland, warped_y[part], warped_x[part])
            nearer = distance < first[part]
            np.minimum(second[part], np.where(nearer, first[part], distance), out=second[part])
            np.copyto(first[part], distance, where=nearer)
            index[part][nearer] = number
        return np.maximum(first, (first - second) / 2 + _GAP / 2), index

    def _gland(self, row: int, column: int) -> Gland | None:
        turn = [draw(self._seed, 4, row, column, k) for k in range(16)]
        y = (row + 0.5 * (column % 2) + 0.25 + 0.5 * turn[0]) * PITCH
        x = (column + 0.2 + 0.6 * turn[1]) * PITCH
        at_y, at_x = np.array([y]), np.array([x])
        if turn[2] > 1.1 + 0.42 * float(self._density(at_y, at_x)[0]):
            return None
        radius = 38 + 18 * turn[3] ** 1.5
        half = 70 * turn[4] ** 1.7
        if self._layout.tissue(at_y, at_x)[0] > -(radius + 0.7 * half + 25):
            return None
        for feature in self._layout.features(y, x, y, x):
            # The same for both kinds of tumour: glands near by must not tell one from the other inside it.
            margin = 72.0 if feature.kind in (Kind.INVASIVE, Kind.IN_SITU) else 25.0
            if self._layout.distance(feature, at_y, at_x)[0] < radius + 0.85 * half + margin:
                return None
        angle = float(self._direction(at_y, at_x)[0]) * 1.3 + (turn[5] - 0.5) * 1.4
        bend = (turn[6] - 0.5) * 1.3
        cos, sin = math.cos(angle), math.sin(angle)
        points = [
            (y - half * math.sin(angle - bend), x - half * math.cos(angle - bend)),
            (y, x),
            (y + half * math.sin(angle + bend), x + half * math.cos(angle + bend)),
        ]
        widths = [radius * (0.85 + 0.3 * turn[7]), radius * (0.85 + 0.3 * turn[8])]
        capsules = [
            (*points[0], *points[1], widths[0]),
            (*points[1], *points[2], widths[1]),
        ]
        if half > 22 and turn[9] < 0.45:
            side = 1 if turn[10] < 0.5 else -1
            length = radius * (1.0 + 0.5 * turn[11])
            capsules.append((y, x, y + side * cos * length, x - side * sin * length, radius * 0.72))
        reach = max(
            math.hypot(py - y, px - x) + width for *ends, width in capsules for py, px in (ends[:2], ends[2:])
        )
        wall, mucin, shade = 19 + 8 * turn[12], turn[13] ** 1.6 * 0.75, 0.85 + 0.3 * turn[14]
        return Gland(row, column, y, x, tuple(capsules), wall, mucin, shade, reach + 20)


def _capsules(gland: Gland, y: Floats, x: Floats) -> Floats:
    total = np.full(y.shape, FAR)
    for y0, x0, y1, x1, radius in gland.capsules:
        dy, dx = y1 - y0, x1 - x0
        along = np.clip(((y - y0) * dy + (x - x0) * dx) / max(dy * dy + dx * dx, 1e-9), 0, 1)
        distance = np.hypot(y - y0 - along * dy, x - x0 - along * dx) - radius
        # A smooth minimum rounds the corner between a gland and its branch.
        blend = np.clip(14.0 - np.abs(total - distance), 0, None)
        total = np.minimum(total, distance) - blend * blend / 56.0
    return total
