"""Public sets as they lie under the development data, with what must be known to use them rightly."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.fingerprints import checksum
from napari_lumen.training.data.graded import GradedImages, graded_by_table
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.data.instance_folder import InstanceFolder
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.item_table import Columns, read_table
from napari_lumen.training.data.labelled_files import labelled_files
from napari_lumen.training.data.labelled_folder import LabelledFolder
from napari_lumen.training.nuclei import stain_group

NUCLEUS = ClassTable.of([(1, "nucleus", (0, 190, 255))])
CONSEP_CLASSES = ClassTable.of(
    [
        (1, "other", (128, 128, 128)),
        (2, "inflammatory", (0, 114, 178)),
        (3, "healthy epithelium", (0, 158, 115)),
        (4, "malignant epithelium", (213, 94, 0)),
        (5, "fibroblast", (204, 121, 167)),
        (6, "muscle", (230, 159, 0)),
        (7, "endothelial", (240, 228, 66)),
    ]
)
GLAS_GRADES = ClassTable.of([(1, "benign", (0, 158, 115)), (2, "malignant", (213, 94, 0))])

_CONSEP_MPP, _CONSEP_SIDE = 0.25, 1000
_GLAS_MPP = 0.62
_CONSEP_NAME = re.compile(r"(?P<tile>.+)_r(?P<row>\d)(?P<column>\d)")


def dsb2018(
    folder: Path, *, kinds: Collection[str] | None = None, cache: TileCache | None = None
) -> InstanceFolder:
    """Return the images of the Data Science Bowl 2018 with their nuclei; CC0.

    The pixel size is not known. `Item.group` is the stain group: ``fluorescence``, ``brightfield``, ``pink``,
    ``lavender`` or ``white``. The stained ones come from few slides: split them by group, never by image.

    Parameters
    ----------
    folder : Path
        With `images.csv`, `images` and `labels`.
    kinds : collection of str, optional
        Only those of the column `kind`: ``stained``, ``brightfield``, ``fluorescence``.
    cache : TileCache, optional
    """
    table = folder / "images.csv"
    columns = Columns(name="image_id")
    groups = {}
    for row in read_table(table, columns):
        kind = row.fields["kind"]
        red, green, blue = (float(row.fields[f"mean_{channel}"]) for channel in "rgb")
        if kinds is None or kind in kinds:
            groups[row.item.name] = stain_group(kind, red, green, blue)
    files = [
        replace(file, item=replace(file.item, group=groups[file.item.name]))
        for file in labelled_files(folder, table=table, columns=columns)
        if file.item.name in groups
    ]
    return InstanceFolder(files, NUCLEUS, cache=cache)


def consep_patches(folder: Path, *, cache: TileCache | None = None) -> LabelledFolder:
    """Return the CoNSeP patches of 256 px at 0.25 µm, each with its tile; for research and measuring only.

    Those of the last row and column overlap the ones before by 24 px, so patches of a tile belong on one
    side of a split. The files have blue first: as they are, haematoxylin would come out red-brown.
    """
    files = [
        replace(file, item=replace(file.item, tile=_consep_place(file.item.name)[0]))
        for file in labelled_files(folder, mpp=_CONSEP_MPP)
    ]
    return LabelledFolder(files, CONSEP_CLASSES, blue_first=True, cache=cache)


class ConsepTiles:
    """The CoNSeP tiles of 1000 px at 0.25 µm, put together from their patches: an `ImageSet`.

    Parameters
    ----------
    patches : LabelledFolder
        Of `consep_patches`.

    Raises
    ------
    RunError
        When the patches of a tile leave a part of it out.
    """

    def __init__(self, patches: LabelledFolder) -> None:
        self._patches = patches
        self._parts: dict[str, list[tuple[int, int, int]]] = {}
        for index, item in enumerate(patches.items):
            tile, row, column = _consep_place(item.name)
            self._parts.setdefault(tile, []).append((row, column, index))
        for tile, parts in self._parts.items():
            if len(parts) != 16:
                raise RunError(f"The CoNSeP tile {tile} has {len(parts)} of its 16 patches; add the others.")
        self.classes = patches.classes
        self.items = tuple(Item(tile, tile=tile) for tile in self._parts)

    def image(self, index: int) -> RGB:
        """Return the image of a tile: uint8 (1000, 1000, 3)."""
        out = np.empty((_CONSEP_SIDE, _CONSEP_SIDE, 3), np.uint8)
        for row, column, patch in self._parts[self.items[index].name]:
            _lay(out, self._patches.image(patch), row, column)
        return out

    def labels(self, index: int) -> Labels:
        """Return class values of a tile: uint8 (1000, 1000)."""
        out = np.empty((_CONSEP_SIDE, _CONSEP_SIDE), np.uint8)
        for row, column, patch in self._parts[self.items[index].name]:
            _lay(out, self._patches.labels(patch), row, column)
        return out

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel."""
        return _CONSEP_MPP

    def fingerprint(self, index: int) -> str:
        """Return a checksum of the files of all patches of a tile."""
        parts = self._parts[self.items[index].name]
        return checksum(*(self._patches.fingerprint(patch) for _, _, patch in parts))


def glas(folder: Path, *, cache: TileCache | None = None) -> GradedImages:
    """Return the GlaS training images with their patients and grades; for research and measuring only.

    They were scanned at 0.62005 µm (20x). Patients have several images: split by patient.
    """
    columns = Columns(name="image_id", patient="patient_id")
    files = graded_by_table(folder / "images", folder / "images.csv", columns=columns, mpp=_GLAS_MPP)
    return GradedImages(files, GLAS_GRADES, cache=cache)


def _consep_place(name: str) -> tuple[str, int, int]:
    match = _CONSEP_NAME.fullmatch(name)
    if match is None:
        raise RunError(f"{name!r} is no CoNSeP patch; they are named as train_1_r00 to train_27_r33.")
    return match["tile"], int(match["row"]), int(match["column"])


def _lay(out: RGB | Labels, patch: RGB | Labels, row: int, column: int) -> None:
    """Lay a patch in its place; those of the last row and column end at the tile's border."""
    height, width = patch.shape[:2]
    y, x = min(row * height, _CONSEP_SIDE - height), min(column * width, _CONSEP_SIDE - width)
    out[y : y + height, x : x + width] = patch
