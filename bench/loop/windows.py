"""Windows that a person would correct, cut from the data at hand: 128 px each, with their masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.papers.shared import SHARED
from napari_lumen.training.data.image_set import ImageSet
from napari_lumen.training.data.known import consep_patches, dsb2018

SIDE = 128  # px
_HELD_OUT = 130  # images of DSB 2018, as in the papers' experiments
_TEST_TILES = 6  # of CoNSeP
_SEED = 7  # of the split, which all runs share
_EPITHELIUM = (3, 4)  # healthy and malignant


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows with what is to be found in them.

    Attributes
    ----------
    images : ndarray
        uint8 (n, 128, 128, 3).
    masks : ndarray
        bool (n, 128, 128).
    pool, test : ndarray
        Indices of those that may be labelled, and of those that are measured on.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]
    pool: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]


def dsb_windows() -> Windows:
    """Return the middle of each image of DSB 2018, of all kinds, with its nuclei; 130 are measured on."""
    images = dsb2018(SHARED / "nuclei_dsb2018")
    chosen = [_middle(images, index) for index in range(len(images.items))]
    order = np.random.default_rng(_SEED).permutation(len(chosen))
    return Windows(
        np.stack([image for image, _ in chosen]),
        np.stack([labels > 0 for _, labels in chosen]),
        order[_HELD_OUT:],
        order[:_HELD_OUT],
    )


def consep_windows() -> Windows:
    """Return the patches of CoNSeP at 0.5 µm with their epithelial nuclei; six tiles are measured on."""
    patches = consep_patches(SHARED / "nuclei_consep")
    tiles = np.array([item.tile for item in patches.items])
    order = np.random.default_rng(_SEED).permutation(np.unique(tiles))
    held_out = np.isin(tiles, order[:_TEST_TILES])
    everyone = range(len(tiles))
    return Windows(
        np.stack([_halved(patches.image(index)).round().astype(np.uint8) for index in everyone]),
        np.stack([_halved(np.isin(patches.labels(index), _EPITHELIUM)) >= 0.5 for index in everyone]),
        np.flatnonzero(~held_out),
        np.flatnonzero(held_out),
    )


def _middle(images: ImageSet, index: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    image, labels = images.image(index), images.labels(index)
    top, left = ((side - SIDE) // 2 for side in labels.shape)
    place = slice(top, top + SIDE), slice(left, left + SIDE)
    return image[place], labels[place]


def _halved(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    blocks = pixels.astype(np.float64).reshape(height, 2, width, 2, *pixels.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3)))
