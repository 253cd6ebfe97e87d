"""Randomness that is a function of place: hashes of lattice sites and smooth noise between them.

Nothing here keeps a state, so a value depends on the seed and the position alone, never on what was drawn
before: the base of drawing any window of a slide of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]  # float32 for what is drawn, float64 for where it lies
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

_MASK = (1 << 64) - 1
_UNIT_STD = 3.613  # a cubic B-spline over uniform values in [-1, 1] has a standard deviation of 1 / 3.613


def derive(seed: int, *salt: int) -> int:
    """Return a 64-bit seed made of a seed and some integers (splitmix64)."""
    state = seed & _MASK
    for item in (*salt, 0x5EED):
        state = (state + 0x9E3779B97F4A7C15 * ((item & _MASK) + 1)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def mix(seed: int, y: ArrayLike, x: ArrayLike) -> U64:
    """Hash integer sites (y, x), broadcast, to 64 random bits each."""
    rows = np.atleast_1d(np.asarray(y, dtype=np.int64)).view(np.uint64)
    columns = np.atleast_1d(np.asarray(x, dtype=np.int64)).view(np.uint64)
    bits = rows * np.uint64(0x9E3779B97F4A7C15) ^ (columns * np.uint64(0xC2B2AE3D27D4EB4F))
    bits = bits + np.uint64(derive(seed))
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def uniform(seed: int, y: ArrayLike, x: ArrayLike) -> Floats:
    """Return a number in [0, 1) for each integer site (y, x)."""
    return np.asarray((mix(seed, y, x) >> np.uint64(11)) * 2.0**-53)


def draw(seed: int, *salt: int) -> float:
    """Return one number in [0, 1)."""
    return (derive(seed, *salt) >> 11) * 2.0**-53


@dataclass(frozen=True, slots=True)
class Taps:
    """The four knots that a cubic B-spline takes at each position along an axis, and their weights.

    Attributes
    ----------
    index : ndarray (4, n) int64
        Knots, clipped to the ones there are.
    weight : ndarray (4, n) float32
        Their weights; the sum over the first axis is 1.
    """

    index: I64
    weight: Floats

    @classmethod
    def of(cls, position: Floats, first: int, count: int) -> Taps:
        """Return the taps of positions, in knots, among the knots first .. first + count - 1."""
        base = np.floor(position).astype(np.int64)
        index = np.clip(base - 1 - first + np.arange(4)[:, None], 0, count - 1)
        return cls(index, _weights(position - base).astype(np.float32))


def interpolate(values: Floats, rows: Taps, columns: Taps) -> Floats:
    """Interpolate knots (m, n) at the positions of two axes.

    Four rows and columns are added up, and no matrices are multiplied: a threaded BLAS is slower here, very
    much so on a busy machine, and may round differently from one machine to the next.
    """
    # Columns first, on the small array; then whole rows, which lie together in memory.
    values = np.ascontiguousarray(values, dtype=np.float32)
    wide = values.take(columns.index[0], axis=1) * columns.weight[0]
    for tap in range(1, 4):
        wide += values.take(columns.index[tap], axis=1) * columns.weight[tap]
    out = wide.take(rows.index[0], axis=0)
    out *= rows.weight[0][:, None]
    for tap in range(1, 4):
        part = wide.take(rows.index[tap], axis=0)
        part *= rows.weight[tap][:, None]
        out += part
    return np.asarray(out)


@dataclass(frozen=True, slots=True)
class SmoothNoise:
    """Smooth noise of mean 0 and standard deviation 1 over the plane.

    Attributes
    ----------
    seed : int
        Different seeds give independent noises.
    spacing : float
        Distance of the random knots, in µm: about half a wavelength.
    """

    seed: int
    spacing: float

    def __call__(self, y: Floats, x: Floats) -> Floats:
        """Evaluate at positions in µm: axes of shape (h, 1) and (1, w) give (h, w), fast; else pointwise."""
        if y.ndim == 2 and x.ndim == 2 and y.shape[1] == 1 and x.shape[0] == 1:
            return self._on_axes(y[:, 0], x[0])
        return self._at(*np.broadcast_arrays(y, x))

    def _on_axes(self, y: Floats, x: Floats) -> Floats:
        rows, columns = y / self.spacing, x / self.spacing
        first = int(np.floor(rows[0])) - 1, int(np.floor(columns[0])) - 1
        count = int(np.floor(rows[-1])) + 3 - first[0], int(np.floor(columns[-1])) + 3 - first[1]
        knots = self._knots(
            np.arange(first[0], first[0] + count[0])[:, None], np.arange(first[1], first[1] + count[1])[None]
        ).astype(np.float32)
        return interpolate(knots, Taps.of(rows, first[0], count[0]), Taps.of(columns, first[1], count[1]))

    def _at(self, y: Floats, x: Floats) -> Floats:
        rows, columns = y / self.spacing, x / self.spacing
        row, column = np.floor(rows), np.floor(columns)
        around = np.arange(-1, 3).reshape(4, *([1] * y.ndim))
        knots = self._knots(
            row.astype(np.int64) + around[:, None], column.astype(np.int64) + around[None]
        )  # (4, 4, ...)
        ty, tx = _weights(rows - row), _weights(columns - column)
        return np.asarray((ty * (knots * tx).sum(1)).sum(0))

    def _knots(self, row: I64, column: I64) -> Floats:
        return (uniform(self.seed, row, column) * 2 - 1) * _UNIT_STD


def _weights(t: Floats) -> Floats:
    """Weights (4, ...) of the knots before, at, after and two after a position between two knots."""
    return np.stack(
        [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]
    )


class Table:
    """Periodic value noise that is quick at positions that lie on no grid, for textures along warped lines.

    Values have mean 0 and run from about -1.7 to 1.7 (standard deviation 1 at the knots).
    """

    SIDE = 512

    def __init__(self, seed: int) -> None:
        knots = np.arange(self.SIDE)
        values = uniform(seed, knots[:, None], knots[None]) * 2 - 1
        self._values = (values * np.sqrt(3.0)).astype(np.float32).ravel()

    def along(self, line: Floats, u: Floats) -> Floats:
        """Evaluate noise along `u` alone: each whole number in `line` has a noise of its own."""
        column = np.floor(u)
        tu = u - column
        tu *= tu * (3 - 2 * tu)
        mask = np.int32(self.SIDE - 1)
        row = (line.astype(np.int32) & mask) * np.int32(self.SIDE)
        column0 = column.astype(np.int32)
        left = self._values.take(row + (column0 & mask))
        left += tu * (self._values.take(row + ((column0 + 1) & mask)) - left)
        return np.asarray(left)

    def __call__(self, v: Floats, u: Floats) -> Floats:
        """Evaluate at positions in knots, float32 arrays of one shape."""
        row, column = np.floor(v), np.floor(u)
        tv, tu = v - row, u - column
        tv *= tv * (3 - 2 * tv)
        tu *= tu * (3 - 2 * tu)
        mask = np.int32(self.SIDE - 1)
        row0 = row.astype(np.int32)
        column0 = column.astype(np.int32)
        row1 = ((row0 + 1) & mask) * np.int32(self.SIDE)
        row0 = (row0 & mask) * np.int32(self.SIDE)
        column1 = (column0 + 1) & mask
        column0 &= mask
        take = self._values.take
        upper = take(row0 + column0)
        upper += tu * (take(row0 + column1) - upper)
        lower = take(row1 + column0)
        lower += tu * (take(row1 + column1) - lower)
        lower -= upper
        lower *= tv
        lower += upper
        return np.asarray(lower)
