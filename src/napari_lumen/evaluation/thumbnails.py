"""Small pictures of an image, its truth, its prediction and where the two differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable, Color
from napari_lumen.evaluation.errors import ERRORS, error_labels
from napari_lumen.evaluation.tally import ImagePair

Picture = npt.NDArray[np.uint8]  # (h, w, 3)
Thumbnails = Mapping[str, Picture]

RIGHT: Color = (225, 225, 225)
IGNORED: Color = (120, 120, 120)
_SIDE = 192


def thumbnails(pair: ImagePair, classes: ClassTable, ignore: int | None = None) -> Thumbnails:
    """Return the pictures of a pair by name, none larger than 192 px.

    Every n-th pixel is shown, for labels cannot be averaged.

    Parameters
    ----------
    pair : ImagePair
    classes : ClassTable
        With the background.
    ignore : int, optional
        Pixels of this value in the truth do not count.
    """
    predicted, truth = _thinned(pair.predicted), _thinned(pair.truth)
    ignored = np.zeros(truth.shape, np.bool_) if ignore is None else truth == ignore
    colors = np.array([RIGHT, *(item.color for item in ERRORS)], np.uint8)
    errors = colors[error_labels(predicted, truth, ignore)]
    errors[ignored] = IGNORED
    tissue = None if pair.pixels is None else pair.pixels()
    pictures = {} if tissue is None else {"tissue": _thinned(tissue)}
    true_colors = _colored(truth, classes)
    true_colors[ignored] = IGNORED
    return pictures | {"truth": true_colors, "prediction": _colored(predicted, classes), "errors": errors}


def _thinned(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    step = max(1, -(-max(image.shape[:2]) // _SIDE))
    return image[::step, ::step]


def _colored(labels: npt.NDArray[Any], classes: ClassTable) -> Picture:
    picture = np.full((*labels.shape, 3), 255, np.uint8)
    for item in classes:
        if item.value:
            picture[labels == item.value] = item.color
    return picture
