"""A folder of images with a folder of label images of class values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.files import Decoded, read_rgb, read_values
from napari_lumen.training.data.fingerprints import checksum
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.data.labelled_files import LabelledFile, require_label_values, require_same_size
from napari_lumen.training.data.regrouped import Regrouped
from napari_lumen.training.data.splits import Split


class LabelledFolder:
    """Images with label images of class values: an `ImageSet`.

    Parameters
    ----------
    files : sequence of LabelledFile
        As of `labelled_files`.
    classes : ClassTable
    values : mapping of int to int, optional
        Class value, 0 or `IGNORE` of each value in the files; without it they are the class values, and
        255 says that there is no label.
    blue_first : bool
        Whether the images were written with their channels reversed, as OpenCV has them.
    cache : TileCache, optional
        Of decoded files.
    """

    def __init__(
        self,
        files: Sequence[LabelledFile],
        classes: ClassTable,
        *,
        values: Mapping[int, int] | None = None,
        blue_first: bool = False,
        cache: TileCache | None = None,
    ) -> None:
        require_label_values(classes)
        self.classes = classes
        self.items = tuple(file.item for file in files)
        self._files = tuple(files)
        self._values = values
        self._read = _read_blue_first if blue_first else read_rgb
        self._decoded = Decoded(cache)

    def image(self, index: int) -> RGB:
        """Return the image of an item: uint8 (h, w, 3)."""
        return self._decoded.get(self._files[index].image, self._read)

    def labels(self, index: int) -> Labels:
        """Return class values: uint8 (h, w).

        Raises
        ------
        RunError
            When there is another value, or the size is not the image's.
        """
        labels = self._decoded.get(self._files[index].labels, self._class_values)
        require_same_size(self.items[index].name, self.image(index), labels)
        return labels

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, or None where it is not known."""
        return self._files[index].mpp

    def fingerprint(self, index: int) -> str:
        """Return a checksum of both files of an item."""
        file = self._files[index]
        return checksum(file.image, file.labels, self._values, self._read.__name__)

    def _class_values(self, path: Path) -> Labels:
        return read_class_values(path, self.classes, self._values)


def require_a_class(images: object, split: Split, check: Callable[[], None]) -> None:
    """Make sure that the label images of a folder show a class to who is trained on them.

    Looks no further than the first that does.

    Raises
    ------
    RunError
        When none does, as where masks are of 0 and 255.
    """
    folder = images.images if isinstance(images, Regrouped) else images
    if not isinstance(images, LabelledFolder | Regrouped) or not isinstance(folder, LabelledFolder):
        return
    for index in split.indices(images.items, "train"):
        check()
        if np.isin(images.labels(index), [known.value for known in images.classes]).any():
            return
    known = ", ".join(f"{known.value} for {known.name}" for known in folder.classes)
    raise RunError(
        f"Field 'data.classes': no label image of those for training holds a class, {known}. 0 is "
        f"background, and {IGNORE} says that there is no label: a mask of 0 and {IGNORE} has to be one of 0 "
        "and 1."
    )


def read_class_values(path: Path, classes: ClassTable, values: Mapping[int, int] | None = None) -> Labels:
    """Read a label image as class values: uint8 (h, w).

    Parameters
    ----------
    path : Path
    classes : ClassTable
    values : mapping of int to int, optional
        Class value, 0 or `IGNORE` of each value in the file; without it they are the class values, and 255
        says that there is no label.

    Raises
    ------
    RunError
        When it cannot be read, or holds another value.
    """
    if values is None:
        values = {value: value for value in (0, IGNORE, *(known.value for known in classes))}
    stored = read_values(path)
    found = np.unique(stored)
    strange = [int(value) for value in found if int(value) not in values]
    if strange:
        known = ", ".join(f"{value} for {_named(classes, values[value])}" for value in sorted(values))
        raise RunError(
            f"{path} holds the value {strange[0]}, which means nothing: there is {known}. Add the class, or "
            "map the values."
        )
    return np.array([values[int(value)] for value in found], np.uint8)[np.searchsorted(found, stored)]


def _named(classes: ClassTable, value: int) -> str:
    return {0: "background", IGNORE: "no label"}.get(value) or classes[value].name


def _read_blue_first(path: Path) -> RGB:
    return np.ascontiguousarray(read_rgb(path)[..., ::-1])
