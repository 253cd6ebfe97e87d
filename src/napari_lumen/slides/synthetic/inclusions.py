"""Bodies other than nuclei: goblet vacuoles, small vessels and the red cells in them."""

from __future__ import annotations

import numpy as np

from napari_lumen.slides.synthetic.fields import Fields
from napari_lumen.slides.synthetic.noise import I64, derive, uniform
from napari_lumen.slides.synthetic.nuclei import LYMPHOCYTE, RECORD, Records, sites, turns

VACUOLE, VESSEL, RED_CELL = 11, 12, 13
_VACUOLE_PITCH, _VESSEL_PITCH = 9.0, 105.0


def vacuoles(fields: Fields, seed: int, top: float, left: float, size: float) -> Records:
    """Mucin vacuoles of goblet cells: between the nuclei of a gland and its lumen, along the cells' axes."""
    if fields.gland.min() > 0:
        return np.zeros(0, RECORD)
    row, column, y, x = sites(derive(seed, 1), _VACUOLE_PITCH, 0.5, top, left, top + size, left + size)
    depth = -fields.sample(fields.gland, y, x)
    wall = fields.sample(fields.gland_wall, y, x)
    turn = turns(derive(seed, 2), row, column, 6)
    goblet = fields.sample(fields.gland_mucin, y, x)
    keep = (depth > 12.5) & (depth < wall - 2.5) & (turn[0] < goblet)
    y, x, turn = y[keep], x[keep], turn[:, keep]
    records = np.zeros(len(y), RECORD)
    records["y"], records["x"], records["kind"] = y, x, VACUOLE
    records["a"], records["b"] = 4.6 + 2.4 * turn[1], 3.0 + 1.3 * turn[2]
    records["angle"] = fields.direction(fields.gland, y, x) + (turn[3] - 0.5) * 0.3
    records["oval"], records["dent"], records["dent_phase"] = 0.03, 0.08, turn[4] * 6.28
    return records


def vessels(fields: Fields, seed: int, top: float, left: float, size: float) -> tuple[Records, Records]:
    """Capillaries and venules in the stroma: their lumina, and the red cells."""
    row, column, y, x = sites(derive(seed, 3), _VESSEL_PITCH, 0.8, top, left, top + size, left + size)
    turn = turns(derive(seed, 4), row, column, 6)
    room = np.minimum(fields.sample(fields.gland, y, x), fields.sample(fields.tumour, y, x))
    room = np.minimum(room, fields.sample(fields.fat, y, x))
    room = np.minimum(room, fields.sample(fields.lymphoid, y, x))
    room = np.minimum(room, -fields.sample(fields.tissue, y, x) - 8)
    keep = (turn[0] < 0.75) & (room > 11)
    row, column, y, x, turn, room = row[keep], column[keep], y[keep], x[keep], turn[:, keep], room[keep]
    lumina = np.zeros(len(y), RECORD)
    lumina["y"], lumina["x"], lumina["kind"] = y, x, VESSEL
    lumina["b"] = np.minimum(3.4 + 5.5 * turn[1] ** 2, room - 6)
    lumina["a"] = np.minimum(lumina["b"] * (1.2 + 2.6 * turn[2]), room + 4)
    lumina["angle"] = fields.direction(fields.across, y, x) + np.pi / 2
    lumina["oval"], lumina["dent"], lumina["dent_phase"] = 0.05, 0.1, turn[3] * 6.28
    lumina["bend"] = (turn[4] - 0.5) * 0.5
    return lumina, np.concatenate([np.zeros(0, RECORD), *_red_cells(lumina, derive(seed, 5), row, column)])


def _red_cells(lumina: Records, seed: int, row: I64, column: I64) -> list[Records]:
    parts = []
    for lumen, i, j in zip(lumina, row, column, strict=True):
        full = uniform(seed, i, j)[0]
        pitch = 4.9
        count_u, count_v = int(lumen["a"] / pitch) + 1, int(lumen["b"] / pitch) + 1
        u, v = (
            item.ravel().astype(np.float64)
            for item in np.meshgrid(
                np.arange(-count_u, count_u + 1), np.arange(-count_v, count_v + 1), indexing="ij"
            )
        )
        number = np.arange(len(u))
        local = derive(seed, int(i), int(j))
        turn = np.stack([uniform(local, number, np.full_like(number, k)) for k in range(6)])
        u = (u + 0.5 * (v % 2) + 0.8 * (turn[0] - 0.5)) * pitch
        v = (v + 0.8 * (turn[1] - 0.5)) * pitch
        keep = (u / (lumen["a"] - 1.5)) ** 2 + (v / (lumen["b"] - 1.2)) ** 2 < 1
        keep &= turn[2] < 1.3 * full - 0.15
        u, v, turn = u[keep], v[keep], turn[:, keep]
        cells = np.zeros(len(u), RECORD)
        cos, sin = np.cos(float(lumen["angle"])), np.sin(float(lumen["angle"]))
        cells["y"], cells["x"] = lumen["y"] + u * sin + v * cos, lumen["x"] + u * cos - v * sin
        cells["kind"] = RED_CELL
        size = 2.7 + 0.5 * turn[3]
        cells["a"], cells["b"] = size * (1 + 0.3 * turn[4]), size * (1 - 0.25 * turn[4])
        cells["angle"], cells["dark"] = turn[5] * np.pi, 0.8 + 0.4 * turn[3]
        cells["dent"] = 0.05
        parts.append(cells)
    return parts


def cytoplasm(nuclei: Records) -> Records:
    """Return the bodies of those cells whose cytoplasm shows; it lies to one side of the nucleus."""
    bodies: Records = nuclei[nuclei["body"] > 0].copy()
    aside = np.minimum(bodies["body"], 1.6)
    bodies["x"] += aside * np.cos(bodies["angle"])
    bodies["y"] += aside * np.sin(bodies["angle"])
    round_cell = bodies["kind"] == LYMPHOCYTE
    bodies["a"] += bodies["body"] * np.where(round_cell, 0.9, 3.0)
    bodies["b"] += bodies["body"] * np.where(round_cell, 0.75, 0.8)
    bodies["dent"], bodies["oval"] = 0.08, 0.08
    return bodies
