"""A folder of images with a folder of label images of object numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.files import Decoded, read_rgb, read_values
from napari_lumen.training.data.fingerprints import checksum
from napari_lumen.training.data.image_set import RGB, Instances, Labels
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.data.item_table import read_records
from napari_lumen.training.data.labelled_files import LabelledFile, require_label_values, require_same_size


class InstanceFolder:
    """Images with label images of object numbers: an `InstanceSet`.

    Parameters
    ----------
    files : sequence of LabelledFile
    classes : ClassTable
    class_of : mapping of str to mapping of int to int, optional
        Class value of each object, by item and number, as of `read_object_classes`; an object that is not
        in it has no label. Without it, all are of the only class.
    cache : TileCache, optional
    """

    def __init__(
        self,
        files: Sequence[LabelledFile],
        classes: ClassTable,
        *,
        class_of: Mapping[str, Mapping[int, int]] | None = None,
        cache: TileCache | None = None,
    ) -> None:
        require_label_values(classes)
        names, named = {file.item.name for file in files}, sorted(class_of or ())
        strangers = [name for name in named if name not in names]
        if strangers and (
            len(strangers) == len(named) or any(Path(name).stem in names for name in strangers)
        ):
            raise RunError(
                f"Field 'data.object_classes': there is no image {strangers[0]!r}; name images without the "
                "suffix of their files."
            )
        if class_of is None and len(classes) != 1:
            raise RunError(
                f"Field 'data.object_classes': the objects may be of {len(classes)} classes; give a table "
                "with the class of each object."
            )
        self.classes = classes
        self.items = tuple(file.item for file in files)
        self._files = tuple(files)
        self._class_of = class_of
        self._decoded = Decoded(cache)

    def image(self, index: int) -> RGB:
        """Return the image of an item: uint8 (h, w, 3)."""
        return self._decoded.get(self._files[index].image, read_rgb)

    def instances(self, index: int) -> Instances:
        """Return the numbers of the objects: int32 (h, w).

        Raises
        ------
        RunError
            When the size is not the image's.
        """
        instances = self._decoded.get(self._files[index].labels, read_values)
        require_same_size(self.items[index].name, self.image(index), instances)
        return instances

    def labels(self, index: int) -> Labels:
        """Return class values: uint8 (h, w)."""
        instances = self.instances(index)
        if self._class_of is None:
            return (instances > 0).astype(np.uint8) * np.uint8(next(iter(self.classes)).value)
        return _labels_of(instances, self._class_of.get(self.items[index].name, {}))

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, or None where it is not known."""
        return self._files[index].mpp

    def fingerprint(self, index: int) -> str:
        """Return a checksum of both files of an item, and of the classes of its objects."""
        file = self._files[index]
        classes = {} if self._class_of is None else self._class_of.get(file.item.name, {})
        return checksum(file.image, file.labels, self._class_of is None, sorted(classes.items()))


def read_object_classes(path: Path, classes: ClassTable) -> dict[str, dict[int, int]]:
    """Read a CSV with the columns name, instance and class (its name or value): what class each object has.

    Raises
    ------
    RunError
        When it cannot be read, names no object, or a line names no class of the table.
    """
    by_text = {str(key): known.value for known in classes for key in (known.value, known.name)}
    found: dict[str, dict[int, int]] = {}
    for line, record in read_records(path, ("name", "instance", "class")):
        name, number, said = (record[column].strip() for column in ("name", "instance", "class"))
        if said not in by_text:
            raise RunError(
                f"{path}, line {line}, has the class {said!r}; there is "
                f"{', '.join(known.name for known in classes)}."
            )
        if not number.isdigit():
            raise RunError(f"{path}, line {line}, has {number!r} as the number of an object.")
        found.setdefault(name, {})[int(number)] = by_text[said]
    if not found:
        raise RunError(f"{path} names no object. Give each its line: name, instance and class.")
    return found


def _labels_of(instances: Instances, classes: Mapping[int, int]) -> Labels:
    numbers = np.unique(instances)
    values = [0 if number == 0 else classes.get(int(number), IGNORE) for number in numbers]
    return np.array(values, np.uint8)[np.searchsorted(numbers, instances)]
