"""The pixel size of a slide: what counts as one, and the user's own answer where the file is silent."""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_data_path

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair

MPP_RANGE = (0.01, 100.0)
COARSEST = 20.0  # µm of a microscope: a coarser resolution is one for print (300 dpi is 85 µm)


def as_pair(mpp: Any) -> Pair:
    """Return a pixel size as (y, x), of one number or of two, of any type that numbers come in.

    Raises
    ------
    TypeError, ValueError
    """
    y, x = tuple(mpp) if np.ndim(mpp) else (mpp, mpp)
    return float(y), float(x)


def checked_mpp(mpp: Pair | None, path: Path) -> Pair | None:
    """Return the pixel size (y, x) in µm, or None with a warning when the file states an absurd one."""
    if mpp is None or _plausible(mpp):
        return mpp
    warnings.warn(
        f"{path.name} states a pixel size of {mpp[1]:g} x {mpp[0]:g} µm, which no slide has; "
        "it is treated as unknown.",
        UserWarning,
        stacklevel=2,
    )
    return None


def given_mpp(mpp: float | tuple[float, float]) -> Pair:
    """Return a user's pixel size as (y, x) in µm.

    Raises
    ------
    SlideError
        When it is no number, no pair, or outside 0.01 to 100.
    """
    try:
        pair = as_pair(mpp)
    except (TypeError, ValueError) as error:
        raise SlideError(f"A pixel size is a number or a pair (y, x) in µm, not {mpp!r}.") from error
    if not _plausible(pair):
        raise SlideError(
            f"A pixel size of {pair[1]:g} x {pair[0]:g} µm is not one of a slide; "
            f"give µm per pixel between {MPP_RANGE[0]:g} and {MPP_RANGE[1]:g}."
        )
    return pair


def remember_mpp(fingerprint: str, mpp: Pair) -> None:
    """Keep the user's answer for a slide whose file states no pixel size, whole or not at all.

    Raises
    ------
    SlideError
        When the user's data folder cannot be written to.
    """
    sidecar = _sidecar(fingerprint)
    try:
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=sidecar.parent, suffix=".partial")
        with os.fdopen(descriptor, "w") as file:
            json.dump({"mpp": list(mpp)}, file)
        Path(partial).replace(sidecar)
    except OSError as error:
        raise SlideError(
            f"The pixel size cannot be kept in {sidecar.parent}: {error.strerror or error}. "
            "It holds for now; give it again next time, or free the folder."
        ) from error


def remembered_mpp(fingerprint: str) -> Pair | None:
    """Return the pixel size (y, x) that the user once gave for a slide, or None."""
    try:
        y, x = json.loads(_sidecar(fingerprint).read_text())["mpp"]
        pair = (float(y), float(x))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pair if _plausible(pair) else None


def _plausible(mpp: Pair) -> bool:
    return all(math.isfinite(value) and MPP_RANGE[0] <= value <= MPP_RANGE[1] for value in mpp)


def _sidecar(fingerprint: str) -> Path:
    return user_data_path("napari-lumen", appauthor=False) / "slides" / f"{fingerprint}.json"
