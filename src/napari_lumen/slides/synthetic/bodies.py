"""Painting small bodies over the tissue: vacuoles, vessel lumina, red cells, cytoplasm and nuclei."""

from __future__ import annotations

import numpy as np

from napari_lumen.slides.synthetic.inclusions import VESSEL
from napari_lumen.slides.synthetic.noise import I64, Floats, Table, derive
from napari_lumen.slides.synthetic.nuclei import LYMPHOCYTE, Records
from napari_lumen.slides.synthetic.paint import Canvas, Stain, step_up
from napari_lumen.slides.synthetic.stamps import Stamps, local_axes


class BodyPainter:
    """Paints bodies that `rasterise` has laid on a block; the seed fixes the chromatin's texture."""

    def __init__(self, seed: int) -> None:
        self._table = Table(derive(seed, 1))

    def holes(self, stain: Stain, bodies: Stamps, records: Records) -> None:
        """Paint vacuoles and vessel lumina over the tissue."""
        if not len(records):
            return
        where = bodies.index >= 0
        index, rho = bodies.index[where], bodies.rho[where]
        distance = (rho - 1) * records["b"][index]
        vessel = records["kind"][index] == VESSEL
        inside = step_up(-distance, 0.9)
        rim = np.exp(-(((distance - 0.3) / 0.6) ** 2))
        blue = np.where(vessel, 0.0, 0.085).astype(np.float32)
        pink = np.where(vessel, 0.02, 0.03).astype(np.float32)
        cover = np.where(vessel, 0.96, 0.76).astype(np.float32) * inside
        for values, target, more in ((stain.haematoxylin, blue, 0.02), (stain.eosin, pink, 0.06)):
            old = values[where]
            values[where] = old + cover * (target - old) + np.float32(more) * rim

    def cytoplasm(self, stain: Stain, bodies: Stamps, records: Records) -> None:
        """Paint the cytoplasm of plasma cells and of active fibroblasts, bluish, fading outwards."""
        if not len(records):
            return
        where = bodies.index >= 0
        index, rho = bodies.index[where], bodies.rho[where]
        distance = (rho - 1) * records["b"][index]
        share = step_up(-distance, 1.6) * (0.75 * records["clump"][index])
        for values, target in ((stain.haematoxylin, 0.24), (stain.eosin, 0.26)):
            values[where] += share * (target - values[where])

    def red_cells(self, stain: Stain, bodies: Stamps, records: Records) -> None:
        """Paint red cells: no nucleus, a paler middle."""
        if not len(records):
            return
        where = bodies.index >= 0
        index, rho = bodies.index[where], bodies.rho[where]
        distance = (rho - 1) * records["b"][index]
        amount = step_up(-distance, 0.8) * records["dark"][index] * (0.30 + 0.14 * np.minimum(rho, 1) ** 2)
        stain.red[where] += amount
        stain.eosin[where] *= 1 - step_up(-distance, 0.8)

    def nuclei(self, canvas: Canvas, stain: Stain, bodies: Stamps, records: Records) -> None:
        """Paint nuclei: dark rim, clumped chromatin, pale vesicular middles, nucleoli."""
        if not len(records):
            return
        rows, columns = np.nonzero(bodies.index >= 0)
        index, rho = bodies.index[rows, columns], bodies.rho[rows, columns]
        own = {name: records[name].astype(np.float32)[index] for name in _PAINTED}
        distance = (rho - 1) * own["b"]
        inside = step_up((0.1 - distance) / own["soft"], 1.0)
        dy = (canvas.y[rows, 0] - records["y"][index]).astype(np.float32)
        dx = (canvas.x[0, columns] - records["x"][index]).astype(np.float32)
        chromatin = self._chromatin(canvas, rows, columns)
        rim = np.exp(-(((distance + 0.55) / 0.55) ** 2)) / own["soft"]
        middle = np.clip(1 - rho, 0, 1)
        amount = 1 - own["vesicle"] * step_up(middle - 0.12, 0.5) + (0.16 + 0.4 * own["vesicle"]) * rim
        amount *= 1 + own["clump"] * chromatin
        u, v = local_axes(dy, dx, own)
        spot = np.hypot((u - own["spot_u"]) * own["a"], (v - own["spot_v"]) * own["b"])
        nucleolus = own["nucleolus"] * step_up(1.25 - spot, 1.1)
        amount = own["dark"] * amount * (1.1 - 0.1 * own["soft"]) + 0.75 * nucleolus / own["soft"]
        halo = np.where(own["kind"] == LYMPHOCYTE, 0.25, 0.12) * np.exp(-(((distance - 0.7) / 0.5) ** 2))
        blue, pink = stain.haematoxylin[rows, columns], stain.eosin[rows, columns]
        stain.haematoxylin[rows, columns] = blue * (1 - halo) + inside * (np.clip(amount, 0.1, 1.7) - blue)
        stain.eosin[rows, columns] = pink * (1 - halo) + inside * (0.09 + 0.25 * nucleolus - 0.66 * pink)

    def _chromatin(self, canvas: Canvas, rows: I64, columns: I64) -> Floats:
        y = canvas.y[rows, 0].astype(np.float32)
        x = canvas.x[0, columns].astype(np.float32)
        return np.asarray(0.7 * self._table(y / 1.05, x / 1.05) + 0.6 * self._table(y / 2.1 + 99, x / 2.1))


_PAINTED = (
    "a", "b", "angle", "bend", "taper", "kind",
    "dark", "soft", "vesicle", "clump", "nucleolus", "spot_u", "spot_v",
)  # fmt: skip
