"""The files that are compared: pairing those of two folders by their names, and opening one."""

from __future__ import annotations

from pathlib import Path

from napari_lumen.annotations.formats import read_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.asked import Drawn, Wanted
from napari_lumen.comparison.label_image import IMAGE_SUFFIXES, LabelImage
from napari_lumen.comparison.outlines import OUTLINE_SUFFIXES
from napari_lumen.errors import AnnotationError, some_of


def by_name(predicted: Path, truth: Path) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Pair the files of two folders; each name once in each.

    Returns
    -------
    dict of str to (Path, Path)
        Prediction and truth by their name.
    list of str
        Names of predictions without a truth.

    Raises
    ------
    AnnotationError
        When a truth has no prediction, or two files of a folder have the same name.
    """
    said, there = _files(predicted), _files(truth)
    missing = sorted(there.keys() - said.keys())
    if not there:
        raise AnnotationError(f"{truth} holds no label image and no GeoJSON.")
    if missing:
        raise AnnotationError(
            f"{predicted} holds no prediction for {some_of(missing)} of {truth}. A truth that is "
            "left out would flatter the score."
        )
    return {name: (said[name], there[name]) for name in sorted(there)}, sorted(said.keys() - there.keys())


def _files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.lower().endswith(IMAGE_SUFFIXES + OUTLINE_SUFFIXES) or path.name.startswith("."):
            continue
        if stem(path) in found:
            raise AnnotationError(f"{folder} holds {found[stem(path)].name} and {path.name}: which is meant?")
        found[stem(path)] = path
    return found


def stem(path: Path | Drawn) -> str:
    """Return the name of a side: of a file without its suffixes."""
    if isinstance(path, Drawn):
        return stem(Path(path.place)) if path.place else path.name
    lower = path.name.lower()
    suffix = next((end for end in IMAGE_SUFFIXES + OUTLINE_SUFFIXES if lower.endswith(end)), path.suffix)
    return path.name[: len(path.name) - len(suffix)]


def open_side(path: Path | Drawn, wanted: Wanted) -> LabelImage | list[Annotation]:
    """Return a label image, which is read later, or outlines.

    Raises
    ------
    AnnotationError
        When it is neither, or outlines cannot be read.
    """
    if isinstance(path, Drawn):
        return list(path.annotations)
    if path.name.lower().endswith(OUTLINE_SUFFIXES):
        return read_annotations(path)
    if path.name.lower().endswith(IMAGE_SUFFIXES):
        return LabelImage(path, wanted.objects or "areas", wanted.ignore)
    known = ", ".join((*IMAGE_SUFFIXES, ".geojson", ".xml"))
    raise AnnotationError(f"{path} is neither a run nor a file of a kind that can be compared ({known}).")
