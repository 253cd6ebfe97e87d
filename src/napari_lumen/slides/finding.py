"""Which slides are meant by files, folders of slides and patterns, each slide once."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from napari_lumen.errors import SlideError
from napari_lumen.slides import SUFFIXES
from napari_lumen.slides.dicom_instance import is_dicom
from napari_lumen.slides.location import located

_DICOM = (".dcm", ".dicom")
_RUN = ("run.json", "plan.json")
_ZARR = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


def find_slides(given: Iterable[str | os.PathLike[str]]) -> list[Path | str]:
    """Return the slides that are meant, each once, in the order given; those of a folder by name.

    Parameters
    ----------
    given : iterable of str or path
        Slide files, DICOM and OME-Zarr slides that are folders, URLs; folders of slides (those in folders
        inside them are not taken); and patterns such as ``slides/*.svs`` or ``slides/**/*.svs``. A file that
        is not there is taken too, to be told of as any other that cannot be opened.

    Raises
    ------
    SlideError
        When a folder or a pattern holds no slide.
    """
    found: dict[str, Path | str] = {}
    for item in given:
        for place in _meant(located(item)):
            key = place if isinstance(place, str) else os.path.realpath(place)
            found.setdefault(key, place if isinstance(place, str) else place.absolute())
    return list(found.values())


def names_one_slide(given: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a slide, and no folder of slides and no pattern."""
    place = located(given)
    return isinstance(place, str) or not (_is_folder_of_slides(place) or _is_pattern(place))


def _meant(place: Path | str) -> Iterator[Path | str]:
    if isinstance(place, str):
        yield place
    elif _is_pattern(place):
        matches = sorted(glob.glob(str(place), recursive=True))  # noqa: PTH207  Path.glob wants a root
        if not matches:
            raise SlideError(
                f"There is no file {place}, and nothing matches it as a pattern. Check the path."
            )
        for match in matches:
            yield from _meant(Path(match))
    elif _is_folder_of_slides(place):
        inside = [entry for entry in sorted(place.iterdir()) if _is_slide(entry)]
        if not inside:
            raise SlideError(
                f"There is no slide in the folder {place}. Name those in folders inside it by a pattern, as "
                f"in '{place}/**/*.svs'."
            )
        yield from inside
    else:
        yield place


def _is_pattern(place: Path) -> bool:
    return glob.has_magic(str(place)) and not place.exists()


def _is_folder_of_slides(place: Path) -> bool:
    return place.is_dir() and not _is_slide_folder(place)


def _is_slide(place: Path) -> bool:
    if place.name.startswith("."):
        return False
    if place.is_dir():
        is_run = any((place / name).exists() for name in _RUN)
        return not is_run and _is_slide_folder(place)
    return _is_other_than_dicom(place)


def _is_slide_folder(folder: Path) -> bool:
    """Return whether a folder is one slide: OME-Zarr, or DICOM files and no slides of another kind."""
    if folder.suffix.lower() == ".zarr" or any((folder / name).is_file() for name in _ZARR):
        return True
    files = [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    if any(map(_is_other_than_dicom, files)):
        return False
    return any(file.suffix.lower() in _DICOM or (not file.suffix and is_dicom(file)) for file in files)


def _is_other_than_dicom(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix in SUFFIXES and suffix not in _DICOM
