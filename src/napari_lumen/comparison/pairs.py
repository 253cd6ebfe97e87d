"""Which prediction belongs to which truth, and which classes they are of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.comparison.asked import Drawn, Wanted
from napari_lumen.comparison.companions import pixels_of, probability_of
from napari_lumen.comparison.files import by_name, open_side, stem
from napari_lumen.comparison.label_image import LabelImage
from napari_lumen.comparison.naming import Raw, Side, classes_of, require_common, require_names
from napari_lumen.comparison.outlines import Outlines
from napari_lumen.comparison.renaming import with_names, with_values
from napari_lumen.comparison.rules import IGNORED, RuledOutlines, narrowed
from napari_lumen.comparison.run_labels import RunLabels
from napari_lumen.comparison.source import Source
from napari_lumen.comparison.whole_objects import Boxes, objects_of_tile
from napari_lumen.corrections import CorrectionStore
from napari_lumen.errors import AnnotationError, RunError
from napari_lumen.evaluation import ImagePair, ObjectPair
from napari_lumen.geometry import Grid, Region, Window, windows
from napari_lumen.inference import Run
from napari_lumen.inference.run import RUN_FILE


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
    count : int
        How many pairs there will be of a run; of anything else images.
    """

    classes: ClassTable
    ignore: int | None
    pairs: Iterator[ImagePair]
    left_out: list[str]
    count: int


def compare(predicted: Path, truth: Path | Drawn, wanted: Wanted) -> Comparison:
    """Pair what lies at two paths.

    Parameters
    ----------
    predicted : Path
        A run, a label image, a GeoJSON, or a folder of images and GeoJSON.
    truth : Path or Drawn
        The same, but no run; a folder where the prediction is a folder, files of the same names.
    wanted : Wanted

    Raises
    ------
    AnnotationError
        When a truth has no prediction, a file is of no kind that can be read, or classes do not fit.
    RunError
        When a run holds no labels, or no corrections where they are wanted.
    """
    run = Run.open(predicted) if (predicted / RUN_FILE).exists() else None
    if wanted.corrected:
        _require_corrections(predicted, run)
    if run is not None and not any(raster.kind == "labels" for raster in run.record.rasters):
        raise RunError(f"{predicted} holds no labels, but a heat map: there are no pixels to compare.")
    for side in (predicted, truth):
        if isinstance(side, Path) and not side.exists():
            raise AnnotationError(f"{side} is not there. Check the path.")
    found: Mapping[str, tuple[Path, Path | Drawn]]
    folder = not isinstance(truth, Drawn) and truth.is_dir()
    if run is None and predicted.is_dir() and isinstance(truth, Path) and folder:
        found, left_out = by_name(predicted, truth)
    elif folder or (run is None and predicted.is_dir()):
        raise AnnotationError(
            f"{predicted} and {truth} cannot be compared: give two folders of files of the same names, two "
            "files, or a run and a file."
        )
    else:
        found, left_out = {stem(truth): (predicted, truth)}, []
    raw: Mapping[str, tuple[Raw, Raw]] = {
        name: (run if run is not None else open_side(said, wanted), open_side(there, wanted))
        for name, (said, there) in found.items()
    }
    one, other = (Side([pair[side] for pair in raw.values()], wanted) for side in (0, 1))
    classes = classes_of(one, other, run, wanted)
    if wanted.renamed:
        require_names(other, classes, wanted)
        raw = {name: (said, _renamed(there, wanted)) for name, (said, there) in raw.items()}
        classes = classes_of(one, Side([there for _, there in raw.values()], wanted), run, wanted)
    else:
        require_common(one, other, predicted, truth, wanted)
    ignore = wanted.ignore
    known = [item.name for item in classes]
    ruled = any(isinstance(there, list) and narrowed(there, known) for _, there in raw.values())
    ruled = ruled or IGNORED in wanted.renamed.values()
    if ignore is None and (wanted.ignored_names or ruled):
        ignore = max(item.value for item in classes) + 1
    plans: Iterable[_Plan] = (
        _planned(name, sides, classes, ignore, wanted, whole=predicted.is_dir() and run is None)
        for name, sides in raw.items()
    )
    count = len(raw)
    if run is not None:  # its labels are read part by part; of images, one at a time is opened
        plans = list(plans)
        count = sum(len(plan.parts) for plan in plans)
    return Comparison(classes, ignore, _pairs(plans, classes, ignore, wanted), left_out, count)


@dataclass(frozen=True)
class _Plan:
    """Two sides, and the windows of their common grid that are looked at."""

    name: str
    said: Source
    there: Source
    grid: Grid
    whole: Window
    parts: list[Window]

    @cached_property
    def boxes(self) -> tuple[Boxes | None, Boxes | None]:
        """What says where the objects of both sides lie."""
        return self.said.boxes(self.grid), self.there.boxes(self.grid)


def _planned(
    name: str,
    sides: tuple[Raw, Raw],
    classes: ClassTable,
    ignore: int | None,
    wanted: Wanted,
    *,
    whole: bool,
) -> _Plan:
    """Return how two sides are gone through: whole, or in tiles."""
    said, there = (
        _source(side, name, classes, wanted, value)
        for side, value in zip(sides, (None, ignore or 0), strict=True)
    )
    if isinstance(there, LabelImage) and wanted.renamed:
        there = replace(there, renumbered=with_values(wanted.renamed, classes, ignore))
    grid = _common_grid(said, there)
    for side, other in ((said, there), (there, said)):
        if isinstance(side, Outlines) and not _of_a_part(other):
            side.require_within(other)
    area = grid.window_of(_area(grid, said, there, wanted))
    size = max(area.height, area.width) if whole else wanted.tile
    parts = [
        Window(part.y + area.y, part.x + area.x, part.height, part.width)
        for part in windows((area.height, area.width), max(1, size))
    ]
    return _Plan(name, said, there, grid, area, parts)


def _pairs(
    plans: Iterable[_Plan], classes: ClassTable, ignore: int | None, wanted: Wanted
) -> Iterator[ImagePair]:
    for plan in plans:
        said, there, grid = plan.said, plan.there, plan.grid
        shown = None if said.grid is None and there.grid is None else grid.shape
        for window in plan.parts:
            place = plan.name if window == plan.whole else f"{plan.name} {_place(grid, window)}"
            predicted, truth = said.labels(grid, window), there.labels(grid, window)
            objects = None
            if wanted.objects and window == plan.whole:
                sides = said.objects(grid, window), there.objects(grid, window)
                objects = ObjectPair(predicted, truth, *sides)
            elif wanted.objects:
                objects = _objects_of_tile(plan, window, ignore)
            yield ImagePair(
                name=place,
                predicted=predicted,
                truth=truth,
                objects=objects,
                probability=probability_of(said, plan.name, shown, window, classes, wanted.probability),
                pixels=pixels_of(said, plan.name, grid, window, wanted.images, shown),
                group=plan.name if wanted.group is None else _group(place, wanted.group),
                region=grid.region_of(window),
            )


def _objects_of_tile(plan: _Plan, tile: Window, ignore: int | None) -> ObjectPair:
    """Return the objects that a tile of what is compared answers for."""
    said, there, grid = plan.said, plan.there, plan.grid

    def read(part: Window) -> ObjectPair:
        return ObjectPair(
            said.labels(grid, part),
            there.labels(grid, part),
            said.objects(grid, part),
            there.objects(grid, part),
        )

    predicted_boxes, true_boxes = plan.boxes
    return objects_of_tile(
        read, tile, plan.whole, ignore=ignore, predicted_boxes=predicted_boxes, true_boxes=true_boxes
    )


def _source(side: Raw, name: str, classes: ClassTable, wanted: Wanted, ignore: int | None) -> Source:
    """Return one side; what does not count of the truth's outlines has the value `ignore`."""
    if isinstance(side, LabelImage):
        return replace(side)  # one that holds its pixels no longer than it is looked at
    if isinstance(side, Run):
        return RunLabels(side, classes, wanted.corrected)
    outlines = Outlines(name, side, classes, dict.fromkeys(wanted.ignored_names, ignore or 0))
    return RuledOutlines.of(outlines, ignore)


def _of_a_part(side: Source) -> bool:
    """Tell whether a side is a run of a part of its slide, beyond which outlines of all of it may lie."""
    return isinstance(side, RunLabels) and side.run.record.region is not None


def _area(grid: Grid, said: Source, there: Source, wanted: Wanted) -> Region:
    """Return the rectangle that is looked at."""
    area = grid.region if wanted.region is None else grid.region.intersect(wanted.region)
    if isinstance(said, RunLabels) and said.run.record.region is not None:
        area = area.intersect(Region(*said.run.record.region))
    if isinstance(there, RuledOutlines) and there.extent is not None:
        area = area.intersect(there.extent)
    return area


def _require_corrections(predicted: Path, run: Run | None) -> None:
    if run is None:
        raise AnnotationError(f"{predicted} is no run, so nothing of it can be corrected: leave that out.")
    if not CorrectionStore(run.path).windows:
        raise RunError(f"Nothing of the run {predicted} is corrected yet: score the run itself.")


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


def _renamed(there: Raw, wanted: Wanted) -> Raw:
    return with_names(there, wanted.renamed) if isinstance(there, list) else there


def _group(name: str, pattern: re.Pattern[str]) -> str:
    match = pattern.search(name)
    if match is None:
        raise AnnotationError(f"--group {pattern.pattern!r} does not fit the name {name!r}.")
    return match[1] if pattern.groups else match[0]
