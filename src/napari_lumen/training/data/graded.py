"""Images of one class each, from a CSV or from a sub-folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.files import IMAGE_SUFFIXES, Decoded, files_by_stem, read_rgb
from napari_lumen.training.data.fingerprints import checksum
from napari_lumen.training.data.image_set import RGB
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.item_table import Columns, plain, read_table


@dataclass(frozen=True, slots=True)
class GradedFile:
    """An image and its class, by name.

    Attributes
    ----------
    item : Item
    image : Path
    grade : str
    mpp : float or None
        µm per pixel.
    """

    item: Item
    image: Path
    grade: str
    mpp: float | None = None


def graded_by_table(
    folder: Path,
    table: Path,
    *,
    grade: str = "grade",
    columns: Columns | None = None,
    mpp: float | None = None,
) -> list[GradedFile]:
    """Find the images of a folder that a CSV names, with their classes.

    Parameters
    ----------
    folder : Path
        Of the images.
    table : Path
        CSV whose column of names has their stems.
    grade : str
        The column of the classes.
    columns : Columns, optional
        Names of the other columns.
    mpp : float, optional
        µm per pixel of images of which the table says nothing.

    Raises
    ------
    RunError
        When an image is missing, or has no class.
    """
    pictures = files_by_stem(folder, IMAGE_SUFFIXES)
    found = []
    for row in read_table(table, columns):
        if plain(grade) not in row.fields:
            raise RunError(f"{table} has no column {grade!r}; there is {', '.join(row.fields)}.")
        name, known = row.item.name, row.fields[plain(grade)].strip()
        if name not in pictures:
            raise RunError(
                f"{folder} has no image {name!r}, which {table.name} names; add it or its line goes."
            )
        if not known:
            raise RunError(f"{table} has nothing in the column {grade!r} for {name!r}; give its class.")
        found.append(GradedFile(row.item, pictures[name], known, row.mpp or mpp))
    return found


def graded_by_folder(folder: Path, *, mpp: float | None = None) -> list[GradedFile]:
    """Find the images of sub-folders that are named as classes; items are named ``class/stem``.

    Raises
    ------
    RunError
        When there is no sub-folder, or one without images.
    """
    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}. Check the path.")
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not inside:
        raise RunError(f"{folder} holds no sub-folder; put the images of each class into one of its name.")
    return [
        GradedFile(Item(f"{grade.name}/{stem}"), path, grade.name, mpp)
        for grade in inside
        for stem, path in files_by_stem(grade, IMAGE_SUFFIXES).items()
    ]


class GradedImages:
    """Images of one class each: a `GradedSet`.

    Parameters
    ----------
    files : sequence of GradedFile
        As of `graded_by_table` or `graded_by_folder`.
    classes : ClassTable, optional
        Without it, the names that occur, sorted, with values from 1.
    cache : TileCache, optional
        Of decoded files.

    Raises
    ------
    RunError
        When an image is of a class that is not in the table.
    """

    def __init__(
        self,
        files: Sequence[GradedFile],
        classes: ClassTable | None = None,
        *,
        cache: TileCache | None = None,
    ) -> None:
        names = sorted({file.grade for file in files})
        self.classes = classes or ClassTable.named(names)
        places = {known.name: place for place, known in enumerate(self.classes)}
        for file in files:
            if file.grade not in places:
                raise RunError(
                    f"The image {file.item.name!r} is of the class {file.grade!r}; there is "
                    f"{', '.join(places)}."
                )
        self.items = tuple(file.item for file in files)
        self._grades = tuple(places[file.grade] for file in files)
        self._files = tuple(files)
        self._decoded = Decoded(cache)

    def image(self, index: int) -> RGB:
        """Return the image of an item: uint8 (h, w, 3)."""
        return self._decoded.get(self._files[index].image, read_rgb)

    def grade(self, index: int) -> int:
        """Return which of `classes` an item is of, by its place in the table, from 0."""
        return self._grades[index]

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, or None where it is not known."""
        return self._files[index].mpp

    def fingerprint(self, index: int) -> str:
        """Return a checksum of the file and class of an item."""
        return checksum(self._files[index].image, self._grades[index])
