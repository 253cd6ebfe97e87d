"""Randomness that is a function of place: hashes of lattice sites and smooth noise between them.

Nothing here keeps a state, so a value depends on the seed and the position alone, never on what was drawn
before: the base of drawing any window of a slide of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
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


def uniform(seed: int, y: ArrayLike, x: ArrayLike) -> F64:
    """Return a number in [0, 1) for each integer site (y, x)."""
    return np.asarray((mix(seed, y, x) >> np.uint64(11)) * 2.0**-53)


def draw(seed: int, *salt: int) -> float:
    """Return one number in [0, 1)."""
    return (derive(seed, *salt) >> 11) * 2.0**-53


def spline_weights(position: F64, first: int, count: int) -> F32:
    """Return the matrix (len(position), count) of cubic B-spline weights of knots first .. first + count - 1.

    Positions are in knots. Multiplying the matrix with knot values along an axis interpolates that axis.
    """
    base = np.floor(position).astype(np.int64)
    t = position - base
    weights = np.zeros((len(position), count), np.float32)
    rows = np.arange(len(position))
    for offset, part in enumerate(_weights(t)):
        weights[rows, np.clip(base - 1 + offset - first, 0, count - 1)] += part
    return weights


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

    def __call__(self, y: F64, x: F64) -> F64 | F32:
        """Evaluate at positions in µm: axes of shape (h, 1) and (1, w) give (h, w), fast; else pointwise."""
        if y.ndim == 2 and x.ndim == 2 and y.shape[1] == 1 and x.shape[0] == 1:
            return self._on_axes(y[:, 0], x[0])
        return self._at(*np.broadcast_arrays(y, x))

    def _on_axes(self, y: F64, x: F64) -> F32:
        rows, columns = y / self.spacing, x / self.spacing
        first = int(np.floor(rows[0])) - 1, int(np.floor(columns[0])) - 1
        count = int(np.floor(rows[-1])) + 3 - first[0], int(np.floor(columns[-1])) + 3 - first[1]
        knots = self._knots(
            np.arange(first[0], first[0] + count[0])[:, None], np.arange(first[1], first[1] + count[1])[None]
        ).astype(np.float32)
        left = spline_weights(rows, first[0], count[0]) @ knots
        return np.asarray(left @ spline_weights(columns, first[1], count[1]).T)

    def _at(self, y: F64, x: F64) -> F64:
        rows, columns = y / self.spacing, x / self.spacing
        row, column = np.floor(rows), np.floor(columns)
        around = np.arange(-1, 3).reshape(4, *([1] * y.ndim))
        knots = self._knots(
            row.astype(np.int64) + around[:, None], column.astype(np.int64) + around[None]
        )  # (4, 4, ...)
        ty, tx = _weights(rows - row), _weights(columns - column)
        return np.asarray((ty * (knots * tx).sum(1)).sum(0))

    def _knots(self, row: I64, column: I64) -> F64:
        return (uniform(self.seed, row, column) * 2 - 1) * _UNIT_STD


def _weights(t: F64) -> F64:
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

    def along(self, line: F32, u: F32) -> F32:
        """Evaluate a noise in one dimension: `line` holds whole numbers, each a noise of its own along `u`."""
        column = np.floor(u)
        tu = u - column
        tu *= tu * (3 - 2 * tu)
        mask = np.int32(self.SIDE - 1)
        row = (line.astype(np.int32) & mask) * np.int32(self.SIDE)
        column0 = column.astype(np.int32)
        left = self._values.take(row + (column0 & mask))
        left += tu * (self._values.take(row + ((column0 + 1) & mask)) - left)
        return np.asarray(left)

    def __call__(self, v: F32, u: F32) -> F32:
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
