"""HoVer-Net's JSON of nuclei, with outlines moved from pixel centres to pixel edges.

Source: HoVer-Net, infer/tile.py and infer/wsi.py: ``{"mag": .., "nuc": {id: {bbox, centroid, contour,
type_prob, type}}}``. A contour is OpenCV's, through the centres of the outermost pixels, (x, y): as an
outline it would shrink a nucleus of radius 5 by a fifth. It is filled again, its own pixels included, which
gives back the pixels that HoVer-Net found.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.content import load_json
from napari_lumen.annotations.mending import OnRepair, mended, ring
from napari_lumen.annotations.polygonise import polygonise_objects
from napari_lumen.annotations.rasterise import rasterise
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError
from napari_lumen.geometry import Grid

Points = npt.NDArray[np.float64]


def read_hovernet(path: str | os.PathLike[str], on_repair: OnRepair | None = None) -> list[Annotation]:
    """Read the nuclei of a HoVer-Net JSON file.

    Parameters
    ----------
    path : path
        The file; plain, or packed as gzip or zip.
    on_repair : callable, optional
        Told of every outline that had to be repaired; else their number is logged.

    Returns
    -------
    list of Annotation
        Detections of class ``type 1`` and so on (which numbers mean what depends on the model), with the
        measurement ``type_prob``. Coordinates are in pixels of the magnification that the file names, as they
        stand: level-0 pixels when the slide was scanned at that.

    Raises
    ------
    AnnotationError
        When the file is missing, no JSON of HoVer-Net, or a contour is none.
    """
    path = Path(path)
    document = load_json(path)
    nuclei = document.get("nuc") if isinstance(document, dict) else None
    if not isinstance(nuclei, dict):
        raise AnnotationError(f'{path} is no JSON of HoVer-Net: it has no object "nuc".')
    return mended([_nucleus(one, f"{path}: nucleus {name}") for name, one in nuclei.items()], path, on_repair)


def _nucleus(given: Any, where: str) -> Annotation:
    try:
        contour = np.array(given["contour"], np.float64)
        kind, certainty = given.get("type"), given.get("type_prob")
        measurements = {} if certainty is None else {"type_prob": float(certainty)}
        if contour.ndim != 2 or contour.shape[1] != 2 or not len(contour) or not np.isfinite(contour).all():
            raise ValueError
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise AnnotationError(f"{where} has no contour that can be read: a list of (x, y).") from error
    return Annotation(
        geometry=_outline(contour),
        class_name=None if kind is None else f"type {kind}",
        object_type="detection",
        measurements=measurements,
    )


def _outline(contour: Points) -> BaseGeometry:
    """Return the outline along pixel edges of what a contour through pixel centres surrounds."""
    if not np.array_equal(contour, contour.round()):
        return ring(contour + 0.5)  # not OpenCV's
    corner = contour.min(axis=0)
    points = (contour - corner).astype(np.int64)
    width, height = (int(side) for side in points.max(axis=0) + 1)
    filled = rasterise([ring(points + 0.5)], Grid((height, width), (1, 1)))
    for here, there in zip(points, np.roll(points, -1, axis=0), strict=True):
        steps = int(np.abs(there - here).max())  # an edge runs straight or along a diagonal
        x, y = np.linspace(here, there, steps + 1).round().astype(np.int64).T
        filled[y, x] = 1
    return polygonise_objects(filled, origin=(corner[1], corner[0]))[1]
