"""Augmentation of stained fields so that a model holds on other scanners, stains and magnifications."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from napari_lumen.training.stains import (
    HAEMATOXYLIN,
    INKS,
    Array,
    random_eosin,
    smooth_noise,
    streaks,
    tilted,
)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges of the random changes.

    Attributes
    ----------
    scale : (float, float)
        Log-uniform zoom around the nominal magnification.
    paint : float
        Probability that a stained field is painted anew around its nuclei; fluorescence always is.
    stretch : float
        Largest elongation of a painted field in one direction.
    crowd : float
        Probability that the nuclei of another field are added to a painted one.
    recolour : float
        Probability that another field is stained anew as haematoxylin and eosin from its own densities.
    decoys : float
        Probability that structures which are no nuclei are laid over the field.
    keratin : float
        Probability that a part of the field, with its nuclei, is replaced by keratin.
    blur : float
        Largest standard deviation of the Gaussian blur, px.
    """

    scale: tuple[float, float] = (0.65, 1.7)
    paint: float = 0.35
    stretch: float = 2.2
    crowd: float = 0.5
    recolour: float = 0.6
    decoys: float = 0.65
    keratin: float = 0.2
    blur: float = 1.3


def random_crop(
    levels: list[tuple[float, Tensor]],
    scale: float,
    size: int,
    rng: np.random.Generator,
    stretch: float = 1.0,
) -> Tensor:
    """Cut a randomly turned, flipped and zoomed square out of one field.

    Parameters
    ----------
    levels : list of (float, Tensor)
        The field reduced by each factor, finest first: (channels, h, w) float.
    scale : float
        Output pixels per pixel of the unreduced field.
    size : int
        Side of the square, px.
    rng : numpy.random.Generator
    stretch : float
        Elongation along the rows of the square.

    Returns
    -------
    Tensor
        (channels, size, size); beyond the border the field is mirrored.
    """
    factor, field = max((level for level in levels if level[0] * scale <= 1.001 or level[0] == 1), key=_first)
    height, width = field.shape[-2:]
    angle = rng.uniform(0, 2 * math.pi)
    flip = rng.choice((-1.0, 1.0))
    reach = size / (scale * factor)  # pixels of this level under the square's side
    cos, sin = math.cos(angle), math.sin(angle)
    short = cos / stretch, sin / stretch
    theta = torch.tensor(
        [
            [flip * short[0] * reach / width, -sin * reach / width, _centre(rng, reach / width)],
            [flip * short[1] * reach / height, cos * reach / height, _centre(rng, reach / height)],
        ],
        dtype=torch.float32,
    )
    grid = F.affine_grid(theta[None], [1, field.shape[0], size, size], align_corners=False)
    return F.grid_sample(field[None], grid, padding_mode="reflection", align_corners=False)[0]


def _first(level: tuple[float, Tensor]) -> float:
    return level[0]


def _centre(rng: np.random.Generator, reach: float) -> float:
    """Pick the middle of the square, in [-1, 1] field coordinates, inside the field where it fits."""
    return float(rng.uniform(-1, 1) * max(0.15, 1 - min(reach, 1)))


def recolour(rgb: Array, rng: np.random.Generator) -> Array:
    """Stain a field anew with random haematoxylin and eosin, from its own optical density.

    What is dense becomes haematoxylin and what is faint eosin with fibres and gaps of its own, so that a
    field stained with one dye looks like a section stained with two.

    Parameters
    ----------
    rgb : ndarray
        (h, w, 3) float32 in [0, 1].
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        (h, w, 3) float32 in [0, 1].
    """
    density = -np.log(np.clip(rgb, 4e-3, 1)).mean(axis=-1)
    low, high = np.percentile(density, (3, 99))
    density = np.clip((density - low) / max(high - low, 0.15), 0, 1.3)
    threshold = rng.uniform(0.12, 0.4)
    nuclear = np.clip(density - threshold, 0, None) / (1 - threshold)
    faint = np.minimum(density, threshold) / threshold
    shape = density.shape
    fibres = streaks(shape, rng)
    patches = smooth_noise(shape, rng.uniform(6, 30), rng)
    plasma = faint * rng.uniform(0.1, 0.9) + rng.uniform(0, 0.7) * np.clip(0.5 + 0.6 * fibres, 0, 1.4)
    plasma *= np.clip(0.8 + rng.uniform(0, 0.5) * patches, 0.1, 1.6)
    if rng.random() < 0.6:  # lumina and cracks: glass shines through
        texture = streaks(shape, rng) if rng.random() < 0.5 else smooth_noise(shape, rng.uniform(5, 20), rng)
        gaps = (texture > rng.uniform(0.3, 1.6)) & (nuclear < 0.1)
        plasma = np.where(gaps, plasma * rng.uniform(0, 0.25), plasma)
    # basophilic cytoplasm: haematoxylin between the nuclei, in lobes and grains
    lobes = np.clip(0.5 + rng.uniform(0.3, 2.5) * patches, 0, 1)
    grains = 1 + rng.uniform(0, 0.3) * smooth_noise(shape, rng.uniform(1.5, 5), rng)
    blue_haze = rng.uniform(0, 0.25 if rng.random() < 0.4 else 0.7) * lobes * np.clip(grains, 0, 2)
    haematoxylin = tilted(HAEMATOXYLIN, rng, 0.13)
    eosin = random_eosin(rng)
    stained = (nuclear * rng.uniform(0.7, 2.8) + blue_haze)[..., None] * haematoxylin
    stained = stained + (plasma * rng.uniform(0.25, 0.8))[..., None] * eosin
    glass = rng.uniform(0.88, 1.0) * rng.uniform(0.97, 1.0, 3)
    return np.asarray(np.exp(-stained) * glass, np.float32)


def overlay_decoys(rgb: Array, rng: np.random.Generator) -> Array:
    """Lay structures over a field that are dense, sharply bounded and never a nucleus.

    Collagen, muscle and red cells (eosin of any strength), keratin (both dyes) and marking ink. Densities
    add, as light passes through both, so nuclei below stay visible.

    Parameters
    ----------
    rgb : ndarray
        (h, w, 3) float32 in [0, 1].
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        (h, w, 3) float32 in [0, 1].
    """
    shape = rgb.shape[:2]
    density = np.asarray(-np.log(np.clip(rgb, 4e-3, 1)), np.float64)
    for _ in range(int(rng.integers(1, 3))):
        kind = rng.random()
        texture = streaks(shape, rng, rng.uniform(5, 40))
        # blots are round as nuclei are, so only what has another colour may come as one
        blots = smooth_noise(shape, rng.uniform(5, 40), rng) if rng.random() < 0.5 else texture
        if kind < 0.5:  # collagen and muscle, cut lengthwise and across, red cells
            texture, colour, strength = blots, random_eosin(rng), rng.uniform(0.3, 2.2)
        elif kind < 0.75:  # keratin, folds
            share = rng.uniform(0.2, 0.6)
            colour = (share * HAEMATOXYLIN + (1 - share) * random_eosin(rng)).astype(np.float32)
            strength = rng.uniform(0.2, 1.6)
        else:  # marking ink, spread out or in grains
            texture = blots if rng.random() < 0.5 else _grains(shape, rng)
            colour, strength = tilted(rng.choice(INKS), rng, 0.05), rng.uniform(0.3, 2.2)
        softness = rng.uniform(0.05, 0.6)
        amount = np.clip((texture - rng.uniform(0.2, 1.5)) / softness, 0, 1)
        amount *= 1 + 0.25 * smooth_noise(shape, rng.uniform(1.5, 6), rng)
        density = density + strength * np.clip(amount, 0, None)[..., None] * colour
    return np.asarray(np.exp(-density), np.float32)


def _grains(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return grains of 1 to 6 px that lie in drifts: high where they are, as `smooth_noise` is."""
    drifts = smooth_noise(shape, rng.uniform(10, 40), rng)
    return np.asarray(smooth_noise(shape, rng.uniform(0.8, 3), rng) + drifts - 0.5, np.float32)


def jitter(rgb: Array, rng: np.random.Generator) -> Array:
    """Vary dye strength per channel, brightness, contrast and saturation of a field, (h, w, 3) in [0, 1]."""
    density = -np.log(np.clip(rgb, 4e-3, 1)) * rng.uniform(0.7, 1.6) * rng.uniform(0.8, 1.2, 3)
    stained = np.exp(-density) * rng.uniform(0.9, 1.05) + rng.uniform(-0.03, 0.03)
    grey = stained.mean(axis=-1, keepdims=True)
    saturated = grey + (stained - grey) * rng.uniform(0.5, 1.4)
    return np.asarray(np.clip(saturated, 0, 1), np.float32)


def degrade(rgb: Array, blur: float, rng: np.random.Generator) -> Array:
    """Blur, sharpen, add noise and compress as scanners do; (h, w, 3) float32 in [0, 1] in and out."""
    kind = rng.random()
    if kind < 0.5:
        sigma = rng.uniform(0.2, blur)
        rgb = np.asarray(gaussian_filter(rgb, (sigma, sigma, 0)), np.float32)
    elif kind < 0.75:
        rgb = rgb + np.float32(rng.uniform(0.2, 1.2)) * (rgb - gaussian_filter(rgb, (1, 1, 0)))
    noisy = rgb + rng.normal(0, rng.uniform(0, 0.03), rgb.shape)
    image = Image.fromarray((np.clip(noisy, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(35, 95)))
        image = Image.open(buffer)
    return np.asarray(np.asarray(image, np.float32) / 255, np.float32)
