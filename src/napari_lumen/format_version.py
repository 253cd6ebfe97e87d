"""The version of the format that a JSON file of ours is in."""

from __future__ import annotations

import json


def newer_version(text: bytes, known: int, field: str = "version") -> int | None:
    """Return the version of a format that only a newer napari-lumen reads; None of any other text.

    What is wrong with a damaged file the format itself says better.

    Parameters
    ----------
    text : bytes
        Of the file.
    known : int
        The last version that is read here.
    field : str
        That has the version.
    """
    try:
        version = json.loads(text)[field]
    except (ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, int) and version > known else None
