"""Paint a stained section around the annotated nuclei of any image, for nuclei that no training image shows.

The annotated images come from few slides. Their outlines, and those of cells imaged in fluorescence, are
painted anew as haematoxylin and eosin sections: nuclei from black to pale with a dark rim, in cytoplasm
from clear to as blue as the nuclei, in epithelium, stroma or muscle, among red cells and vacuoles.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, label

from napari_lumen.training.stains import HAEMATOXYLIN, Array, random_eosin, smooth_noise, streaks, tilted

Mask = npt.NDArray[np.bool_]


def paint_section(grey: Array, nuclei: Mask, rng: np.random.Generator) -> Array:
    """Paint a haematoxylin and eosin field with these nuclei.

    Parameters
    ----------
    grey : ndarray
        (h, w) float32: the field as it was seen, of which only the relief inside the nuclei is used.
    nuclei : ndarray
        (h, w) bool.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        (h, w, 3) float32 in [0, 1].
    """
    outside = np.asarray(distance_transform_edt(~nuclei), np.float32)
    strength = rng.uniform(0.45, 2.2)
    chromatin = strength * _chromatin(grey, nuclei, rng)
    tissue = _tissue(nuclei, rng)
    cytoplasm, plasma = _cytoplasm(outside, tissue, strength, rng)
    stroma, gaps = _stroma(nuclei.shape, rng)
    inside = (~tissue).astype(np.float32)
    plasma = plasma + inside * stroma
    plasma = np.where(gaps & ~tissue, plasma * np.float32(rng.uniform(0, 0.2)), plasma)
    clearing = 1 - rng.uniform(0, 0.9) * (rng.random() < 0.4) * np.exp(-outside / rng.uniform(1, 4))
    cytoplasm, plasma = (cytoplasm * clearing).astype(np.float32), (plasma * clearing).astype(np.float32)
    if rng.random() < 0.35:
        cytoplasm, plasma = _vacuoles(cytoplasm, plasma, outside, rng)
    through = rng.uniform(0, 0.8)  # how much cytoplasm lies above and below a nucleus in the section
    body = gaussian_filter(nuclei.astype(np.float32), rng.uniform(0.3, 0.9))
    share = 1 - body * (1 - through)
    red_cells = _red_cells(outside, rng) if rng.random() < 0.35 else np.zeros_like(plasma)

    haematoxylin = tilted(HAEMATOXYLIN, rng, 0.1)
    blue = tilted(haematoxylin, rng, 0.05)
    eosin, red = random_eosin(rng), random_eosin(rng)
    density = (chromatin * body)[..., None] * haematoxylin
    density = density + (cytoplasm * share)[..., None] * blue + (plasma * share)[..., None] * eosin
    density = density + (red_cells * (1 - body))[..., None] * red
    glass = rng.uniform(0.86, 1.0) * rng.uniform(0.97, 1.0, 3)
    return np.asarray(np.exp(-density) * glass, np.float32)


def crowd(nuclei: Mask, others: Mask) -> Mask:
    """Add those of the `others` that keep clear of the nuclei there are; (h, w) bool in and out."""
    objects, _ = label(others)
    kept = ~np.isin(objects, np.unique(objects[binary_dilation(nuclei, iterations=2)]))
    return np.asarray(nuclei | (others & kept))


def lay_keratin(rgb: Array, nuclei: Mask, rng: np.random.Generator) -> tuple[Array, Mask]:
    """Replace a part of a field by keratin: dark lamellae with clefts, or dense granules, without nuclei.

    Parameters
    ----------
    rgb : ndarray
        (h, w, 3) float32 in [0, 1].
    nuclei : ndarray
        (h, w) bool.
    rng : numpy.random.Generator

    Returns
    -------
    (ndarray, ndarray)
        The field and the nuclei that are left.
    """
    shape = nuclei.shape
    # behind a wavy line: an island of the size of a nucleus would be told from one by nothing
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    angle, side = rng.uniform(0, 2 * np.pi), max(shape)
    across = (rows - shape[0] / 2) * np.sin(angle) + (columns - shape[1] / 2) * np.cos(angle)
    there = across + side / 12 * smooth_noise(shape, side / 3, rng) > rng.uniform(-0.4, 0.3) * side
    if rng.random() < 0.6:
        texture = streaks(shape, rng, rng.uniform(3, 14))
        clefts = texture > rng.uniform(0.8, 2.5)
    else:
        texture = smooth_noise(shape, rng.uniform(0.8, 2.5), rng)
        clefts = np.zeros(shape, bool)
    ground = np.clip(1 + rng.uniform(0.1, 0.6) * texture, 0.1, 2.2)
    ground = ground * np.clip(1 + 0.4 * smooth_noise(shape, rng.uniform(5, 25), rng), 0.2, 1.8)
    share = rng.uniform(0.15, 0.85)
    colour = share * tilted(HAEMATOXYLIN, rng, 0.08) + (1 - share) * random_eosin(rng)
    density = np.where(clefts, rng.uniform(0, 0.1), ground * rng.uniform(0.5, 2.4))
    laid = np.exp(-density[..., None] * colour) * rng.uniform(0.9, 1.0)
    weight = gaussian_filter(there.astype(np.float32), rng.uniform(0.3, 1.5))[..., None]
    return np.asarray(rgb * (1 - weight) + laid * weight, np.float32), np.asarray(nuclei & ~there)


def _chromatin(grey: Array, nuclei: Mask, rng: np.random.Generator) -> Array:
    """Density inside nuclei about 1, per nucleus from solid to an open centre with a rim and nucleoli."""
    shape = nuclei.shape
    objects, count = label(nuclei)
    inner = np.asarray(distance_transform_edt(nuclei), np.float32)
    each = np.exp(rng.normal(0, rng.uniform(0.05, 0.45), count + 1)).astype(np.float32)
    openness = rng.uniform(0.3, 0.95, count + 1) * (rng.random(count + 1) < rng.choice((0, 0.4, 1.0)))
    rim = np.exp(-np.maximum(inner - 1, 0) / rng.uniform(0.5, 1.6))
    profile = 1 - openness[objects].astype(np.float32) * (1 - rim)
    clumps = 1 + rng.uniform(0, 0.45) * smooth_noise(shape, rng.uniform(0.9, 2.5), rng)
    nucleoli = smooth_noise(shape, rng.uniform(1.2, 2.2), rng) > 2.1
    relief = np.abs(grey - np.median(grey[nuclei])) if nuclei.any() else grey
    relief = 1 - rng.uniform(0, 0.6) * np.clip(relief / max(float(relief.max()), 0.05), 0, 1)
    density = profile * np.clip(clumps, 0.2, 2) * relief + 0.6 * rng.random() * (nucleoli & (inner > 1.5))
    return np.asarray(density * each[objects], np.float32)


def _tissue(nuclei: Mask, rng: np.random.Generator) -> Mask:
    """Return where cells lie densely, as in epithelium: all, none, or sharply bounded around nuclei."""
    kind = rng.random()
    if kind < 0.25:
        return np.ones_like(nuclei)
    if kind < 0.4:
        return np.zeros_like(nuclei)
    near = gaussian_filter(nuclei.astype(np.float32), rng.uniform(5, 16))
    near = near / max(float(near.max()), 1e-3) + rng.uniform(0, 0.3) * smooth_noise(nuclei.shape, 20, rng)
    return np.asarray(near > rng.uniform(0.1, 0.7))


def _cytoplasm(
    outside: Array, tissue: Mask, strength: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return the haematoxylin and the eosin of the cells' bodies."""
    shape = tissue.shape
    lobes = np.clip(0.7 + rng.uniform(0, 0.8) * smooth_noise(shape, rng.uniform(6, 30), rng), 0, 1.5)
    grains = np.clip(1 + rng.uniform(0, 0.35) * smooth_noise(shape, rng.uniform(0.8, 4), rng), 0, 2)
    # up to most of the nuclei's own strength: there only rim and texture tell a nucleus
    blue = strength * rng.uniform(0, 0.25 if rng.random() < 0.4 else 0.75) * lobes * grains
    pink = rng.uniform(0.05, 0.9) * np.clip(2 - lobes * grains, 0.2, 2) * rng.uniform(0.5, 1)
    body = tissue.astype(np.float32)
    if rng.random() < 0.4:  # loose cells: cytoplasm only around nuclei
        body = body * (outside < rng.uniform(3, 14))
    body = gaussian_filter(body, rng.uniform(0.4, 1.5))
    return np.asarray(blue * body, np.float32), np.asarray(pink * body, np.float32)


def _stroma(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Array, Mask]:
    """Return the eosin of fibres, and the gaps between them."""
    fibres = streaks(shape, rng)
    patches = smooth_noise(shape, rng.uniform(6, 30), rng)
    eosin = rng.uniform(0, 0.9) * np.clip(0.6 + rng.uniform(0, 0.7) * fibres, 0, 1.6)
    eosin = eosin * np.clip(0.85 + rng.uniform(0, 0.4) * patches, 0.1, 1.6)
    texture = fibres if rng.random() < 0.5 else smooth_noise(shape, rng.uniform(4, 25), rng)
    return np.asarray(eosin, np.float32), np.asarray(texture > rng.uniform(-0.5, 2.0))


def _vacuoles(
    cytoplasm: Array, plasma: Array, outside: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Clear round holes between nuclei, as mucin, fat and lumina leave them, some with a blue content."""
    distance = _discs(outside, int(rng.integers(3, 25)), (2.0, 12.0), rng)
    hole = np.clip(distance + 0.5, 0, 1)
    left = 1 - hole * rng.uniform(0.6, 1)
    mucin = hole * rng.uniform(0, 0.25) * rng.choice((0.0, 1.0))
    return np.asarray(cytoplasm * left + mucin, np.float32), np.asarray(plasma * left, np.float32)


def _red_cells(outside: Array, rng: np.random.Generator) -> Array:
    """Discs as large as nuclei, of eosin alone, some pale in the middle."""
    distance = _discs(outside, int(rng.integers(5, 60)), (4.0, 8.0), rng)
    pallor = 1 - rng.uniform(0, 0.5) * np.clip(distance / 4, 0, 1)
    return np.asarray(np.clip(distance + 0.5, 0, 1) * pallor * rng.uniform(0.4, 1.4), np.float32)


def _discs(outside: Array, count: int, radii: tuple[float, float], rng: np.random.Generator) -> Array:
    """Depth below the border of discs that keep clear of the nuclei, px; negative outside them."""
    rows, columns = np.ogrid[: outside.shape[0], : outside.shape[1]]
    depth = np.full(outside.shape, -8.0, np.float32)
    for _ in range(count):
        y, x = rng.integers(outside.shape[0]), rng.integers(outside.shape[1])
        radius = min(rng.uniform(*radii), float(outside[y, x]) - 1)
        if radius >= 2:
            np.maximum(depth, radius - np.hypot(rows - y, columns - x), out=depth, casting="unsafe")
    return depth
