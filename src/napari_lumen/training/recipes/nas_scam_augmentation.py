"""The random changes of NAS-SCAM's crops, at most one each (section 3.2).

The release has blur alone, by a chance of 0.2; here each of the five has that.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from napari_lumen.training.augmentation import (
    gaussian_blur,
    median_blur,
    random_elastic,
    random_flip,
    random_rotation,
)
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.validation import WrittenFields

_Chance = Field(default=0.2, ge=0, le=1, description="Probability.")


class OneChange(WrittenFields):
    """How often a crop is changed in which way; what is left of 1 stays as it is."""

    rotation: float = _Chance
    flip: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Probability; either axis by half, so that a quarter of the flips change nothing.",
    )
    gaussian_blur: float = _Chance
    median_blur: float = _Chance
    elastic: float = _Chance
    most_degrees: float = Field(default=179.0, ge=0, description="Of a rotation, to either side.")
    blur_side: int = Field(default=5, gt=0, description="Side of the Gaussian kernel, px; odd.")
    most_sigma: float = Field(default=2.0, ge=0, description="Of the Gaussian, px; uniform from 0.")
    median_side: int = Field(default=3, gt=0, description="Side of the median's window, px.")
    elastic_alpha: float = Field(default=3.0, ge=0, description="Of the displacements, in sides of the crop.")
    elastic_sigma: float = Field(default=0.07, gt=0, description="Of their smoothing, in sides of the crop.")
    elastic_affine: float = Field(default=0.09, ge=0, description="Of three points, in sides of the crop.")

    @model_validator(mode="after")
    def _possible(self) -> OneChange:
        if sum(self._chances()) > 1 + 1e-9:
            raise ValueError(
                "the probabilities of changes that exclude each other must not exceed 1 together"
            )
        if self.blur_side % 2 == 0:
            raise ValueError(f"blur_side must be odd, not {self.blur_side}")
        return self

    def __call__(self, image: RGB, labels: Labels, rng: np.random.Generator) -> tuple[RGB, Labels]:
        """Change a crop, uint8 (h, w, 3), and its labels, (h, w)."""
        drawn = int(np.searchsorted(np.cumsum(self._chances()), rng.random(), side="right"))
        if drawn == 0:
            return random_rotation(image, labels, rng, most=self.most_degrees)
        if drawn == 1:
            return random_flip(image, labels, rng)
        if drawn == 2:
            sigma = float(rng.uniform(0, self.most_sigma))
            return gaussian_blur(image, sigma, radius=self.blur_side // 2), labels
        if drawn == 3:
            return median_blur(image, self.median_side), labels
        if drawn == 4:
            return random_elastic(
                image,
                labels,
                rng,
                alpha=self.elastic_alpha,
                sigma=self.elastic_sigma,
                affine=self.elastic_affine,
            )
        return image, labels

    def _chances(self) -> tuple[float, ...]:
        return self.rotation, self.flip, self.gaussian_blur, self.median_blur, self.elastic
