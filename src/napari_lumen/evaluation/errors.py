"""What is wrong of a pixel: missed, false, or of the wrong class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable

MISSED, FALSE, CONFUSED = 1, 2, 3
ERRORS = ClassTable.of(
    [
        (MISSED, "missed", (0, 80, 255)),
        (FALSE, "false", (202, 0, 32)),
        (CONFUSED, "wrong class", (230, 145, 0)),
    ]
)


def error_labels(
    predicted: npt.NDArray[Any], truth: npt.NDArray[Any], ignore: int | None = None
) -> npt.NDArray[np.uint8]:
    """Return what is wrong of each pixel, (h, w) uint8: 0 where nothing is, else a value of `ERRORS`.

    Parameters
    ----------
    predicted, truth : ndarray (h, w)
        Label values, 0 is background.
    ignore : int, optional
        Pixels of this value in the truth are never wrong.
    """
    errors = np.zeros(truth.shape, np.uint8)
    errors[(truth != predicted) & (truth > 0) & (predicted > 0)] = CONFUSED
    errors[(truth > 0) & (predicted == 0)] = MISSED
    errors[(truth == 0) & (predicted > 0)] = FALSE
    if ignore is not None:
        errors[truth == ignore] = 0
    return errors
