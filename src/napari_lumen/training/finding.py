"""What kind of training data a folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_lumen.corrections.index import INDEX
from napari_lumen.corrections.subject import corrections_folder
from napari_lumen.errors import RunError
from napari_lumen.evaluation.matching import MANY, are_numbers
from napari_lumen.training.data.files import IMAGE_SUFFIXES, LABEL_SUFFIXES, files_by_stem, read_values
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.data.item_table import plain
from napari_lumen.training.data.project import RECORD

_LOOKED_AT = 20  # label images, for the classes that there are
_TABLES = ("items.csv", "images.csv")


def find_source(folder: Path) -> dict[str, Any]:
    """Return the fields of the data in a folder, as a configuration has them.

    It may be a project, hold corrections (or be a run with some), images/ and labels/, or a sub-folder of
    images for each class. The public sets are known by their files.

    Raises
    ------
    RunError
        When it is none of these.
    """
    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}. Choose another.")
    if (folder / RECORD).is_file():
        return {"kind": "project", "folder": str(folder)}
    if (corrections_folder(folder) / INDEX).is_file():
        return {"kind": "corrections", "folder": str(folder)}
    known = _known(folder)
    if known is not None:
        return {"kind": known, "folder": str(folder)}
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return {"kind": "images", "folder": str(folder), **_labels(folder / "labels"), **_table(folder)}
    inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if len(inside) > 1 and all(_has_images(path) for path in inside):
        return {"kind": "graded", "folder": str(folder)}
    raise RunError(
        f"{folder} holds no data to train on: no project, no corrections, neither images/ with labels/ nor a "
        "sub-folder of images for each class."
    )


def _known(folder: Path) -> str | None:
    head = _head(folder / "images.csv")
    if {"image_id", "kind", "mean_r"} <= head and (folder / "labels").is_dir():
        return "dsb2018"
    if {"image_id", "patient_id", "grade"} <= head:
        return "glas"
    if (folder / "labels" / "train_1_r00.png").is_file():
        return "consep"
    return None


def _head(table: Path) -> set[str]:
    try:
        with table.open(encoding="utf-8-sig") as file:
            return {plain(column) for column in file.readline().split(",")}
    except (OSError, UnicodeDecodeError):
        return set()


def _table(folder: Path) -> dict[str, str]:
    """Return the table of the images, where one lies beside them."""
    found = next((folder / name for name in _TABLES if "name" in _head(folder / name)), None)
    return {} if found is None else {"table": str(found)}


def _labels(folder: Path) -> dict[str, Any]:
    """Return the classes: by the values in the first label images, or one class of numbered objects."""
    values: set[int] = set()
    numbered = []
    for path in list(files_by_stem(folder, LABEL_SUFFIXES).values())[:_LOOKED_AT]:
        pixels = read_values(path)
        if pixels.size and pixels.max() > IGNORE:
            return {"classes": ["object"], "objects": True}
        found = set(np.unique(pixels).tolist()) - {0}
        if len(found) >= MANY:
            numbered.append(are_numbers(pixels, found))
        values |= found
    if numbered and all(numbered):
        return {"classes": ["object"], "objects": True}
    highest = max(values - {0, IGNORE}, default=0)
    if not highest:
        raise RunError(
            f"The label images in {folder} hold no class. Label some first; where they are of 0 and "
            f"{IGNORE}, write 1 for what is {IGNORE}, which says that there is no label."
        )
    return {"classes": [f"class {value}" for value in range(1, highest + 1)] if highest > 1 else ["object"]}


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())
