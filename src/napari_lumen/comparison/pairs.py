"""Which prediction belongs to which truth, and which classes they are of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import read_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.companions import pixels_of, probability_of
from napari_lumen.comparison.sources import (
    IMAGE_SUFFIXES,
    OUTLINE_SUFFIXES,
    LabelImage,
    Objects,
    Outlines,
    RunLabels,
    Source,
    values_in,
)
from napari_lumen.errors import AnnotationError, RunError
from napari_lumen.evaluation import ImagePair
from napari_lumen.geometry import Grid, Region, Window, windows
from napari_lumen.inference import Run
from napari_lumen.inference.run import RUN_FILE


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes
    ----------
    names : mapping of int to str
        Names of the classes by label value; empty where they follow from the files.
    ignore : int or None
        Label value in the truth of what does not count.
    ignored_names : sequence of str
        Classes of outlines that do not count.
    objects : {"areas", "numbers"} or None
        What the objects are; None where they are not scored.
    images, probability : Path or None
        Folders of the images themselves and of maps, named as the truth.
    group : re.Pattern or None
        What of a name says which patient or slide an image is of.
    tile : int
        Side of the tiles that slides are cut into, px.
    region : Region or None
        Part of the slide, level-0 px.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    ignore: int | None = None
    ignored_names: Sequence[str] = ()
    objects: Objects | None = None
    images: Path | None = None
    probability: Path | None = None
    group: re.Pattern[str] | None = None
    tile: int = 2048
    region: Region | None = None


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes
    ----------
    classes : ClassTable
    ignore : int or None
    pairs : iterator of ImagePair
    left_out : list of str
        Predictions without a truth.
    """

    classes: ClassTable
    ignore: int | None
    pairs: Iterator[ImagePair]
    left_out: list[str]


def compare(predicted: Path, truth: Path, wanted: Wanted) -> Comparison:
    """Pair what lies at two paths.

    Parameters
    ----------
    predicted : Path
        A run, a label image, a GeoJSON, or a folder of images and GeoJSON.
    truth : Path
        The same, but no run; a folder where the prediction is a folder, files of the same names.
    wanted : Wanted

    Raises
    ------
    AnnotationError
        When a truth has no prediction, a file is of no kind that can be read, or classes do not fit.
    """
    run = Run.open(predicted) if (predicted / RUN_FILE).exists() else None
    if run is not None and not any(raster.kind == "labels" for raster in run.record.rasters):
        raise RunError(f"{predicted} holds no labels, but a heat map: there are no pixels to compare.")
    if run is None and predicted.is_dir() and truth.is_dir():
        found, left_out = _by_name(predicted, truth)
    elif truth.is_dir() or (run is None and predicted.is_dir()):
        raise AnnotationError(
            f"{predicted} and {truth} cannot be compared: give two folders of files of the same names, two "
            "files, or a run and a file."
        )
    else:
        found, left_out = {_stem(truth): (predicted, truth)}, []
    raw = {
        name: (run if run is not None else _open(said, wanted), _open(there, wanted))
        for name, (said, there) in found.items()
    }
    classes = _classes(raw, run, wanted)
    ignore = wanted.ignore
    if ignore is None and wanted.ignored_names:
        ignore = max(item.value for item in classes) + 1
    pairs = _pairs(raw, classes, ignore, wanted, folder=predicted.is_dir() and run is None)
    return Comparison(classes, ignore, pairs, left_out)


_Raw = LabelImage | list[Annotation] | Run


def _pairs(
    raw: Mapping[str, tuple[_Raw, _Raw]],
    classes: ClassTable,
    ignore: int | None,
    wanted: Wanted,
    folder: bool,
) -> Iterator[ImagePair]:
    for name, sides in raw.items():
        said, there = (
            _source(side, name, classes, dict.fromkeys(wanted.ignored_names, value))
            for side, value in zip(sides, (0, ignore or 0), strict=True)
        )
        grid = _common_grid(said, there)
        area = grid.region if wanted.region is None else grid.region.intersect(wanted.region)
        if isinstance(said, RunLabels) and said.run.record.region is not None:
            area = area.intersect(Region(*said.run.record.region))
        whole = grid.window_of(area)
        side = max(whole.height, whole.width) if folder else wanted.tile
        for part in windows((whole.height, whole.width), max(1, side)):
            window = Window(part.y + whole.y, part.x + whole.x, part.height, part.width)
            place = (
                name if part == Window(0, 0, whole.height, whole.width) else f"{name} {_place(grid, window)}"
            )
            yield ImagePair(
                name=place,
                predicted=said.labels(grid, window),
                truth=there.labels(grid, window),
                predicted_objects=said.objects(grid, window) if wanted.objects else None,
                true_objects=there.objects(grid, window) if wanted.objects else None,
                probability=probability_of(said, name, window, classes, wanted.probability),
                pixels=pixels_of(said, name, grid, window, wanted.images),
                group=_group(place, wanted),
            )


def _source(side: _Raw, name: str, classes: ClassTable, skipped: Mapping[str, int]) -> Source:
    if isinstance(side, LabelImage):
        return replace(side)  # one that holds its pixels no longer than it is looked at
    return RunLabels(side, classes) if isinstance(side, Run) else Outlines(name, side, classes, skipped)


def _common_grid(said: Source, there: Source) -> Grid:
    """Return the pixels to compare on: those of a side that has some, else level-0 pixels."""
    grid = said.grid or there.grid
    if grid is not None:
        return grid
    edges = [side.bounds for side in (said, there) if isinstance(side, Outlines)]
    bottom, right = (max(edge[axis] for edge in edges) for axis in (0, 1))
    return Grid((max(0, math.ceil(bottom)), max(0, math.ceil(right))), (1.0, 1.0))


def _place(grid: Grid, window: Window) -> str:
    region = grid.region_of(window)
    return f"y={region.y:.0f} x={region.x:.0f}"


def _by_name(predicted: Path, truth: Path) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Pair the files of two folders; each name once in each."""
    said, there = _files(predicted), _files(truth)
    missing = sorted(there.keys() - said.keys())
    if not there:
        raise AnnotationError(f"{truth} holds no label image and no GeoJSON.")
    if missing:
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        raise AnnotationError(
            f"{predicted} holds no prediction for {', '.join(missing[:3])}{more} of {truth}. A truth that is "
            "left out would flatter the score."
        )
    return {name: (said[name], there[name]) for name in sorted(there)}, sorted(said.keys() - there.keys())


def _files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.lower().endswith(IMAGE_SUFFIXES + OUTLINE_SUFFIXES) or path.name.startswith("."):
            continue
        if _stem(path) in found:
            raise AnnotationError(
                f"{folder} holds {found[_stem(path)].name} and {path.name}: which is meant?"
            )
        found[_stem(path)] = path
    return found


def _stem(path: Path) -> str:
    lower = path.name.lower()
    suffix = next((end for end in IMAGE_SUFFIXES + OUTLINE_SUFFIXES if lower.endswith(end)), path.suffix)
    return path.name[: len(path.name) - len(suffix)]


def _open(path: Path, wanted: Wanted) -> LabelImage | list[Annotation]:
    if path.name.lower().endswith(OUTLINE_SUFFIXES):
        return read_annotations(path)
    if path.name.lower().endswith(IMAGE_SUFFIXES):
        return LabelImage(path, wanted.objects or "areas", wanted.ignore)
    known = ", ".join((*IMAGE_SUFFIXES, ".geojson", ".xml"))
    raise AnnotationError(f"{path} is neither a run nor a file of a kind that can be compared ({known}).")


def _classes(raw: Mapping[str, tuple[_Raw, _Raw]], run: Run | None, wanted: Wanted) -> ClassTable:
    """Return the classes: as given, of the run, by the names of outlines, or by the values in images."""
    if wanted.names:
        return ClassTable.named(wanted.names)
    if run is not None:
        return run.record.classes
    sides = [side for pair in raw.values() for side in pair]
    outlines = [item for side in sides if isinstance(side, list) for item in side]
    names = sorted({item.class_name for item in outlines if item.class_name} - set(wanted.ignored_names))
    if wanted.objects == "numbers" or (outlines and not names):
        return ClassTable.named([names[0] if len(names) == 1 else "object"])
    if names:
        return ClassTable.named(names)
    values = values_in(side for side in sides if isinstance(side, LabelImage))
    return ClassTable.named({value: f"class {value}" for value in values or [1]})


def _group(name: str, wanted: Wanted) -> str | None:
    if wanted.group is None:
        return None
    match = wanted.group.search(name)
    if match is None:
        raise AnnotationError(f"--group {wanted.group.pattern!r} does not fit the name {name!r}.")
    return match[1] if wanted.group.groups else match[0]
