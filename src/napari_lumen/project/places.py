"""Where the parts of a project lie: written relative to its folder, found again after a move."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.location import located

_MOST = 20_000  # files that are looked through


def written(place: str | os.PathLike[str], folder: Path) -> str:
    """Return a place as a project writes it: relative to its folder where there is a way, with slashes."""
    found = located(place)
    if isinstance(found, str):
        return found
    try:
        return Path(os.path.relpath(found.absolute(), folder.absolute())).as_posix()
    except ValueError:  # on another disk of Windows
        return found.absolute().as_posix()


def placed(text: str, folder: Path) -> Path | str:
    """Return where a place lies that a project has written; a URL as text."""
    found = located(text)
    if isinstance(found, str):
        return found
    return Path(os.path.normpath(folder.absolute() / found))


def is_there(place: Path | str) -> bool:
    """Whether a file or folder is there; of a URL that is not known before it is opened."""
    try:
        return isinstance(place, str) or place.exists()
    except OSError:  # such as a folder that may not be looked into
        return False


def fingerprint_at(place: Path | str) -> str:
    """Return the fingerprint of the slide that lies at a place.

    Raises
    ------
    SlideError
        When it cannot be opened.
    """
    with open_slide(place) as slide:
        return slide.fingerprint


def find_slide(fingerprint: str, name: str, folders: Iterable[Path]) -> Path | None:
    """Look for a slide by its fingerprint in folders and all below them, files of the same name first.

    Parameters
    ----------
    fingerprint : str
    name : str
        File name that it had; only files of the same suffix are looked at.
    folders : iterable of Path
    """
    suffix = Path(name).suffix.lower()
    found = [
        path
        for path in islice(_below(folders), _MOST)
        if path.suffix.lower() == suffix and not path.name.startswith(".")
    ]
    for path in sorted(dict.fromkeys(found), key=lambda path: (path.name != name, str(path))):
        try:
            if fingerprint_at(path) == fingerprint:
                return path
        except SlideError:
            continue
    return None


def _below(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for root, inside, files in os.walk(folder):
            zarrs = [name for name in inside if name.lower().endswith(".zarr")]
            inside[:] = [name for name in inside if name not in zarrs]
            yield from (Path(root, name) for name in (*zarrs, *files))
