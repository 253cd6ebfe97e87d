"""NCRF's JSON of CAMELYON16 outlines.

Source: NCRF (baidu-research), camelyon16xml2json: ``{"positive": [{name, vertices}], "negative": [..]}``,
vertices (x, y) in whole level-0 pixels.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from napari_lumen.annotations.content import load_json
from napari_lumen.annotations.mending import OnRepair, mended, ring
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError

GROUPS = ("positive", "negative")


def read_ncrf(path: str | os.PathLike[str], on_repair: OnRepair | None = None) -> list[Annotation]:
    """Read the outlines of an NCRF JSON file.

    Parameters
    ----------
    path : path
        The file; plain, or packed as gzip or zip.
    on_repair : callable, optional
        Told of every outline that had to be repaired; else their number is logged.

    Returns
    -------
    list of Annotation
        Of the classes ``positive``, then ``negative``.

    Raises
    ------
    AnnotationError
        When the file is missing, no JSON of NCRF, or vertices are none.
    """
    path = Path(path)
    document = load_json(path)
    lists = [document.get(group) for group in GROUPS] if isinstance(document, dict) else []
    if not lists or not all(isinstance(one, list) for one in lists):
        raise AnnotationError(f'{path} is no JSON of NCRF: it has no lists "positive" and "negative".')
    found = [
        _annotation(one, group, f"{path}: {group} {place}")
        for group, items in zip(GROUPS, lists, strict=True)
        for place, one in enumerate(items or ())
    ]
    return mended(found, path, on_repair)


def _annotation(given: Any, group: str, where: str) -> Annotation:
    try:
        name = given.get("name")
        return Annotation(ring(given["vertices"]), group, name=None if name is None else str(name))
    except Exception as error:  # shapely raises many kinds for malformed coordinates
        raise AnnotationError(f"{where} has no vertices that can be read.") from error
