"""Between which values a channel is shown, and how far its slider goes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError

if TYPE_CHECKING:
    from napari_lumen.slides import Slide

Pixels = npt.NDArray[Any]
Limits = tuple[float, float]

_BRIGHTEST = 0.999  # of the pixels are at most this bright: a speck of dust must not darken the tissue
_BRIGHTEST_OF_SAMPLE = 0.9999  # of 256 x 256 px: the better part of one dot of 3 x 3 px stays below
_SAMPLE = 256  # px of level 0
_FEWEST, _MOST = 3, 9  # samples of a slide
_MOST_PLANES = 72  # samples times channels
_BRIGHT_SHARE = 0.1  # of all places are looked at: where the tissue is, and no single bright fold
_PATIENCE = 0.25  # seconds for all samples: the window waits
_FEWEST_BITS = 8


@dataclass(frozen=True, slots=True)
class Contrast:
    """How a channel is shown.

    Attributes
    ----------
    limits : (float, float)
        Values shown as black and as the full colour.
    slider : (float, float)
        Values that the user can choose from.
    """

    limits: Limits
    slider: Limits


def channel_contrasts(slide: Slide, coarsest: Pixels) -> list[Contrast]:
    """Return how each channel of a slide is shown.

    A coarse level is a mean: dots of a few pixels, which fluorescence is often about, are far brighter at
    level 0. So a few small places of level 0 are read as well, where the slide is bright.

    Parameters
    ----------
    slide : Slide
    coarsest : ndarray
        Its coarsest level, (h, w, channels).
    """
    samples = _samples(slide, coarsest)
    return [
        _contrast(coarsest[..., channel], [sample[..., channel] for sample in samples])
        for channel in range(slide.samples)
    ]


def contrast_limits(plane: Pixels) -> Limits:
    """Return the values shown as black and as the full colour: the range of a plane without its specks."""
    known = _known(plane)
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(np.quantile(known, _BRIGHTEST))
    if high <= low:
        high = float(known.max())
    if high > low:
        return low, high
    return (low, low + 1.0) if low < 1 else (low - 1.0, low)


def _contrast(plane: Pixels, samples: list[Pixels]) -> Contrast:
    low, high = contrast_limits(plane)
    found = [known for known in map(_known, samples) if known.size]
    if found:  # the median: a speck of dust is in one sample, what is stained in most
        bright = np.median([np.quantile(known, _BRIGHTEST_OF_SAMPLE) for known in found])
        high = max(high, float(bright))
    values = [known for known in (_known(plane), *found) if known.size]
    smallest = min([low, *(float(known.min()) for known in values)])
    largest = max([high, *(float(known.max()) for known in values)])
    return Contrast((low, high), _slider(plane.dtype, smallest, largest))


def _slider(dtype: np.dtype[Any], smallest: float, largest: float) -> Limits:
    """Return the range of a slider: that of the camera's bits, for few fill the 16 of their file."""
    if dtype.kind not in "iu":
        return smallest, largest
    bits = max(_FEWEST_BITS, int(largest).bit_length(), int(-smallest).bit_length())
    held = np.iinfo(dtype)
    low = 0 if smallest >= 0 else max(int(held.min), -(1 << bits))
    return float(low), float(min(int(held.max), (1 << bits) - 1))


def _samples(slide: Slide, coarsest: Pixels) -> list[Pixels]:
    """Read some of the brightest places of level 0; fewer where that takes long or something is damaged."""
    height, width = slide.shape
    end = time.monotonic() + _PATIENCE
    samples = []
    for row, column in _bright_places(slide, coarsest):
        y, x = row * _SAMPLE, column * _SAMPLE
        try:
            samples.append(slide.read(y, x, min(_SAMPLE, height - y), min(_SAMPLE, width - x)))
        except SlideError:  # the view will show it hatched, and tell
            continue
        if time.monotonic() > end:
            break
    return samples


def _bright_places(slide: Slide, coarsest: Pixels) -> list[tuple[int, int]]:
    """Return rows and columns of squares of level 0, spread over the brightest tenth of all."""
    rows, columns = (-(-side // _SAMPLE) for side in slide.shape)
    starts = [
        np.arange(count) * _SAMPLE * small // side
        for count, small, side in zip((rows, columns), coarsest.shape, slide.shape, strict=False)
    ]
    peaks = np.fmax.reduceat(np.fmax.reduceat(coarsest, starts[0], axis=0), starts[1], axis=1)
    peaks = np.nan_to_num(peaks.astype(np.float32), posinf=0.0, neginf=0.0)
    spread = np.ptp(peaks, axis=(0, 1))
    shares = (peaks - peaks.min(axis=(0, 1))) / np.where(spread > 0, spread, 1)
    order = np.argsort(-shares.sum(axis=2), axis=None, kind="stable")
    count = min(len(order), max(_FEWEST, min(_MOST, _MOST_PLANES // slide.samples)))
    bright = order[: max(count, round(len(order) * _BRIGHT_SHARE))]
    chosen = bright[np.linspace(0, len(bright) - 1, count).astype(int)]
    places = list(product(range(rows), range(columns)))
    return [places[index] for index in chosen]


def _known(values: Pixels) -> Pixels:
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values
