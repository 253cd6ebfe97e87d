"""Free-response ROC of CAMELYON16: lesions found against false positives a slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.defined import Floats, mean, ratio
from napari_lumen.evaluation.lesions import SlideHits

LookUp = Literal["bisect", "nearest", "interpolated"]
LOOKUPS: tuple[LookUp, ...] = get_args(LookUp)
FALSE_POSITIVES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True)
class Froc:
    """The curve, an operating point a distinct probability, thresholds falling.

    Attributes
    ----------
    false_positives : ndarray (points,)
        Mean number a slide, rising; the first point is (0, 0).
    sensitivity : ndarray (points,)
        Share of all lesions that are found, in [0, 1]; NaN where there is no lesion.
    """

    false_positives: Floats
    sensitivity: Floats

    def at(self, lookup: LookUp) -> Floats:
        """Return the sensitivity at 0.25, 0.5, 1, 2, 4 and 8 false positives a slide.

        No operating point lies exactly there, and the published programs read the curve in several ways.

        Parameters
        ----------
        lookup : {"bisect", "nearest", "interpolated"}
            ``bisect``: the first point with at least as many false positives, or the last of all (the
            organisers' present program); ``nearest``: the point whose false positives are closest, of several
            the most sensitive; ``interpolated``: along the line between neighbours (NCRF, MONAI). These two
            leave out the lowest probability of all, meant for the 0 of lesions that were missed; where none
            was, it is a detection's and counts here, so that this score is the higher one.
        """
        wanted = np.asarray(FALSE_POSITIVES)
        if lookup == "interpolated":
            return np.asarray(np.interp(wanted, self.false_positives, self.sensitivity), np.float64)
        if lookup == "bisect":
            place = np.searchsorted(self.false_positives, wanted, side="left")
            place = np.minimum(place, len(self.sensitivity) - 1)
        else:
            distance = np.abs(self.false_positives - wanted[:, None])
            place = distance.shape[1] - 1 - np.argmin(distance[:, ::-1], axis=1)
        return np.asarray(self.sensitivity[place], np.float64)

    def score(self, lookup: LookUp) -> float:
        """Return the mean of the six sensitivities of `at`, the score of the challenge."""
        return float(mean(self.at(lookup)))


def froc(slides: Sequence[SlideHits], weights: npt.NDArray[np.integer] | None = None) -> Froc:
    """Return the curve of a set of slides.

    Parameters
    ----------
    slides : sequence of SlideHits
        Slides without tumour too: their detections are false positives.
    weights : ndarray (slides,), optional
        How often each slide counts, for `bootstrap`.

    Raises
    ------
    ValueError
        Without slides.
    """
    if not slides:
        raise ValueError("a FROC curve needs at least one slide")
    times = np.ones(len(slides)) if weights is None else np.asarray(weights, np.float64)
    found, found_times = _joined([slide.lesions for slide in slides], times)
    false, false_times = _joined([slide.false for slide in slides], times)
    thresholds = np.unique(np.concatenate([found, false]))
    thresholds = thresholds[thresholds > 0][::-1]  # a missed lesion has 0
    sensitivity = ratio(_at_least(thresholds, found, found_times), found_times.sum())
    false_positives = _at_least(thresholds, false, false_times) / times.sum()
    start = np.where(found_times.sum() > 0, 0.0, np.nan)
    return Froc(np.append(0.0, false_positives), np.append(start, sensitivity))


def _joined(parts: list[Floats], times: Floats) -> tuple[Floats, Floats]:
    """Return all probabilities and how often each counts."""
    return np.concatenate(parts), np.repeat(times, [len(part) for part in parts])


def _at_least(thresholds: Floats, values: Floats, times: Floats) -> Floats:
    """Return how many values, each counted `times`, are at or above each threshold."""
    order = np.argsort(values)
    above = np.append(np.cumsum(times[order][::-1])[::-1], 0.0)
    return above[np.searchsorted(values[order], thresholds, side="left")]
