"""Where things are: tissue islands on the glass, and the fields (tumour, follicle, fat) inside them.

All of it is derived from coarse lattices by hashing (seed, cell), so a slide of any size costs nothing to lay
out; a slide too small for six cells of the lattice of fields is shared out among one field of every kind.
Lengths are in µm; signed distances are negative inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from napari_lumen.slides.synthetic.cache import Recent
from napari_lumen.slides.synthetic.noise import Floats, SmoothNoise, derive, draw

FAR = 1e4  # a distance that stands for "nowhere near"

# In situ and invasive tumour are shaped differently only where the border is nearer than this, in µm.
BORDER_ZONE = 60.0
# Cells reach over that line a little: deeper than this (µm) the two do not differ (but for the rounding of a
# grey level at a pixel in a hundred thousand).
BORDER_DEPTH = 90.0
# Half the diagonal of a 128 µm patch is 91 µm: centred deeper than this (µm), it sees only the common look.
CONTEXT_DEPTH = 181.0


class Kind(IntEnum):
    """What a field of tissue is."""

    GLANDS = 0
    IN_SITU = 1
    INVASIVE = 2
    LYMPHOID = 3
    ADIPOSE = 4


_SIX = (Kind.IN_SITU, Kind.INVASIVE, Kind.GLANDS, Kind.LYMPHOID, Kind.ADIPOSE, Kind.GLANDS)
_TUMOURS, _OTHERS = (Kind.IN_SITU, Kind.INVASIVE), (Kind.LYMPHOID, Kind.ADIPOSE)
_RADIUS = {Kind.IN_SITU: 300.0, Kind.INVASIVE: 300.0, Kind.LYMPHOID: 150.0, Kind.ADIPOSE: 270.0}


# A cell narrower than this, in µm, is too small for a field that shows what it is.
_LEAST_CELL = 128.0


@dataclass(frozen=True, slots=True)
class Cell:
    """A rectangle of the slide that holds one field: its middle and its sides."""

    kind: Kind
    y: float
    x: float
    height: float
    width: float


@dataclass(frozen=True, slots=True)
class Feature:
    """One field of tissue other than ordinary glands in stroma: a blob given in polar form."""

    kind: Kind
    y: float
    x: float
    radius: float
    angle: float
    aspect: float
    phases: tuple[float, float]


class Layout:
    """Islands and fields of a slide of `height` x `width` µm."""

    def __init__(self, height: float, width: float, seed: int, swap_context: bool = False) -> None:
        self.height, self.width, self._seed, self._swap = height, width, seed, swap_context
        self._islands = max(1, round(height / 9000)), max(1, round(width / 9000))
        self._cells = max(1, round(height / 740)), max(1, round(width / 740))
        # Fields keep off the slide's own edges.
        self._inset = min(75.0, height * 0.1), min(75.0, width * 0.1)
        self._pitch = (
            (height - 2 * self._inset[0]) / self._cells[0],
            (width - 2 * self._inset[1]) / self._cells[1],
        )
        # Six kinds shuffled in blocks of `_block` cells, or all cells of a small slide.
        self._block = 2, 3
        self._plan: tuple[Cell, ...] = ()
        rows, columns = self._cells
        if rows < 2 or columns < 3:
            if rows * columns < 6:
                self._plan = self._planned()
            elif not self._complete():
                self._block = (1, 6) if rows == 1 else (6, 1) if columns == 1 else (3, 2)
        side = min(height / self._islands[0], width / self._islands[1])
        self._edge = (
            (SmoothNoise(derive(seed, 1), side * 0.22), side * 0.035),
            (SmoothNoise(derive(seed, 2), min(150.0, side * 0.1)), min(22.0, side * 0.02)),
            (SmoothNoise(derive(seed, 3), 38.0), 5.0),
            (SmoothNoise(derive(seed, 4), 13.0), 1.8),
        )
        self._warp = tuple(
            (SmoothNoise(derive(seed, 5, axis, step), spacing), amplitude)
            for step, (spacing, amplitude) in enumerate(((130.0, 14.0), (42.0, 4.0)))
            for axis in (0, 1)
        )
        self._features: Recent[tuple[int, int], Feature | None] = Recent(4096)

    def tissue(self, y: Floats, x: Floats) -> Floats:
        """Return the signed distance to the tissue's edge (negative in tissue), roughly in µm."""
        best = self.island(y, x)
        box = float(y.min()), float(x.min()), float(y.max()), float(x.max())
        features = self.features(*box)
        warp = self.warp(y, x) if features else None
        for feature in features:
            best = self.joined(best, self.distance(feature, y, x, warp), feature.kind)
        return best

    @staticmethod
    def joined(tissue: Floats, distance: Floats, kind: Kind) -> Floats:
        """Return the distance to the tissue's edge once the tissue has been widened to hold a field."""
        distance = distance + (-13.0 if kind == Kind.ADIPOSE else -38.0)
        blend = np.clip(80.0 - np.abs(tissue - distance), 0, None)
        return np.asarray(np.minimum(tissue, distance) - blend * blend / 320.0)

    def island(self, y: Floats, x: Floats) -> Floats:
        """Return the signed distance to the edge of the islands alone, before `joined`, roughly in µm."""
        rows, columns = self._islands
        pitch_y, pitch_x = self.height / rows, self.width / columns
        wobble = sum((amplitude * noise(y, x) for noise, amplitude in self._edge), np.float64(0))
        best = np.full(np.broadcast_shapes(y.shape, x.shape), FAR)
        for row in _range(y, pitch_y, rows):
            for column in _range(x, pitch_x, columns):
                if rows * columns > 1 and draw(self._seed, 10, row, column) < 0.08:
                    continue
                turn = [draw(self._seed, 11, row, column, k) for k in range(5)]
                half_y, half_x = pitch_y * (0.405 + 0.045 * turn[0]), pitch_x * (0.415 + 0.045 * turn[1])
                power = 2.5 + 1.5 * turn[4]
                dy = np.abs(y - pitch_y * (row + 0.5 + 0.03 * (turn[2] - 0.5))) / half_y
                dx = np.abs(x - pitch_x * (column + 0.5 + 0.03 * (turn[3] - 0.5))) / half_x
                distance = ((dy**power + dx**power) ** (1 / power) - 1) * min(half_y, half_x)
                np.minimum(best, distance, out=best)
        return np.asarray(best + wobble)

    def features(self, top: float, left: float, bottom: float, right: float) -> list[Feature]:
        """Return the fields whose surroundings may reach into a rectangle, in a fixed order."""
        found = []
        planned = range(len(self._plan))
        for row in range(1) if planned else self._around(top, bottom, axis=0):
            for column in planned or self._around(left, right, axis=1):
                key = row, column
                feature = self._features.get(key, lambda key=key: self._feature(*key))  # type: ignore[misc]
                if feature is None:
                    continue
                reach = feature.radius * 1.6 + 250
                if top - reach < feature.y < bottom + reach and left - reach < feature.x < right + reach:
                    found.append(feature)
        return found

    def _around(self, low: float, high: float, axis: int) -> range:
        """Rows or columns of the lattice of fields that lie in an interval, and one more on either side."""
        first = math.floor((low - self._inset[axis]) / self._pitch[axis]) - 1
        last = math.floor((high - self._inset[axis]) / self._pitch[axis]) + 1
        return range(max(0, first), min(self._cells[axis] - 1, last) + 1)

    def warp(self, y: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return by how much positions are shifted, (y, x), so that the fields' borders wander."""
        shift = [np.zeros(np.broadcast_shapes(y.shape, x.shape)) for _ in range(2)]
        for (noise, amplitude), axis in zip(self._warp, (0, 1, 0, 1), strict=True):
            shift[axis] += amplitude * noise(y, x)
        return shift[0], shift[1]

    def distance(
        self, feature: Feature, y: Floats, x: Floats, warp: tuple[Floats, Floats] | None = None
    ) -> Floats:
        """Return the signed distance to a field's border, roughly in µm; `warp` is ``self.warp(y, x)``."""
        shift_y, shift_x = self.warp(y, x) if warp is None else warp
        dy, dx = y - feature.y + shift_y, x - feature.x + shift_x
        cos, sin = math.cos(feature.angle), math.sin(feature.angle)
        along, across = (dx * cos + dy * sin) / feature.aspect, (dy * cos - dx * sin) * feature.aspect
        theta = np.arctan2(across, along)
        bumps = 0.05 * np.cos(2 * theta + feature.phases[0]) + 0.045 * np.cos(3 * theta + feature.phases[1])
        radius = np.hypot(along, across)
        # The bumps fade towards the middle, where a polar outline turns about a point.
        bumps *= np.minimum(radius / (0.7 * feature.radius), 1) ** 2
        return np.asarray(radius - feature.radius * (1 + bumps))

    def _feature(self, row: int, column: int) -> Feature | None:
        cell = self._plan[column] if self._plan else self._cell(row, column)
        kind = cell.kind
        if kind == Kind.GLANDS:
            return None
        turn = [draw(self._seed, 20, row, column, k) for k in range(7)]
        least = min(cell.height, cell.width)
        if self._plan:  # there is no room to spare
            radius = min(_RADIUS[kind], 0.43 * least) * (0.98 + 0.04 * turn[0])
        else:
            radius = min(_RADIUS[kind], 0.425 * least) * (0.93 + 0.1 * turn[0])
        slack_y, slack_x = (max(0.0, 0.5 * pitch - radius * 1.12) for pitch in (cell.height, cell.width))
        if self._swap and kind in _TUMOURS:
            kind = Kind.INVASIVE if kind == Kind.IN_SITU else Kind.IN_SITU
        y = cell.y + slack_y * (turn[1] * 2 - 1)
        x = cell.x + slack_x * (turn[2] * 2 - 1)
        lone = self._islands == (1, 1)
        if not lone and self.island(np.array([[y]]), np.array([[x]]))[0, 0] > -0.35 * radius:
            return None
        return Feature(
            kind,
            y,
            x,
            radius,
            turn[3] * math.pi,
            0.93 + 0.16 * turn[4],
            (turn[5] * 2 * math.pi, turn[6] * 2 * math.pi),
        )

    def _cell(self, row: int, column: int) -> Cell:
        (top, left), (height, width) = self._inset, self._pitch
        middle = top + (row + 0.5) * height, left + (column + 0.5) * width
        return Cell(self._kind(row, column), *middle, height, width)

    def _kind(self, row: int, column: int) -> Kind:
        """Shuffle the six kinds within each block of cells, so that a slide of one block has them all."""
        rows, columns = self._block
        place = (row % rows) * columns + column % columns
        order = sorted(range(6), key=lambda k: derive(self._seed, 21, row // rows, column // columns, k))
        return _SIX[order[place]]

    def _complete(self) -> bool:
        """Whether the first cells of a slide one or two cells wide hold every kind as it is."""
        rows, columns = (min(count, 12) for count in self._cells)
        return {self._kind(row, column) for row in range(rows) for column in range(columns)} == set(Kind)

    def _planned(self) -> tuple[Cell, ...]:
        """Share a small slide out among one field of every kind, as large as they can be; () if too small.

        Two rows along the longer side, one for the two tumours and one for the rest, with the glands in the
        middle, where there is most tissue; on a narrow slide, one row for all of them.
        """
        sides = self.height - 2 * self._inset[0], self.width - 2 * self._inset[1]
        upright = sides[0] > sides[1]
        short, long = sorted(sides)
        tumours, others = (
            sorted(kinds, key=lambda kind: derive(self._seed, 22, int(kind))) for kinds in (_TUMOURS, _OTHERS)
        )
        rows: list[tuple[float, list[tuple[Kind, float]]]]  # (thickness, [(kind, length)])
        if long > 2.5 * short:
            mixed = sorted(Kind, key=lambda kind: derive(self._seed, 23, int(kind)))
            share = long / (2 * 1.4 + 3)
            rows = [(short, [(kind, share * 1.4 if kind in _TUMOURS else share) for kind in mixed])]
        else:
            thick = min(0.6 * short, long / 2)
            side = max(min(short - thick, long / 3.4), min(_LEAST_CELL, long / 3))
            first, last = others
            rows = [
                (thick, [(kind, long / 2) for kind in tumours]),
                (short - thick, [(first, side), (Kind.GLANDS, long - 2 * side), (last, side)]),
            ]
            if draw(self._seed, 24) < 0.5:
                rows.reverse()
        cells, down = [], 0.0
        for thickness, row in rows:
            along = 0.0
            for kind, length in row:
                if min(thickness, length) < _LEAST_CELL:
                    return ()
                middle, size = (down + thickness / 2, along + length / 2), (thickness, length)
                if upright:
                    middle, size = middle[::-1], size[::-1]
                cells.append(Cell(kind, middle[0] + self._inset[0], middle[1] + self._inset[1], *size))
                along += length
            down += thickness
        return tuple(cells)


def _range(axis: Floats, pitch: float, count: int) -> range:
    first, last = math.floor(float(axis.min()) / pitch) - 1, math.floor(float(axis.max()) / pitch) + 1
    return range(max(0, first), min(count - 1, last) + 1)
