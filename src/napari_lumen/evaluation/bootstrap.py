"""Intervals by resampling what was sampled: whole images, or all images of a patient together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.defined import Floats

_ROUNDING = 1e-12

Weights = npt.NDArray[np.int64]


def resample_weights(groups: Sequence[Hashable], resamples: int = 1000, seed: int = 0) -> Weights:
    """Draw groups with replacement and return how often each image came.

    Images of one patient, slide or tile resemble each other; drawn one by one they would make the interval
    too narrow.

    Parameters
    ----------
    groups : sequence (images,)
        What each image belongs to; all different where images are independent.
    resamples : int
        How many draws, each of as many groups as there are.
    seed : int

    Returns
    -------
    ndarray (resamples, images) of int64
    """
    if resamples < 1:
        raise ValueError(f"an interval needs at least 1 resample, not {resamples}")
    position = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    count = len(position)
    if not count:
        return np.zeros((resamples, 0), np.int64)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn[:, [position[group] for group in groups]]


def interval(values: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the lower and upper end of the percentile interval.

    Parameters
    ----------
    values : ndarray (resamples, ...)
        A score of each resample; NaN where it was not defined there, which is left out.
    level : float
        Share of the resamples inside, in (0, 1).

    Returns
    -------
    (ndarray, ndarray)
        Of the shape (...); NaN where no resample defines the score, and where all of them agree, as when a
        single patient has the class: then there is nothing to resample, and no width would be too sure.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, not at {level}")
    values = np.where(np.isnan(values).all(axis=0), 0.0, values)
    varied = np.nanmax(values, axis=0) - np.nanmin(values, axis=0) > _ROUNDING
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail], axis=0)
    return np.where(varied, low, np.nan), np.where(varied, high, np.nan)


def bootstrap(
    statistic: Callable[[Weights], float],
    groups: Sequence[Hashable],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the interval of any score that can count its images several times.

    Parameters
    ----------
    statistic : callable
        Takes weights (images,), how often each image counts, and returns the score.
    groups, resamples, level, seed
        As in `resample_weights` and `interval`.
    """
    drawn = resample_weights(groups, resamples, seed)
    low, high = interval(np.array([statistic(weights) for weights in drawn], np.float64), level)
    return float(low), float(high)
