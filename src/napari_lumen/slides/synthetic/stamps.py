"""Rasterising many small bodies (nuclei, vacuoles, red cells) at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_lumen.slides.synthetic.noise import Floats
from napari_lumen.slides.synthetic.nuclei import Records

_RIM = 0.9  # µm beyond the outline up to which the distance is kept, for soft edges
_NOTHING = np.uint64(0xFFFFFFFFFFFFFFFF)
_STEPS = 1 << 20  # resolution of the relative radius that decides between overlapping bodies
_CHUNK = 1 << 19  # pixels worked on at once


@dataclass(frozen=True, slots=True)
class Stamps:
    """Which body covers each pixel of a block.

    Attributes
    ----------
    index : ndarray (h, w) int32
        Index into the records, -1 where there is none within reach.
    rho : ndarray (h, w) float32
        Relative radius in that body: 0 at its centre, 1 on its outline.
    """

    index: NDArray[np.int32]
    rho: Floats


def rasterise(records: Records, top: int, left: int, height: int, width: int, mpp: float) -> Stamps:
    """Rasterise bodies on a block of level-0 pixels.

    A pixel that lies in several bodies goes to the one it lies deepest in, so that no body loses its centre.
    """
    best = np.full(height * width, _NOTHING)
    sides = np.ceil(2 * _reach(records) / mpp).astype(np.int64) + 1
    buckets = np.ceil(np.log2(np.maximum(sides, 4)) * 3).astype(np.int64)
    for bucket in np.unique(buckets):
        members = np.flatnonzero(buckets == bucket)
        side = int(sides[members].max())
        for start in range(0, len(members), max(1, _CHUNK // side**2)):
            chunk = members[start : start + max(1, _CHUNK // side**2)]
            _stamp(best, records[chunk], chunk, side, (top, left, height, width), mpp)
    covered = best != _NOTHING
    index = np.where(covered, (best & np.uint64(0xFFFFFFFF)).astype(np.int64), -1).astype(np.int32)
    rho = np.where(covered, (best >> np.uint64(32)).astype(np.float32) / _STEPS, 9.0).astype(np.float32)
    return Stamps(index.reshape(height, width), rho.reshape(height, width))


def _stamp(
    best: NDArray[np.uint64],
    records: Records,
    numbers: NDArray[np.int64],
    side: int,
    block: tuple[int, int, int, int],
    mpp: float,
) -> None:
    top, left, height, width = block
    first_y = np.round(records["y"] / mpp - side / 2).astype(np.int64)
    first_x = np.round(records["x"] / mpp - side / 2).astype(np.int64)
    steps = np.arange(side)
    dy = ((first_y[:, None] + steps + 0.5) * mpp - records["y"][:, None]).astype(np.float32)[:, :, None]
    dx = ((first_x[:, None] + steps + 0.5) * mpp - records["x"][:, None]).astype(np.float32)[:, None, :]
    trait = {name: records[name].astype(np.float32)[:, None, None] for name in _SHAPE}
    u, v = local_axes(dy, dx, trait)
    squared = u * u + v * v
    rho = np.sqrt(squared)
    # cos and sin of 2 and 3 times the polar angle, without an arc tangent
    safe = np.maximum(rho, np.float32(1e-4))
    c, s = u / safe, v / safe
    c2, s2 = c * c - s * s, 2 * c * s
    c3, s3 = c2 * c - s2 * s, s2 * c + c2 * s
    bumps = 1 + trait["oval"] * (c2 * np.cos(trait["oval_phase"]) - s2 * np.sin(trait["oval_phase"]))
    bumps += trait["dent"] * (c3 * np.cos(trait["dent_phase"]) - s3 * np.sin(trait["dent_phase"]))
    rho /= bumps
    row, column = first_y[:, None] + steps - top, first_x[:, None] + steps - left
    keep = (rho - 1) * trait["b"] < _RIM
    # Its own reach, not the stamp's, ends a body: the stamp's side depends on the bodies drawn with it.
    keep &= dy * dy + dx * dx < _reach(records).astype(np.float32)[:, None, None] ** 2
    keep &= ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None, :]
    flat = (row * width)[:, :, None] + column[:, None, :]
    key = (rho[keep] * _STEPS).astype(np.uint64) << np.uint64(32)
    key |= np.broadcast_to(numbers[:, None, None], rho.shape)[keep].astype(np.uint64)
    np.minimum.at(best, flat[keep], key)


def _reach(records: Records) -> Floats:
    """Farthest distance from its centre at which a body is drawn, µm."""
    return np.asarray(np.maximum(records["a"], records["b"]) * 1.25 + _RIM)


_SHAPE = ("a", "b", "angle", "oval", "oval_phase", "dent", "dent_phase", "bend", "taper")


def local_axes(dy: Floats, dx: Floats, trait: dict[str, Floats]) -> tuple[Floats, Floats]:
    """Turn offsets from a body's centre (µm) into its own straightened axes, in units of its semi-axes."""
    cos, sin = np.cos(trait["angle"]), np.sin(trait["angle"])
    u = (dx * cos + dy * sin) / trait["a"]
    v = (dy * cos - dx * sin) / trait["b"]
    squared = u * u
    v = v - trait["bend"] * (squared - np.float32(0.3)) * 2
    v = v / np.maximum(1 - trait["taper"] * squared, np.float32(0.2))
    return u, v
