"""The tissue as smooth maps on a coarse lattice: distances to glands, tumour and fat, fibre direction, cells.

One tile covers 128 x 128 nodes about 2 µm apart, with a margin, and is drawn from positions alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_lumen.slides.synthetic.glands import Glands
from napari_lumen.slides.synthetic.layout import BORDER_ZONE, FAR, Kind, Layout
from napari_lumen.slides.synthetic.noise import I64, Floats, SmoothNoise, derive, uniform

NODES = 128  # nodes along a side of a tile
MARGIN = 10  # nodes beyond each side
_NEST = 88.0  # µm between the lattice sites of tumour glands
_CELL_FAT = 62.0  # µm between fat cells


@dataclass(frozen=True, slots=True)
class Fields:
    """Maps of one tile, each (n, n) float32 with n = 128 + 2 * margin; distances in µm, negative inside.

    Attributes
    ----------
    y, x : ndarray (n,)
        Positions of the nodes, µm.
    tissue : distance to the tissue's edge.
    gland, gland_wall, gland_mucin, gland_shade : distance to the nearest gland, and that gland's traits.
    in_situ, invasive, lymphoid, adipose : distance to the border of the nearest field of that kind.
    tumour : distance to the nearest outline of a nest of tumour.
    tumour_wall : height of the epithelium of that nest, beyond which it has a lumen.
    tumour_shade : depth of its stain, about 1.
    fat : distance to the nearest wall of a fat cell, positive outside fat.
    along, across : curvilinear coordinates along and across the collagen fibres, µm.
    lymphocytes : share of the sites that hold a lymphocyte, 0 to 1.
    """

    y: Floats
    x: Floats
    tissue: Floats
    gland: Floats
    gland_wall: Floats
    gland_mucin: Floats
    gland_shade: Floats
    in_situ: Floats
    invasive: Floats
    lymphoid: Floats
    adipose: Floats
    tumour: Floats
    tumour_wall: Floats
    tumour_shade: Floats
    fat: Floats
    along: Floats
    across: Floats
    lymphocytes: Floats

    @property
    def glass(self) -> bool:
        """Whether the tile holds no tissue at all."""
        return float(self.tissue.min()) > 30.0

    def sample(self, values: Floats, y: Floats, x: Floats) -> Floats:
        """Interpolate a map bilinearly at points inside the tile and its margin, µm."""
        step = self.y[1] - self.y[0]
        row = np.clip((y - self.y[0]) / step, 0, len(self.y) - 1.001)
        column = np.clip((x - self.x[0]) / step, 0, len(self.x) - 1.001)
        i, j = row.astype(np.int64), column.astype(np.int64)
        ty, tx = row - i, column - j
        upper = values[i, j] * (1 - tx) + values[i, j + 1] * tx
        lower = values[i + 1, j] * (1 - tx) + values[i + 1, j + 1] * tx
        return np.asarray(upper * (1 - ty) + lower * ty)

    def direction(self, values: Floats, y: Floats, x: Floats) -> Floats:
        """Return the angle (x towards y, radians) in which a map rises fastest, at points."""
        reach = 2.0
        rise_y = self.sample(values, y + reach, x) - self.sample(values, y - reach, x)
        rise_x = self.sample(values, y, x + reach) - self.sample(values, y, x - reach)
        return np.asarray(np.arctan2(rise_y, rise_x))


class FieldMaker:
    """Draws the fields of any tile of a slide."""

    def __init__(self, layout: Layout, glands: Glands, seed: int) -> None:
        self._layout, self._glands, self._seed = layout, glands, seed
        noise = [
            SmoothNoise(derive(seed, number), spacing)
            for number, spacing in enumerate(
                (520, 520, 95, 95, 30, 30, 11, 11, 60, 22, 180, 45, 30, 30, 1100)  # µm
            )
        ]
        (
            self._bend_v, self._bend_u, self._wave_v, self._wave_u, self._kink_y, self._kink_x,
            self._fine_y, self._fine_x, self._septum, self._lumen, self._gate, self._patch,
            self._fat_y, self._fat_x, self._main,
        ) = noise  # fmt: skip

    def __call__(self, top: float, left: float, step: float) -> Fields:
        """Draw the tile whose first inner node lies half a step from (top, left), all in µm."""
        offsets = (np.arange(NODES + 2 * MARGIN) - MARGIN + 0.5) * step
        y, x = (top + offsets)[:, None], (left + offsets)[None]
        box = float(y[0, 0]), float(x[0, 0]), float(y[-1, 0]), float(x[0, -1])
        tissue = self._layout.island(y, x)
        features = self._layout.features(*box)
        warp = self._layout.warp(y, x) if features else None
        distances = [self._layout.distance(feature, y, x, warp) for feature in features]
        for feature, distance in zip(features, distances, strict=True):
            tissue = self._layout.joined(tissue, distance, feature.kind)
        shape = tissue.shape
        far = np.full(shape, FAR, np.float32)
        if float(tissue.min()) > 30.0:
            flat = np.zeros(shape, np.float32)
            return Fields(
                y[:, 0], x[0], tissue.astype(np.float32), far, flat, flat, flat, far, far, far, far,
                far, flat, flat, far, flat, flat, flat,
            )  # fmt: skip
        kinds = {kind: np.full(shape, FAR) for kind in Kind}
        for feature, distance in zip(features, distances, strict=True):
            np.minimum(kinds[feature.kind], distance, out=kinds[feature.kind])
        glands = self._glands.near(*box)
        gland, index = self._glands.distances(glands, y, x)
        traits = np.array([(item.wall, item.mucin, item.shade) for item in glands] + [(22.0, 0.0, 1.0)])
        wall, mucin, shade = np.moveaxis(traits[index.astype(np.int64)], -1, 0)
        tumour, tumour_wall, tumour_shade = self._tumour(y, x, kinds[Kind.IN_SITU], kinds[Kind.INVASIVE])
        fat = np.full(shape, FAR)
        if kinds[Kind.ADIPOSE].min() < 90:
            # The rim of the tissue closes over fat cells.
            fat = np.maximum(self._fat(y, x, kinds[Kind.ADIPOSE]), tissue + 11.0)
        along, across = self._fibres(y, x, gland, kinds)
        maps = (
            tissue, gland, wall, mucin, shade,
            kinds[Kind.IN_SITU], kinds[Kind.INVASIVE], kinds[Kind.LYMPHOID], kinds[Kind.ADIPOSE],
            tumour, tumour_wall, tumour_shade, fat, along, across,
            self._lymphocytes(y, x, gland, kinds),
        )  # fmt: skip
        return Fields(y[:, 0], x[0], *(np.asarray(item, np.float32) for item in maps))

    def _tumour(
        self, y: Floats, x: Floats, in_situ: Floats, invasive: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Back-to-back irregular glands: the cells of a warped, jittered lattice, with thin septa between."""
        border = np.minimum(in_situ, invasive)
        ones = np.ones(border.shape)
        if border.min() > 130:
            return FAR * ones, ones, ones
        warped_y = y + 9.0 * self._kink_y(y, x) + 2.2 * self._fine_y(y, x)
        warped_x = x + 9.0 * self._kink_x(y, x) + 2.2 * self._fine_x(y, x)
        edge, site_y, site_x, row, column = _cells(derive(self._seed, 40), warped_y, warped_x, _NEST, 0.8)
        turn = [uniform(derive(self._seed, 41, k), row, column) for k in range(4)]
        # Within the border zone, and only there, in situ and invasive tumour differ.
        outer = np.clip(invasive / BORDER_ZONE + 1, 0, 3)
        septum = 2.6 + 2.4 * self._septum(y, x) + np.where(invasive < in_situ, 9.0 * outer, 0.0)
        nests = septum - edge
        # A nest is in or out as a whole, by the depth of its middle.
        depth = self._depth(site_y, site_x, invasive, y, x)
        left_out = (invasive < in_situ) & (depth + 60 * turn[0] > 62)
        nests = np.where(left_out, edge + 4.0, nests)
        spread = np.maximum(nests, (invasive - 85) / 2)
        tumour = np.where(invasive < in_situ, spread, np.maximum(nests, in_situ + 4.4))
        wall = 22 + 22 * turn[1] ** 1.5 + 4.5 * self._lumen(y, x)
        return tumour, wall, 0.86 + 0.28 * turn[2]

    @staticmethod
    def _depth(site_y: Floats, site_x: Floats, invasive: Floats, y: Floats, x: Floats) -> Floats:
        """Estimate the distance to the border at each pixel's site from the distance and its slope here."""
        slope_y, slope_x = np.gradient(invasive, y[:, 0], x[0])
        return np.asarray(invasive + (site_y - y) * slope_y + (site_x - x) * slope_x)

    def _fat(self, y: Floats, x: Floats, adipose: Floats) -> Floats:
        """Signed distance to the nearest fat cell: cells of a jittered lattice that lie in the field."""
        warped_y, warped_x = y + 4.0 * self._fat_y(y, x), x + 4.0 * self._fat_x(y, x)
        seed = derive(self._seed, 42)
        edge, site_y, site_x, row, column = _cells(seed, warped_y, warped_x, _CELL_FAT, 0.75)
        depth = self._depth(site_y, site_x, adipose, y, x)
        keep = depth + 30 * uniform(derive(self._seed, 43), row, column) < 0
        # Rounded corners: a fat cell is bounded by its own radius as well as by its neighbours.
        round_off = np.hypot(warped_y - site_y, warped_x - site_x) - 0.72 * _CELL_FAT
        inside = np.maximum(1.05 - edge, round_off)
        return np.asarray(np.where(keep, inside, np.maximum(0.9 + edge, 1.0)))

    def _fibres(
        self, y: Floats, x: Floats, gland: Floats, kinds: dict[Kind, Floats]
    ) -> tuple[Floats, Floats]:
        """Fibres run along the level lines of `across`; they wrap around glands and fields."""
        turn = 0.9 * self._main(np.array([[0.0]]), np.array([[0.0]]))[0, 0]
        across = y * np.cos(turn) + x * np.sin(turn) + 190 * self._bend_v(y, x) + 17 * self._wave_v(y, x)
        along = x * np.cos(turn) - y * np.sin(turn) + 90 * self._bend_u(y, x) + 12 * self._wave_u(y, x)
        across = across + 38 * np.exp(-np.clip(gland, 0, None) / 26)
        # Stroma closes in lamellae around a duct or follicle, and is pushed about by an invasive tumour;
        # inside, all is as if the fields were one: the septa of a tumour do not tell what it is.
        smooth = np.minimum(kinds[Kind.IN_SITU], kinds[Kind.LYMPHOID])
        lamellae = np.exp(-np.clip(smooth, 0, None) / 50)
        pushed = np.exp(-np.clip(kinds[Kind.INVASIVE] + BORDER_ZONE, 0, None) / 90)
        across = across + 95 * np.maximum(lamellae, pushed)
        return along, across

    def _lymphocytes(self, y: Floats, x: Floats, gland: Floats, kinds: dict[Kind, Floats]) -> Floats:
        """Follicles, a cuff around them, patches along an invasive border, a few in the lamina propria."""
        gate = np.clip(0.5 + 0.9 * self._gate(y, x), 0, 1)
        patch = np.clip(0.35 + 0.8 * self._patch(y, x), 0, 1)
        share = 0.006 + 0.26 * np.exp(-np.clip(gland - 3, 0, None) / 26) * gate * patch
        follicle = kinds[Kind.LYMPHOID]
        share = share + 0.9 / (1 + np.exp(np.clip(follicle / 6, -30, 30)))
        share = share + 0.30 * np.exp(-np.clip(follicle, 0, None) / 38) * patch
        invasive = kinds[Kind.INVASIVE]
        front = np.exp(-(np.clip(invasive - 25, 0, None) / 38)) * np.clip((invasive + 50) / 40, 0, 1)
        return np.asarray(share + 0.42 * front * gate * (0.3 + patch))


def _cells(
    seed: int, y: Floats, x: Floats, pitch: float, jitter: float
) -> tuple[Floats, Floats, Floats, I64, I64]:
    """Partition the plane by the nearest site of a jittered lattice.

    Returns
    -------
    edge, site_y, site_x, row, column : ndarray (h, w)
        Distance to the nearest border between two cells; the position and the lattice indices of the site.
    """
    base_y, base_x = np.floor(y / pitch).astype(np.int64), np.floor(x / pitch).astype(np.int64)
    first_row, first_column = int(base_y.min()) - 1, int(base_x.min()) - 1
    rows = np.arange(first_row, int(base_y.max()) + 2)[:, None]
    columns = np.arange(first_column, int(base_x.max()) + 2)[None]
    sites_y = ((rows + 0.5 + jitter * (uniform(seed, rows, columns) - 0.5)) * pitch).ravel()
    sites_x = ((columns + 0.5 + jitter * (uniform(seed + 1, rows, columns) - 0.5)) * pitch).ravel()
    wide = columns.shape[1]
    home = (base_y - first_row) * wide + base_x - first_column
    best, own = np.full(y.shape, np.inf), np.zeros(y.shape, np.int64)
    around = [i * wide + j for i in (-1, 0, 1) for j in (-1, 0, 1)]
    squares = []
    for offset in around:
        square = (y - sites_y.take(home + offset)) ** 2 + (x - sites_x.take(home + offset)) ** 2
        squares.append(square)
        nearer = square < best
        np.copyto(best, square, where=nearer)
        np.copyto(own, home + offset, where=nearer)
    site_y, site_x = sites_y.take(own), sites_x.take(own)
    edge = np.full(y.shape, FAR)
    for offset, square in zip(around, squares, strict=True):
        apart = np.hypot(sites_y.take(home + offset) - site_y, sites_x.take(home + offset) - site_x)
        border = np.where(apart > 1e-6, (square - best) / (2 * np.maximum(apart, 1e-6)), FAR)
        np.minimum(edge, border, out=edge)
    return edge, site_y, site_x, own // wide + first_row, own % wide + first_column
