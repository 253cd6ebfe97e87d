"""One stain for all images: by the dyes' own colours (Macenko) or by the statistics of colour (Reinhard).

MONAI has Macenko's method as `NormalizeHEStains`; its version 1.6 takes eosin for haematoxylin, so that
nuclei come out pink, and fails on blank tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from skimage.color import lab2rgb, rgb2lab

from napari_lumen.errors import RunError
from napari_lumen.stain.colour_table import ColourTable

RGB = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating[Any]]
Triple = tuple[float, float, float]

_LIGHT = 256.0  # of a pixel of 255: one is added, for black has no logarithm
_GLASS, _DENSITY = 0.07, 0.15  # mean optical density up to which a pixel is glass, and from which tissue
_LEAST_TISSUE = 0.005  # share of an image below which it says nothing of its stain
_LEAST_ANGLE = 4.0  # degrees between two dyes; one dye alone has a spread of noise
_EXTREME = 1.0  # percent of the pixels beyond what counts as the purest and the strongest
_LEAST_DEVIATION = 0.5  # of CIELAB; an image of one colour has no statistics to stretch


@dataclass(frozen=True, slots=True)
class Dyes:
    """What Macenko's method knows of a stain.

    Attributes
    ----------
    haematoxylin, eosin : (float, float, float)
        Optical density of red, green and blue, of length 1.
    strongest : (float, float)
        Density of haematoxylin and of eosin that 99 % of the tissue's pixels do not reach.

    Raises
    ------
    ValueError
        When a dye absorbs nothing, or less than that, or both are one.
    """

    haematoxylin: Triple
    eosin: Triple
    strongest: tuple[float, float]

    def __post_init__(self) -> None:
        dyes = np.array([self.haematoxylin, self.eosin])
        if not (np.isfinite(dyes).all() and (dyes >= 0).all() and dyes.any(axis=1).all()):
            raise ValueError("the density of a dye is 0 or more, and not 0 of all three colours")
        if np.linalg.matrix_rank(dyes) < len(dyes):
            raise ValueError("haematoxylin and eosin must be of two colours")
        if not (np.isfinite(self.strongest).all() and min(self.strongest) > 0):
            raise ValueError(f"the strongest densities must be above 0, not {self.strongest}")


@dataclass(frozen=True, slots=True)
class ColourStatistics:
    """What Reinhard's method knows of a stain.

    Attributes
    ----------
    mean, deviation : (float, float, float)
        Of the tissue, in CIELAB.

    Raises
    ------
    ValueError
        When a number is none, or a deviation below 0.
    """

    mean: Triple
    deviation: Triple

    def __post_init__(self) -> None:
        if not np.isfinite([*self.mean, *self.deviation]).all() or min(self.deviation) < 0:
            raise ValueError("mean and deviation are numbers, and no deviation is below 0")


# of the authors of the method, as the public implementations have it (mitkovetta/staining-normalization)
USUAL_DYES = Dyes((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581), (1.9705, 1.0308))
# of the tissue of our own drawn slide: SyntheticSlide(6000, 6000, seed=1)
USUAL_COLOURS = ColourStatistics((53.4, 31.9, -12.3), (17.2, 9.6, 7.1))


@dataclass(frozen=True, slots=True)
class Macenko:
    """Macenko et al., ISBI 2009: unmix the two dyes of an image and lay them on in the colours of another.

    For haematoxylin and eosin. A small tile need not show both as pure as its slide does: where there is the
    slide, fit that, and give what comes out as `source`.

    Attributes
    ----------
    reference : Dyes
        What images are changed to.
    method : {"macenko"}
        By which a model's card names it.
    """

    reference: Dyes = USUAL_DYES
    method: Literal["macenko"] = "macenko"

    def fit(self, image: RGB) -> Dyes:
        """Return the dyes of an image, uint8 (h, w, 3).

        Raises
        ------
        RunError
            When it is nearly blank, grey, or stained with a single dye.
        """
        dyes = _dyes(_density(image))
        if dyes is None:
            raise RunError(
                "The image does not show two dyes: it is nearly blank, grey, or of one colour. Take one with "
                "stained tissue as reference."
            )
        return dyes

    def apply(self, image: RGB, source: Dyes | None = None) -> RGB:
        """Return an image in the stain of the reference; unchanged where it does not show two dyes.

        Parameters
        ----------
        image : ndarray
            uint8 (h, w, 3).
        source : Dyes, optional
            Of the slide that the image is of; without it they are found in the image itself.
        """
        source = source or _dyes(_density(image))
        return image if source is None else _rounded(self._changed(_values(image), source), image)

    def _changed(self, values: Values, source: Dyes) -> Values:
        """Return pixels (n, 3), 0 to 255, in the stain of the reference."""
        own, wanted = (np.array([dyes.haematoxylin, dyes.eosin]) for dyes in (source, self.reference))
        amounts = np.clip(_density_of(values) @ np.linalg.pinv(own), 0, None)
        amounts *= np.array(self.reference.strongest) / np.array(source.strongest)
        return np.asarray(_LIGHT * np.exp(-amounts @ wanted) - 1)


@dataclass(frozen=True, slots=True)
class Reinhard:
    """Reinhard et al., IEEE CG&A 2001: give the tissue of an image the mean and deviation of another's.

    White background is not counted, and stays white.

    Attributes
    ----------
    reference : ColourStatistics
        What images are changed to.
    method : {"reinhard"}
        By which a model's card names it.
    """

    reference: ColourStatistics = USUAL_COLOURS
    method: Literal["reinhard"] = "reinhard"

    def fit(self, image: RGB) -> ColourStatistics:
        """Return the statistics of the tissue of an image, uint8 (h, w, 3).

        Raises
        ------
        RunError
            When it is nearly blank.
        """
        statistics = _statistics(image)
        if statistics is None:
            raise RunError("The image is nearly blank; take one with stained tissue as reference.")
        return statistics

    def apply(self, image: RGB, source: ColourStatistics | None = None) -> RGB:
        """Return an image in the colours of the reference; unchanged where it is nearly blank.

        Parameters
        ----------
        image : ndarray
            uint8 (h, w, 3).
        source : ColourStatistics, optional
            Of the slide that the image is of; without it they are those of the image itself.
        """
        source = source or _statistics(image)
        return image if source is None else _rounded(self._changed(_values(image), source), image)

    def _changed(self, values: Values, source: ColourStatistics) -> Values:
        """Return pixels (n, 3), 0 to 255, in the colours of the reference."""
        colours, density = rgb2lab(values / 255), _density_of(values)
        stretch = np.array(self.reference.deviation) / np.maximum(source.deviation, _LEAST_DEVIATION)
        wanted = (colours - source.mean) * stretch + self.reference.mean
        # no edge between tissue and glass
        share = np.clip((density.mean(axis=1, keepdims=True) - _GLASS) / (_DENSITY - _GLASS), 0, 1)
        lab = colours + share * (wanted - colours)
        lab[:, 0] = np.clip(lab[:, 0], 0, 100)
        # yellower is no colour (Z below 0): skimage would clip it too, but warn of it
        lab[:, 2] = np.minimum(lab[:, 2], 200 / 116 * (lab[:, 0] + 16) - 1e-9)
        return np.asarray(lab2rgb(lab) * 255)


Method = Macenko | Reinhard
Source = Dyes | ColourStatistics


def recoloured(method: Method, source: Source, image: RGB) -> RGB:
    """Return `method.apply(image, source)`, where the stain of the slide is by either method.

    Raises
    ------
    ValueError
        When it is by the other.
    """
    return _rounded(_change(method, source)(_values(image)), image)


def colour_table(method: Method, source: Source) -> ColourTable:
    """Return what becomes of the images of a slide, ready to be looked up; see `recoloured`."""
    return ColourTable(_change(method, source))


def _change(method: Method, source: Source) -> Callable[[Values], Values]:
    if isinstance(method, Macenko) and isinstance(source, Dyes):
        return lambda values: method._changed(values, source)
    if isinstance(method, Reinhard) and isinstance(source, ColourStatistics):
        return lambda values: method._changed(values, source)
    raise ValueError(f"the method {method.method} knows a stain otherwise than by {type(source).__name__}")


def _values(image: RGB) -> Values:
    """Return the pixels (n, 3), 0 to 255."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image to be normalised is uint8 (h, w, 3), not {image.dtype} {image.shape}")
    return image.reshape(-1, 3).astype(np.float64)


def _rounded(values: Values, image: RGB) -> RGB:
    """Return pixels as an image of the shape of another."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8).reshape(image.shape)


def _density(image: RGB) -> Values:
    """Return the natural optical density (pixels, 3), 0 of white."""
    return _density_of(_values(image))


def _density_of(values: Values) -> Values:
    return np.asarray(-np.log((values + 1) / _LIGHT))


def _dyes(density: Values) -> Dyes | None:
    """Find the two dyes: the extreme directions in the plane of the two largest eigenvalues."""
    # by the mean: pure eosin lets nearly all red through, and must not be lost
    tissue = density[density.mean(axis=1) > _DENSITY]
    if len(tissue) < max(3, _LEAST_TISSUE * len(density)):
        return None
    plane = np.linalg.eigh(np.cov(tissue.T))[1][:, 1:]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)  # the sign of an eigenvector is chance
    across = tissue @ plane
    angles = np.percentile(np.arctan2(across[:, 0], across[:, 1]), [_EXTREME, 100 - _EXTREME])
    if np.degrees(angles[1] - angles[0]) < _LEAST_ANGLE:
        return None
    pure = plane @ np.array([np.sin(angles), np.cos(angles)])
    pure = np.clip(pure, 0, None) / np.linalg.norm(np.clip(pure, 0, None), axis=0)
    haematoxylin, eosin = sorted(pure.T, key=lambda dye: -float(dye[0]))  # that absorbs more red
    # of the tissue alone: where most is glass, what few pixels reach is next to nothing
    amounts = tissue @ np.linalg.pinv(np.array([haematoxylin, eosin]))
    strongest = np.percentile(amounts, 100 - _EXTREME, axis=0)
    if not (strongest > 0).all():
        return None
    return Dyes(_triple(haematoxylin), _triple(eosin), (float(strongest[0]), float(strongest[1])))


def _statistics(image: RGB) -> ColourStatistics | None:
    values = _values(image)
    tissue = values[_density_of(values).mean(axis=1) > _DENSITY]
    if len(tissue) < max(3, _LEAST_TISSUE * len(values)):
        return None
    colours = rgb2lab(tissue / 255)
    return ColourStatistics(_triple(colours.mean(axis=0)), _triple(colours.std(axis=0)))


def _triple(values: Values) -> Triple:
    one, two, three = (float(value) for value in values)
    return one, two, three
