"""What stains how much: haematoxylin, eosin and red cells at every pixel of a block, as optical density.

One unit of a stain is about the haematoxylin of a dark nucleus. Smooth fields are drawn on the coarse lattice
and interpolated; texture is drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_lumen.slides.synthetic.fields import MARGIN, Fields
from napari_lumen.slides.synthetic.layout import FAR
from napari_lumen.slides.synthetic.noise import Floats, SmoothNoise, Table, Taps, derive, interpolate


@dataclass(slots=True)
class Stain:
    """Optical densities of a block: haematoxylin, eosin, red cells, each (h, w) float32, at least 0."""

    haematoxylin: Floats
    eosin: Floats
    red: Floats


@dataclass(frozen=True, slots=True)
class Canvas:
    """A block of pixels with the fields of its tile.

    Attributes
    ----------
    fields : Fields
        Coarse maps.
    y, x : ndarray (h, 1) and (1, w)
        Centres of the pixels, µm.
    taps : (Taps, Taps)
        Interpolate a coarse map to the pixels, along y and x.
    cells : (ndarray (n, n), ndarray (n, n)) or None
        Coarse maps of the epithelial cells: distance to the nearest border between two cells in µm, and the
        tone of the cell, -1 to 1.
    """

    fields: Fields
    y: Floats
    x: Floats
    taps: tuple[Taps, Taps]
    cells: tuple[Floats, Floats] | None = None

    @classmethod
    def of(
        cls,
        fields: Fields,
        top: int,
        left: int,
        height: int,
        width: int,
        mpp: float,
        cells: tuple[Floats, Floats] | None = None,
    ) -> Canvas:
        """Lay a canvas on a block of level-0 pixels within the tile of `fields` and its margin."""
        y = (top + np.arange(height) + 0.5) * mpp
        x = (left + np.arange(width) + 0.5) * mpp
        step = fields.y[1] - fields.y[0]
        taps = (
            Taps.of((y - fields.y[0]) / step, 0, len(fields.y)),
            Taps.of((x - fields.x[0]) / step, 0, len(fields.x)),
        )
        return cls(fields, y[:, None], x[None], taps, cells)

    def fine_open(self, values: Floats) -> Floats:
        """Interpolate a coarse map of unbounded values to the pixels."""
        return interpolate(values, *self.taps)

    def cell_side(self) -> Floats:
        """Return 1 on the borders between epithelial cells, 0 elsewhere (h, w)."""
        if self.cells is None:
            return np.zeros((len(self.y), self.x.shape[1]), np.float32)
        return np.asarray(np.exp(-((self.fine_open(self.cells[0]) / 0.95) ** 2)))

    def cell_tone(self) -> Floats:
        """Return the tone of the epithelial cell at each pixel, -1 to 1 (h, w)."""
        if self.cells is None:
            return np.zeros((len(self.y), self.x.shape[1]), np.float32)
        return self.fine_open(self.cells[1])

    def fine(self, values: Floats) -> Floats:
        """Interpolate a coarse map to the pixels; a map that is far everywhere stays so, at no cost."""
        low = float(values[MARGIN // 2 : -MARGIN // 2, MARGIN // 2 : -MARGIN // 2].min())
        if low > 0.5 * FAR:
            return np.full((len(self.y), self.x.shape[1]), FAR, np.float32)
        return interpolate(np.minimum(values, 500.0), *self.taps)


def step_up(values: Floats, width: float = 1.0) -> Floats:
    """Return a smooth step from 0 at -width / 2 to 1 at width / 2."""
    t = np.clip(values * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


class Painter:
    """Paints the tissue of a slide; the seed fixes every texture."""

    def __init__(self, seed: int) -> None:
        self._table = Table(derive(seed, 1))
        self._noise = {
            name: SmoothNoise(derive(seed, 2, number), spacing)
            for number, (name, spacing) in enumerate(
                (("rough", 5.5), ("fine", 2.0), ("grain", 0.95), ("loose", 75.0), ("cleft", 34.0),
                 ("cloud", 14.0), ("dense", 160.0), ("grain2", 1.7))
            )
        }  # fmt: skip

    def tissue(self, canvas: Canvas) -> Stain:
        """Paint everything but nuclei, vessels and vacuoles."""
        fields = canvas.fields
        noise = self._noises(canvas)
        gland = canvas.fine(fields.gland) + 0.75 * noise["rough"]
        tumour = canvas.fine(fields.tumour) + 0.75 * noise["rough"]
        stain, thick = self._stroma(canvas, noise, gland, tumour)
        if fields.lymphoid.min() < 30:
            self._follicle(canvas, stain, noise)
        if fields.fat.min() < 0:
            self._fat(canvas, stain, noise)
        if fields.gland.min() < 6:
            self._gland(canvas, stain, noise, gland)
        if fields.tumour.min() < 2:
            self._tumour(canvas, stain, noise, tumour)
        if fields.tissue.max() > -30:
            ragged = self._ragged(canvas, noise, thick)
            solid = step_up(-ragged, 1.6)
            rim = 1 + 0.22 * np.exp(-np.abs(ragged) / 4)
            stain.eosin *= solid * rim
            stain.haematoxylin *= solid
        return stain

    def edge(self, canvas: Canvas) -> Floats:
        """Return the signed distance to the frayed edge of the tissue, µm, negative in tissue (h, w)."""
        if canvas.fields.tissue.max() <= -30:
            return canvas.fine(canvas.fields.tissue)
        noise = self._noises(canvas)
        along, _, q, _ = self._flow(canvas, noise)
        return self._ragged(canvas, noise, self._thick(along, q))

    def _noises(self, canvas: Canvas) -> dict[str, Floats]:
        at = canvas.y, canvas.x
        return {name: np.asarray(noise(*at), np.float32) for name, noise in self._noise.items()}

    def _flow(self, canvas: Canvas, noise: dict[str, Floats]) -> tuple[Floats, Floats, Floats, Floats]:
        """Positions along and across fibres in µm, across them in bundles, and a texture of the fibres."""
        table = self._table
        along, across = canvas.fine_open(canvas.fields.along), canvas.fine_open(canvas.fields.across)
        across += 2.3 * table(across / 24, along / 13) + 1.0 * noise["rough"] + 2.3 * noise["cloud"]
        medium = table(across / 3.1 + 77, along / 38)
        return along, across, across / 7.5 + 0.30 * medium, medium

    def _thick(self, along: Floats, q: Floats) -> Floats:
        """Tone of each bundle."""
        return self._table.along(np.floor(q) + 31, along / 50)

    @staticmethod
    def _ragged(canvas: Canvas, noise: dict[str, Floats], thick: Floats) -> Floats:
        """Some bundles reach beyond the tissue's edge, others end before it."""
        wave = 2.0 * noise["rough"] + 2.5 * noise["cloud"]
        return np.asarray(canvas.fine(canvas.fields.tissue) + 6.0 * thick + wave)

    def _stroma(
        self, canvas: Canvas, noise: dict[str, Floats], gland: Floats, tumour: Floats
    ) -> tuple[Stain, Floats]:
        """Collagen: bundles of their own tone, slits that taper between them, fibrils inside them."""
        fields, table = canvas.fields, self._table
        step = fields.y[1] - fields.y[0]
        squeeze = np.hypot(*np.gradient(fields.across)) / step
        # Where the lines crowd, the finest would alias: they fade.
        room = canvas.fine_open(np.clip(1.9 - squeeze, 0, 1).astype(np.float32))
        along, across, q, medium = self._flow(canvas, noise)
        near = np.exp(-np.clip(np.minimum(gland, tumour), 0, None) / 16)
        frayed = np.exp(np.clip(canvas.fine(fields.tissue), -200, 0) / 14)
        loose = 0.40 + 0.35 * frayed + 0.22 * near + 0.36 * noise["loose"] + 0.16 * noise["cleft"]
        loose = np.clip(loose, 0, 1.1)
        seam, thick = np.rint(q), self._thick(along, q)
        open_ = np.clip(table.along(seam, along / 26) - 1.35 + 1.75 * loose, 0, 1.3) * 0.30
        gaps = step_up((open_ - np.abs(q - seam)) * 7.5, 1.0)
        # Finer strands wander more, or they would look combed.
        across += 0.55 * noise["fine"] + 0.35 * noise["rough"]
        q = across / 2.7 + 0.5 * medium
        seam = np.rint(q)
        strand = table.along(np.floor(q) + 137, along / 20)
        open_ = np.clip(table.along(seam + 211, along / 13) - 1.5 + 1.35 * loose, 0, 1.2) * 0.34 * room
        gaps = np.maximum(gaps, 0.9 * step_up((open_ - np.abs(q - seam)) * 2.7, 0.9))
        thin = table(across / 1.15 + 191, along / 16) * room
        eosin = 0.385 + 0.105 * thick + 0.05 * medium + 0.055 * strand + 0.07 * thin - 0.09 * loose
        eosin += 0.05 * noise["grain"]
        # Dense, bright bundles here, pale and bluish ground substance there.
        eosin *= 1 + 0.12 * noise["dense"] + 0.10 * noise["loose"]
        eosin = np.clip(eosin, 0.05, None) * (1 - 0.95 * gaps)
        blue = 0.06 + 0.018 * np.clip(-noise["dense"], 0, None) + 0.03 * near + 0.02 * noise["cloud"]
        blue += 0.015 * strand + 0.012 * noise["grain"]
        blue = np.clip(blue * (1 - 0.9 * gaps), 0, None)
        return Stain(blue, eosin, np.zeros_like(eosin)), thick

    def _follicle(self, canvas: Canvas, stain: Stain, noise: dict[str, Floats]) -> None:
        inside = step_up(-canvas.fine(canvas.fields.lymphoid) + 3 * noise["rough"], 14.0)
        net = step_up(0.5 - np.abs(noise["fine"] + 0.4 * noise["grain2"]), 0.8)
        gaps = step_up(noise["rough"] - 0.9, 0.8)
        blue, pink = 0.12 + 0.04 * noise["grain2"], 0.12 + 0.07 * net + 0.04 * noise["grain"]
        _blend(stain, inside, blue * (1 - 0.7 * gaps), pink * (1 - 0.8 * gaps))

    def _fat(self, canvas: Canvas, stain: Stain, noise: dict[str, Floats]) -> None:
        fat = canvas.fine(canvas.fields.fat) + 0.25 * noise["rough"]
        # Strands between fat cells are thin but whole.
        strand = step_up(4.0 - fat, 3.0)
        _blend(stain, strand * 0.8, np.float32(0.06) + 0.02 * noise["fine"], 0.30 + 0.05 * noise["fine"])
        empty = step_up(-fat - 0.1, 0.9)
        stain.haematoxylin *= 1 - empty
        stain.eosin *= 1 - empty

    def _gland(self, canvas: Canvas, stain: Stain, noise: dict[str, Floats], gland: Floats) -> None:
        fields = canvas.fields
        wall = canvas.fine(fields.gland_wall) + 2.2 * noise["rough"] * 0.6 + 0.35 * noise["fine"]
        shade = canvas.fine(fields.gland_shade)
        depth = -gland
        inside = step_up(depth, 0.9)
        rise = np.clip(depth / np.maximum(wall, 5), 0, 1)
        texture = 0.02 * noise["fine"] + 0.028 * noise["grain2"] + 0.03 * noise["grain"]
        side = canvas.cell_side()
        tone = canvas.cell_tone()
        # Mucin makes the tops of the cells pale, more in some cells than in others.
        pale = step_up(rise - 0.5, 0.5) * np.clip(0.25 + 0.8 * tone + 1.2 * (1.05 - shade), 0, 1)
        eosin = (0.23 + 0.10 * rise + texture + 0.05 * tone) * shade * (1 - 0.45 * pale) + 0.08 * side
        blue = (0.21 - 0.10 * rise + 0.8 * texture + 0.03 * tone) * shade + 0.03 * side
        brush = np.exp(-(((depth - wall + 1.0) / 0.9) ** 2))
        eosin += 0.12 * brush
        cleft = step_up(noise["cleft"] - 0.75, 0.5) * step_up(gland - 0.4, 0.6) * step_up(4.2 - gland, 2.0)
        membrane = np.exp(-(((gland - 0.5) / 0.8) ** 2))
        stain.eosin *= 1 - 0.9 * cleft
        stain.haematoxylin *= 1 - 0.9 * cleft
        stain.eosin += 0.10 * membrane * (1 - cleft)
        _blend(stain, inside, blue, eosin)
        hollow = step_up(depth - wall, 0.9)
        mucus = np.clip(0.5 + noise["fine"] * 0.4 + 0.3 * noise["rough"], 0, 1)
        mucus *= np.clip(noise["cleft"] - 0.3, 0, 1)
        _blend(stain, hollow, 0.035 * mucus, 0.07 * mucus * step_up(shade - 1.0, 0.1))

    def _tumour(self, canvas: Canvas, stain: Stain, noise: dict[str, Floats], tumour: Floats) -> None:
        fields = canvas.fields
        wall = canvas.fine(fields.tumour_wall) + 1.6 * noise["rough"] + 0.35 * noise["fine"]
        shade = canvas.fine(fields.tumour_shade)
        depth = -tumour
        texture = 0.016 * noise["fine"] + 0.024 * noise["grain2"] + 0.034 * noise["grain"]
        side, tone = canvas.cell_side(), canvas.cell_tone()
        bubbles = step_up(noise["fine"] + 0.5 * noise["rough"] - 2.1, 0.5) * np.clip(0.5 + tone, 0, 1)
        inside = step_up(depth, 0.9)
        blue = (0.225 + texture + 0.075 * tone) * shade * (1 - 0.75 * bubbles) + 0.04 * side
        eosin = (0.25 + texture + 0.06 * tone) * shade * (1 - 0.7 * bubbles) + 0.14 * side
        _blend(stain, inside, blue, eosin)
        hollow = step_up(depth - wall, 0.9)
        debris = np.clip(0.5 * noise["cloud"] + 0.6 * noise["rough"] + 0.4 * noise["fine"] - 0.25, 0, 1)
        debris = debris * np.clip(0.7 + 0.35 * noise["fine"] + 0.3 * noise["grain2"], 0, 1.5)
        _blend(stain, hollow, 0.10 * debris, 0.20 * debris)


def _blend(stain: Stain, share: Floats, haematoxylin: Floats, eosin: Floats) -> None:
    stain.haematoxylin += share * (np.clip(haematoxylin, 0, None) - stain.haematoxylin)
    stain.eosin += share * (np.clip(eosin, 0, None) - stain.eosin)
