"""Images and their label images, found in two folders by their stems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError, some_of
from napari_lumen.training.data.files import IMAGE_SUFFIXES, LABEL_SUFFIXES, files_by_stem
from napari_lumen.training.data.image_set import RGB
from napari_lumen.training.data.item import IGNORE, Item
from napari_lumen.training.data.item_table import Columns, Row, read_table


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """An image with its label image.

    Attributes
    ----------
    item : Item
    image, labels : Path
    mpp : float or None
        µm per pixel.
    """

    item: Item
    image: Path
    labels: Path
    mpp: float | None = None


def labelled_files(
    folder: Path,
    *,
    images: str = "images",
    labels: str = "labels",
    table: Path | None = None,
    columns: Columns | None = None,
    mpp: float | None = None,
) -> list[LabelledFile]:
    """Find images and label images of the same stem.

    Parameters
    ----------
    folder : Path
    images, labels : str
        Sub-folders.
    table : Path, optional
        CSV whose column of names has the stems. Only its items are taken, in its order; without it, all
        images, by name.
    columns : Columns, optional
        Names of the table's columns.
    mpp : float, optional
        µm per pixel of images of which the table says nothing.

    Raises
    ------
    RunError
        When an image or a label image is missing.
    """
    pictures = files_by_stem(folder / images, IMAGE_SUFFIXES)
    truths = files_by_stem(folder / labels, LABEL_SUFFIXES)
    rows = [Row(Item(name)) for name in pictures] if table is None else read_table(table, columns)
    for found, where in ((pictures, images), (truths, labels)):
        missing = [row.item.name for row in rows if row.item.name not in found]
        if missing:
            if table is not None and Path(missing[0]).stem in found:
                raise RunError(f"{table} names {missing[0]!r}: leave the suffix of the file out.")
            raise RunError(
                f"{folder / where} has no file for {some_of([repr(name) for name in missing])}; add it, or "
                "leave the item out of the table."
            )
    return [
        LabelledFile(row.item, pictures[row.item.name], truths[row.item.name], row.mpp or mpp) for row in rows
    ]


def require_label_values(classes: ClassTable) -> None:
    """Raise RunError where the value of a class is no label value: 1 to 254."""
    for known in classes:
        if not 0 < known.value < IGNORE:
            raise RunError(
                f"Field 'data.classes': {known.name!r} has the value {known.value}; give it one of 1 to 254."
            )


def require_same_size(name: str, image: RGB, labels: npt.NDArray[np.integer[Any]]) -> None:
    """Raise RunError where a label image is not of its image's pixels."""
    if image.shape[:2] != labels.shape:
        raise RunError(
            f"The image {name!r} is of {image.shape[1]} x {image.shape[0]} px, its labels of "
            f"{labels.shape[1]} x {labels.shape[0]} px: they must be of the same pixels."
        )
