"""More or less of each dye (Tellez et al., IEEE TMI 2018); labels stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.color import hed_from_rgb, rgb_from_hed

from napari_lumen.training.augmentation.resampling import Image, as_stored, white

_FAINTEST = 1 / 255  # of the light; darker cannot be told from black


def hed_shift(
    image: Image, factors: npt.NDArray[np.floating[Any]], offsets: npt.NDArray[np.floating[Any]]
) -> Image:
    """Multiply the densities of haematoxylin, eosin and DAB, and add to them.

    Densities may be below 0, as skimage's own conversion does not keep them: factors of 1 and offsets of 0
    change nothing.

    Parameters
    ----------
    image : ndarray
        (h, w, 3) uint8, or float in [0, 1].
    factors, offsets : ndarray
        (3,); offsets in natural optical density.
    """
    light = np.maximum(image.astype(np.float32) / white(image), _FAINTEST)
    dyes = -np.log(light) @ hed_from_rgb.astype(np.float32)
    changed = dyes * np.asarray(factors, np.float32) + np.asarray(offsets, np.float32)
    seen = np.exp(-changed @ rgb_from_hed.astype(np.float32))
    return as_stored(seen * white(image), image.dtype)


def random_hed_shift(image: Image, rng: np.random.Generator, *, strength: float = 0.05) -> Image:
    """Draw each factor from 1 + U(-`strength`, `strength`), each offset from U(-`strength`, `strength`)."""
    factors, offsets = rng.uniform(-strength, strength, (2, 3))
    return hed_shift(image, 1 + factors, offsets)
