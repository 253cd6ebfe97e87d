"""Random changes of images with their labels, each a pure function of the image, the labels and a generator.

Images are (h, w, 3), uint8 or, unless it is said otherwise, float32 in [0, 1]; labels (h, w) uint8, of which
each pixel is taken from the nearest one. What comes out is always new and may be written to.
"""

from __future__ import annotations

from napari_lumen.training.augmentation.blur import gaussian_blur, median_blur
from napari_lumen.training.augmentation.colour import enhance, random_enhance
from napari_lumen.training.augmentation.crop import crop_scaled, random_crop
from napari_lumen.training.augmentation.elastic import random_elastic
from napari_lumen.training.augmentation.hed import hed_shift, random_hed_shift
from napari_lumen.training.augmentation.turning import (
    flip,
    quarter_turn,
    random_flip,
    random_rotation,
    rotate,
)

__all__ = [
    "crop_scaled",
    "enhance",
    "flip",
    "gaussian_blur",
    "hed_shift",
    "median_blur",
    "quarter_turn",
    "random_crop",
    "random_elastic",
    "random_enhance",
    "random_flip",
    "random_hed_shift",
    "random_rotation",
    "rotate",
]
