"""The bodies of epithelial cells, which the nuclei imply: every place belongs to the nearest nucleus."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from napari_lumen.slides.synthetic.fields import Fields
from napari_lumen.slides.synthetic.noise import Floats
from napari_lumen.slides.synthetic.nuclei import MALIGNANT, Records

_FAR = 50.0


def cell_map(fields: Fields, nuclei: Records) -> tuple[Floats, Floats] | None:
    """Return the borders and tones of epithelial cells on the coarse lattice of a tile.

    Parameters
    ----------
    fields : Fields
        The tile.
    nuclei : ndarray of records
        All nuclei of the tile and of at least 40 µm around its margin.

    Returns
    -------
    (ndarray (n, n), ndarray (n, n)) or None
        Distance to the nearest border in µm and tone in -1 to 1, float32; None where there is no epithelium.
    """
    where = np.nonzero((fields.gland < 3) | (fields.tumour < 3))
    nuclei = nuclei[nuclei["kind"] <= MALIGNANT]
    if not len(where[0]) or len(nuclei) < 2:
        return None
    centres = np.stack([nuclei["y"], nuclei["x"]], axis=1)
    points = np.stack([fields.y[where[0]], fields.x[where[1]]], axis=1)
    distance, index = cKDTree(centres).query(points, k=2)
    apart = np.hypot(*(centres[index[:, 0]] - centres[index[:, 1]]).T)
    edge = np.full(fields.gland.shape, _FAR, np.float32)
    tone = np.zeros(fields.gland.shape, np.float32)
    edge[where] = np.minimum((distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * np.maximum(apart, 0.1)), _FAR)
    tone[where] = (nuclei["id"][index[:, 0]] * 0.6180339887 % 1.0) * 2 - 1
    return edge, tone
