"""Which nuclei there are: where, how large, which way they lie, and how their chromatin looks.

Every nucleus comes from a site of a jittered lattice or from a step along a gland's outline, so its number
follows from its place and is the same in every window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from napari_lumen.slides.synthetic.cache import Recent
from napari_lumen.slides.synthetic.fields import Fields
from napari_lumen.slides.synthetic.glands import REACH, Gland, Glands
from napari_lumen.slides.synthetic.layout import BORDER_ZONE
from napari_lumen.slides.synthetic.noise import I64, Floats, SmoothNoise, derive, uniform

EPITHELIAL, MALIGNANT, LYMPHOCYTE, FIBROBLAST = 1, 2, 3, 4
LARGEST = 17.0  # µm: no nucleus reaches farther from its centre

RECORD = np.dtype(
    [
        ("id", "i8"), ("y", "f8"), ("x", "f8"),  # µm
        ("a", "f4"), ("b", "f4"), ("angle", "f4"),  # semi-axes in µm; the long one's angle from x towards y
        ("kind", "u1"), ("priority", "f4"),
        ("dark", "f4"), ("vesicle", "f4"), ("clump", "f4"), ("nucleolus", "f4"),
        ("oval", "f4"), ("oval_phase", "f4"), ("dent", "f4"), ("dent_phase", "f4"),
        ("bend", "f4"), ("taper", "f4"), ("spot_u", "f4"), ("spot_v", "f4"), ("soft", "f4"),
        ("body", "f4"),  # µm of cytoplasm to be seen around it; 0 is none
    ]
)  # fmt: skip
Records = NDArray[np.void]

_TUMOUR_PITCH, _LYMPH_PITCH, _STROMA_PITCH, _RING_PITCH = 9.0, 6.3, 16.5, 6.2
_PER_GLAND = 1024


@dataclass(frozen=True, slots=True)
class Numbering:
    """Splits the integers among the lattices of a slide, so that ids never meet."""

    height: float
    width: float

    def lattice(self, which: int, pitch: float, row: I64, column: I64) -> I64:
        """Return the ids of sites of the lattice number `which` (0 to 3; 4 is the glands')."""
        wide = int(self.width / pitch) + 64
        return 1 + which + 5 * ((row + 32) * wide + column + 32)


class NucleusMaker:
    """Lists the nuclei whose centre lies in a tile."""

    def __init__(self, glands: Glands, numbering: Numbering, seed: int) -> None:
        self._glands, self._numbering, self._seed = glands, numbering, seed
        self._chains: Recent[tuple[int, int], Records] = Recent(2048)
        self._grade = SmoothNoise(derive(seed, 9), 300.0)

    def candidates(self, fields: Fields, top: float, left: float, size: float) -> Records:
        """Return the nuclei of a tile before those that collide are removed."""
        if fields.glass:
            return np.zeros(0, RECORD)
        box = top, left, top + size, left + size
        parts = [
            self._tumour(fields, *box),
            self._lymphocytes(fields, *box),
            self._stroma(fields, *box),
            self._ring(fields, *box),
        ]
        for gland in self._glands.near(*box):
            key = gland.row, gland.column
            chain = self._chains.get(key, lambda gland=gland: self._chain(gland))  # type: ignore[misc]
            parts.append(chain[_inside(chain["y"], chain["x"], *box)])
        found = np.concatenate(parts)
        return found[fields.sample(fields.tissue, found["y"], found["x"]) < -found["b"] - 6.0]

    def _tumour(self, fields: Fields, top: float, left: float, bottom: float, right: float) -> Records:
        if fields.tumour.min() > 0:
            return np.zeros(0, RECORD)
        seed = derive(self._seed, 1)
        row, column, y, x = sites(seed, _TUMOUR_PITCH, 0.62, top, left, bottom, right)
        distance = fields.sample(fields.tumour, y, x)
        wall = fields.sample(fields.tumour_wall, y, x)
        turn = turns(seed, row, column, 12)
        keep = (distance < -4.2 - 1.5 * turn[0]) & (distance > -wall + 7.0) & (turn[1] < 0.93)
        row, column, y, x, turn = row[keep], column[keep], y[keep], x[keep], turn[:, keep]
        records = _records(turn, len(y))
        grade = np.clip(1 + 0.10 * self._grade(y, x), 0.85, 1.2)
        size = grade * (4.7 + 1.9 * turn[2] ** 1.6 + 1.3 * (turn[3] > 0.93))
        aspect = 1.12 + 0.45 * turn[4]
        records["a"], records["b"] = size * np.sqrt(aspect) * 1.03, size / np.sqrt(aspect) * 0.98
        records["angle"] = fields.direction(fields.tumour, y, x) + (turn[5] - 0.5) * 1.1
        vesicular = turn[6] < 0.55
        records["dark"] = np.where(vesicular, 0.66 + 0.22 * turn[7], 0.88 + 0.34 * turn[7])
        records["vesicle"] = np.where(vesicular, 0.38 + 0.3 * turn[8], 0.12)
        records["clump"] = 0.30 + 0.15 * turn[8]
        records["nucleolus"] = np.where(vesicular, 0.55 + 0.5 * turn[9], 0.25 * (turn[9] > 0.5))
        records["oval"], records["dent"] = 0.05 + 0.09 * turn[10], 0.03 + 0.07 * turn[11]
        _finish(records, MALIGNANT, self._numbering.lattice(0, _TUMOUR_PITCH, row, column), y, x)
        return records

    def _lymphocytes(self, fields: Fields, top: float, left: float, bottom: float, right: float) -> Records:
        seed = derive(self._seed, 2)
        row, column, y, x = sites(seed, _LYMPH_PITCH, 0.72, top, left, bottom, right)
        share = fields.sample(fields.lymphocytes, y, x)
        turn = turns(seed, row, column, 12)
        follicle = fields.sample(fields.lymphoid, y, x)
        centre = np.clip((-follicle - 62) / 16, 0, 1)  # the germinal centre: larger, paler cells
        share = share * (1 - 0.42 * centre)
        outside = np.minimum(fields.sample(fields.gland, y, x), fields.sample(fields.tumour, y, x))
        outside = np.minimum(outside, fields.sample(fields.fat, y, x))
        keep = (turn[0] < share) & (outside > 2.0)
        row, column, y, x, turn, centre = (
            row[keep], column[keep], y[keep], x[keep], turn[:, keep], centre[keep],
        )  # fmt: skip
        records = _records(turn, len(y))
        large = turn[1] < 0.8 * centre
        plasma = (~large) & (turn[1] > 0.9)
        size = np.where(large, 3.7 + 0.9 * turn[2], 2.75 + 0.6 * turn[2])
        aspect = 1.0 + 0.22 * turn[3] + 0.25 * plasma
        records["a"], records["b"] = size * np.sqrt(aspect), size / np.sqrt(aspect)
        records["angle"] = turn[4] * np.pi
        records["dark"] = np.where(large, 0.62 + 0.2 * turn[5], 1.0 + 0.3 * turn[5])
        records["vesicle"] = np.where(large, 0.4, 0.1)
        records["clump"] = 0.42
        records["nucleolus"] = np.where(large, 0.4 * turn[6], 0.0)
        records["oval"], records["dent"] = 0.07 * turn[7], 0.10 * turn[8] ** 2
        plasma_cell = (turn[9] < 0.5) & (follicle[keep] > 10)
        records["body"] = np.where(plasma_cell, 1.5 + 1.2 * turn[10], 0.0)
        _finish(records, LYMPHOCYTE, self._numbering.lattice(1, _LYMPH_PITCH, row, column), y, x)
        return records

    def _stroma(self, fields: Fields, top: float, left: float, bottom: float, right: float) -> Records:
        seed = derive(self._seed, 3)
        row, column, y, x = sites(seed, _STROMA_PITCH, 0.85, top, left, bottom, right)
        turn = turns(seed, row, column, 12)
        gland = fields.sample(fields.gland, y, x)
        tumour = fields.sample(fields.tumour, y, x)
        fat = fields.sample(fields.fat, y, x)
        desmoplastic = np.exp(-np.clip(fields.sample(fields.invasive, y, x), 0, None) / 60)
        # Deep in a tumour, septa are alike whatever the tumour is called.
        desmoplastic = np.where(fields.sample(fields.in_situ, y, x) < -0.5 * BORDER_ZONE, 1.0, desmoplastic)
        near = np.exp(-np.clip(gland, 0, None) / 25)
        share = (0.40 + 0.3 * near + 0.5 * desmoplastic) * (1 - fields.sample(fields.lymphocytes, y, x))
        septum = (tumour > 0) & (tumour < 6)
        strand = (fat > 0.1) & (fat < 3) & (fields.sample(fields.adipose, y, x) < -15)
        narrow = septum | strand
        keep = (turn[0] < share) & (np.minimum(np.minimum(gland, tumour), fat) > np.where(narrow, 0.1, 2.2))
        row, column, y, x, turn = row[keep], column[keep], y[keep], x[keep], turn[:, keep]
        desmoplastic, septum, strand, narrow = desmoplastic[keep], septum[keep], strand[keep], narrow[keep]
        records = _records(turn, len(y))
        plump = turn[1] < 0.22 + 0.35 * desmoplastic
        records["a"] = np.where(plump, 4.2 + 2.2 * turn[2], 3.4 + 4.6 * turn[2] ** 1.6)
        records["b"] = np.where(plump, 1.8 + 0.8 * turn[3], 1.0 + 0.7 * turn[3] ** 1.3)
        records["a"] = np.where(narrow, np.minimum(records["a"], 6.0), records["a"])
        records["b"] = np.where(strand, np.minimum(records["b"], 1.3), records["b"])
        flow = fields.direction(fields.across, y, x) + np.pi / 2
        wall = fields.direction(fields.tumour, y, x) + np.pi / 2
        cell = fields.direction(fields.fat, y, x) + np.pi / 2
        angle = np.where(strand, cell, np.where(septum, wall, flow))
        records["angle"] = angle + (turn[4] - 0.5) * np.where(strand, 0.2, 0.8)
        records["dark"] = np.where(plump, 0.62 + 0.25 * turn[5], 0.85 + 0.35 * turn[5])
        records["vesicle"] = np.where(plump, 0.35, 0.08)
        records["clump"] = 0.24
        records["bend"] = (turn[6] - 0.5) * np.where(plump, 0.15, 0.65)
        records["taper"] = np.where(plump, 0.15, 0.15 + 0.4 * turn[9])
        records["oval"], records["dent"] = 0.05 * turn[10], 0.16 * turn[8] ** 2
        records["body"] = np.where(plump & (turn[7] < 0.6), 0.8 + 0.8 * turn[9], 0.0)
        _finish(records, FIBROBLAST, self._numbering.lattice(2, _STROMA_PITCH, row, column), y, x)
        return records

    def _ring(self, fields: Fields, top: float, left: float, bottom: float, right: float) -> Records:
        """Myoepithelial cells: the flat outermost layer of a tumour in situ."""
        if abs(fields.in_situ).min() > 5:
            return np.zeros(0, RECORD)
        seed = derive(self._seed, 5)
        row, column, y, x = sites(seed, _RING_PITCH, 0.8, top, left, bottom, right)
        keep = np.abs(fields.sample(fields.in_situ, y, x) + 1.9) < 1.6
        row, column, y, x = row[keep], column[keep], y[keep], x[keep]
        turn = turns(seed, row, column, 12)
        records = _records(turn, len(y))
        records["a"], records["b"] = 3.8 + 1.6 * turn[0], 1.25 + 0.5 * turn[1]
        records["angle"] = fields.direction(fields.in_situ, y, x) + np.pi / 2 + (turn[2] - 0.5) * 0.2
        records["dark"], records["vesicle"], records["clump"] = 0.85 + 0.3 * turn[3], 0.1, 0.25
        records["taper"], records["dent"] = 0.35, 0.04
        _finish(records, EPITHELIAL, self._numbering.lattice(3, _RING_PITCH, row, column), y, x)
        return records

    def _chain(self, gland: Gland) -> Records:
        """Step along the outline of a gland, a little inside it, and set one nucleus a step."""
        step = 2.5
        corner = -REACH - 10
        axis = np.arange(corner, REACH + 10.1, step)
        y, x = gland.y + axis[:, None], gland.x + axis[None]
        glands = self._glands.near(*(float(v) for v in (y[0, 0], x[0, 0], y[-1, 0], x[0, -1])))
        own = next(n for n, item in enumerate(glands) if (item.row, item.column) == (gland.row, gland.column))
        distance, index = self._glands.distances(glands, y, x)
        distance = np.where(index == own, distance, np.maximum(distance, 4.0))
        seed = derive(self._seed, 4, gland.row, gland.column)
        points: list[Floats] = []
        for depth, pitch, share in ((6.8, 4.2, 1.0), (13.0, 6.0, 0.36)):
            for line in find_contours(distance, -depth):
                if len(line) < 12:
                    continue
                length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))]) * step
                stops = np.arange(0, length[-1] - 0.6 * pitch, pitch)
                turn = uniform(seed, np.arange(len(stops)), np.full(len(stops), len(points)))
                stops = (stops + (turn - 0.5) * 0.6 * pitch)[turn * 977 % 1 < share]
                points.append(np.stack([np.interp(stops, length, line[:, k]) for k in (0, 1)], axis=1))
        if not points:
            return np.zeros(0, RECORD)
        places = np.concatenate(points)[: _PER_GLAND - 1]
        slope_y, slope_x = (np.asarray(slope) for slope in np.gradient(distance))
        i, j = np.clip(np.rint(places.T), 0, len(axis) - 1).astype(np.int64)
        angle = np.arctan2(slope_y[i, j], slope_x[i, j])
        number = np.arange(len(places))
        turn = turns(derive(seed, 1), number, np.zeros_like(number), 12)
        y_um = gland.y + corner + places[:, 0] * step
        x_um = gland.x + corner + places[:, 1] * step
        shift = (turn[0] - 0.5) * 6.0
        records = _records(turn, len(places))
        size = 2.9 + 0.8 * turn[2]
        aspect = 1.5 + 0.8 * turn[3] - 0.3 * gland.mucin
        records["a"], records["b"] = size * np.sqrt(aspect), size / np.sqrt(aspect)
        records["angle"] = angle + (turn[4] - 0.5) * 0.5
        records["dark"] = 0.76 + 0.3 * turn[5]
        records["vesicle"] = 0.15 + 0.25 * turn[6]
        records["clump"] = 0.26
        records["nucleolus"] = 0.35 * (turn[7] > 0.7)
        records["oval"], records["dent"] = 0.05 * turn[8], 0.05 * turn[9]
        y_um, x_um = y_um - shift * np.sin(angle), x_um - shift * np.cos(angle)
        # Glands number their nuclei on a lattice of their own: site times a fixed room for each gland.
        wide = int(self._numbering.width / 100.0) + 64
        site = (gland.row + 32) * wide + gland.column + 32
        _finish(records, EPITHELIAL, 1 + 4 + 5 * (site * _PER_GLAND + number), y_um, x_um)
        return records


def survivors(own: Records, around: Records) -> Records:
    """Return those of `own` that collide with none of higher priority in `around`, which holds `own` too."""
    if not len(own):
        return own
    order = np.argsort(around["id"], kind="stable")
    around = around[order]
    tree = cKDTree(np.stack([around["y"], around["x"]], axis=1))
    pairs = tree.query_pairs(LARGEST, output_type="ndarray")
    first, second = pairs[:, 0], pairs[:, 1]
    apart = np.hypot(around["y"][first] - around["y"][second], around["x"][first] - around["x"][second])
    direction = np.arctan2(around["y"][second] - around["y"][first], around["x"][second] - around["x"][first])
    # Crowded epithelium overlaps in a section a few µm thick; elsewhere nuclei keep apart.
    crowded = (around["kind"][first] <= MALIGNANT) & (around["kind"][second] <= MALIGNANT)
    crowded |= (around["kind"][first] == LYMPHOCYTE) & (around["kind"][second] == LYMPHOCYTE)
    room = _extent(around[first], direction) + _extent(around[second], direction)
    hit = apart < np.where(crowded, 0.74, 0.9) * room
    first, second = first[hit], second[hit]
    lower = np.where(
        (around["priority"][first] < around["priority"][second])
        | ((around["priority"][first] == around["priority"][second]) & (first < second)),
        first,
        second,
    )
    lost = np.unique(around["id"][lower])
    return own[~np.isin(own["id"], lost)]


def _extent(records: Records, direction: Floats) -> Floats:
    """Radius of each ellipse in a direction, µm."""
    turn = direction - records["angle"]
    a, b = records["a"].astype(np.float64), records["b"].astype(np.float64)
    return np.asarray(a * b / np.sqrt((b * np.cos(turn)) ** 2 + (a * np.sin(turn)) ** 2))


def _inside(y: Floats, x: Floats, top: float, left: float, bottom: float, right: float) -> NDArray[np.bool_]:
    return np.asarray((y >= top) & (y < bottom) & (x >= left) & (x < right))


def sites(
    seed: int, pitch: float, jitter: float, top: float, left: float, bottom: float, right: float
) -> tuple[I64, I64, Floats, Floats]:
    """Sites of a jittered hexagonal lattice that lie in a rectangle: row, column, y, x."""
    tall = pitch * 0.93
    rows = np.arange(int(np.floor(top / tall)) - 1, int(np.floor(bottom / tall)) + 2)
    columns = np.arange(int(np.floor(left / pitch)) - 2, int(np.floor(right / pitch)) + 2)
    row, column = (item.ravel() for item in np.meshgrid(rows, columns, indexing="ij"))
    y = (row + 0.5 + jitter * (uniform(derive(seed, 100), row, column) - 0.5)) * tall
    x = (column + 0.5 * (row % 2) + 0.5 + jitter * (uniform(derive(seed, 101), row, column) - 0.5)) * pitch
    keep = _inside(y, x, top, left, bottom, right)
    return row[keep], column[keep], y[keep], x[keep]


def turns(seed: int, row: I64, column: I64, count: int) -> Floats:
    """Random numbers in [0, 1) of each site (count, n)."""
    return np.stack([uniform(derive(seed, 102, k), row, column) for k in range(count)])


def _records(turn: Floats, count: int) -> Records:
    records = np.zeros(count, RECORD)
    records["priority"] = turn[-1] * 0.999 if count else 0
    records["oval_phase"] = turn[0] * 41 % (2 * np.pi)
    records["dent_phase"] = turn[-2] * 53 % (2 * np.pi)
    # How far out of focus: few are sharp, few are much blurred.
    records["soft"] = 0.85 + 0.5 * turn[-4] + 1.3 * np.clip(turn[-4] - 0.82, 0, 1) / 0.18
    records["spot_u"] = (turn[-3] * 17 % 1 - 0.5) * 0.8
    records["spot_v"] = (turn[-3] * 29 % 1 - 0.5) * 0.8
    return records


def _finish(records: Records, kind: int, numbers: I64, y: Floats, x: Floats) -> None:
    records["kind"], records["id"], records["y"], records["x"] = kind, numbers, y, x
