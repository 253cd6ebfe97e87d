"""Stain colours and random textures, from which fields are stained anew in training."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

Array = npt.NDArray[np.float32]

# mean optical densities of haematoxylin and eosin (Ruifrok and Johnston 2001)
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.13, 0.97, 0.20], np.float32)
EOSIN_RED = np.array([0.10, 0.80, 0.58], np.float32)  # collagen and keratin on many scanners
# marking inks whose colour is no dye's: teal, cyan, green
INKS = np.array([[1.0, 0.30, 0.45], [1.0, 0.35, 0.20], [1.0, 0.35, 0.80]], np.float32)


def smooth_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Array:
    """Zero-mean noise of unit deviation, smooth over about `sigma` px."""
    small = [max(4, round(side / sigma * 2) + 2) for side in shape]
    noise = torch.from_numpy(rng.standard_normal((1, 1, *small)).astype(np.float32))
    field = F.interpolate(noise, size=tuple(shape), mode="bicubic", align_corners=False)[0, 0].numpy()
    return np.asarray(field / max(float(field.std()), 1e-3), np.float32)


def streaks(shape: tuple[int, ...], rng: np.random.Generator, period: float | None = None) -> Array:
    """Streaks of about `period` px in one direction, bent a little: zero mean, about unit deviation."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    bend = smooth_noise(shape, 40, rng) * rng.uniform(0, 14)
    angle = rng.uniform(0, math.pi)
    across = rows * math.cos(angle) + columns * math.sin(angle) + bend
    along = -rows * math.sin(angle) + columns * math.cos(angle)
    period = rng.uniform(3, 12) if period is None else period
    sheet = smooth_noise((256, 256), 1.5, rng)
    fibres = sheet[
        (across / period * 3).astype(int) % 256, (along / (period * rng.uniform(3, 8)) * 3).astype(int) % 256
    ]
    return np.asarray(gaussian_filter(fibres, max(0.7, period / 12)), np.float32)


def random_eosin(rng: np.random.Generator) -> Array:
    """Pick a colour of eosin between magenta and red."""
    share = rng.random()
    return tilted(((1 - share) * EOSIN + share * EOSIN_RED).astype(np.float32), rng, 0.08)


def tilted(stain: Array, rng: np.random.Generator, amount: float) -> Array:
    """Vary a stain's colour: its optical density vector, kept at unit length."""
    colour = np.clip(stain + rng.normal(0, amount, 3), 0.02, None)
    return np.asarray(colour / np.linalg.norm(colour), np.float32)
