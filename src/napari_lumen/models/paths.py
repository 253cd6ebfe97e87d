"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from napari_lumen.errors import ModelError


def user_path(text: str | os.PathLike[str]) -> Path:
    """Return the path that a user has written, its ``~`` expanded; whether it exists is not asked.

    Raises
    ------
    ModelError
        When nothing can lie there: a NUL in it, or the home of a user whom this computer does not know.
    """
    written = os.fspath(text)
    if "\0" in written:  # else each call to the system raises a ValueError of its own
        raise ModelError(f"{written!r} is no path: it holds a NUL character.")
    try:
        return Path(written).expanduser()
    except RuntimeError as error:
        raise ModelError(
            f"{written!r} is no path: this computer knows no home folder of {Path(written).parts[0]}."
        ) from error
