"""Pairs of images that show the same, even if one is turned, mirrored, stained anew or compressed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_lumen.training.data.image_set import Pictures

# Of the development data the closest images of other fields have 0.49, cut to equal round cores on white
# 0.59; one embryo at two depths has 0.90, and what was turned, stained anew, compressed and cut by 1 % all
# round at least 0.88.
SAME_FIELD = 0.75
_SIDE = 32  # px
_COARSE = 2.0  # px, deviation: round tissue on white looks like any other, what lies within does not
_FLATTEST = 0.25  # grey levels, deviation; below it an image shows nothing that could be known again
_AT_ONCE = 2048  # images whose correlations are held at once


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two images that show the same.

    Attributes
    ----------
    first, second : str
        Their items' names.
    correlation : float
        Of their thumbnails, in the orientation that fits best; 1 for the same picture.
    """

    first: str
    second: str
    correlation: float


def near_duplicates(
    pictures: Pictures,
    *,
    least: float = SAME_FIELD,
    check: Callable[[], None] = lambda: None,
) -> list[NearPair]:
    """Find the pairs of images that show the same.

    Each image becomes a thumbnail of 32 x 32 means of brightness, without what is coarser than a few of its
    pixels; two images are the same where the thumbnails correlate in one of the eight orientations of a
    square. All pairs are compared, so none is missed by a hash: 700 images take a tenth of a second after
    they are read. On tiles of 256 px, what was moved by 4 px, cut by 4 px all round or turned by 2 degrees
    lies at the limit, and by twice as much below it. Images that share only a part of their field are not
    found either: name their tile or slide instead. Images without any contrast are never the same.

    Parameters
    ----------
    pictures : Pictures
    least : float
        Correlation from which two images are taken for the same.
    check : callable, optional
        Called for each image; what it raises ends the search.

    Returns
    -------
    list of NearPair
        The closest first.
    """
    thumbnails = np.empty((len(pictures.items), _SIDE, _SIDE), np.float32)
    for index in range(len(thumbnails)):
        check()
        grey = Image.fromarray(pictures.image(index)).convert("L").convert("F")
        thumbnails[index] = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX))
    normal = _normalised(thumbnails)
    names = [item.name for item in pictures.items]
    found = []
    for start in range(0, len(normal), _AT_ONCE):
        rows = normal[start : start + _AT_ONCE]
        for other in range(start, len(normal), _AT_ONCE):
            check()
            closest = _closest(rows, normal[other : other + _AT_ONCE])
            for row, column in np.argwhere(closest >= least).tolist():
                if start + row < other + column:
                    value = min(1.0, float(closest[row, column]))
                    found.append(NearPair(names[start + row], names[other + column], value))
    return sorted(found, key=lambda pair: -pair.correlation)


def _normalised(thumbnails: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return their detail with a mean of 0 and a length of 1, or all 0 where there is no contrast."""
    detail = thumbnails - gaussian_filter(thumbnails, _COARSE, axes=(1, 2), mode="nearest")
    centred = detail - detail.mean(axis=(1, 2), keepdims=True)
    deviation = centred.std(axis=(1, 2), keepdims=True)
    shown = deviation >= _FLATTEST
    return np.where(shown, centred / np.where(shown, deviation, 1) / _SIDE, 0).astype(np.float32)


def _closest(rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the highest correlation of each row with each column over the eight orientations."""
    flat = rows.reshape(len(rows), -1)
    best = np.full((len(rows), len(columns)), -1, np.float32)
    for mirrored in (columns, columns[:, :, ::-1]):
        for quarters in range(4):
            turned = np.rot90(mirrored, quarters, axes=(1, 2)).reshape(len(columns), -1)
            np.maximum(best, flat @ turned.T, out=best)
    return best
