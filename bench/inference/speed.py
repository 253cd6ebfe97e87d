"""Wall time of `predict` over a whole slide, over pure forward and over bare reading and forward."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from bench.files import tissue, write_svs
from bench.inference.floor import Floor
from bench.inference.subject import OVERLAP, TILE, model_of, unet
from bench.report import Figure, Report
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.models import Model
from napari_lumen.models.card import Objects
from napari_lumen.slides import Slide, open_slide

SIDE = 10_000
_TINY: dict[str, object] = {"width": 2}
_TINY_MPP = 0.5  # of a slide of 0.25: four pixels are read for one, which takes longer than the network
_TINY_ROUNDS = 5
# what a run gives beside a class for each pixel, and whether it is held to a goal then
_OUTPUTS: tuple[tuple[Objects, bool], ...] = (("none", True), ("components", False))
_TOLD = {"none": "a class for each pixel", "components": "and a table of outlined objects"}


def run(folder: Path, report: Report) -> None:
    """Measure and fill the report."""
    path = write_svs(folder / "slide.svs", tissue(), SIDE, SIDE)
    whole = Region(0, 0, SIDE, SIDE)
    with open_slide(path) as slide:
        _unet(slide, whole, folder, report)
        _tiny(slide, whole, folder, report)


def _unet(slide: Slide, whole: Region, folder: Path, report: Report) -> None:
    """Measure the network that takes most of the time."""
    for objects, held in _OUTPUTS:
        model, label = unet(folder / objects, objects)
        floor = Floor(slide, model, whole)
        floor.one_batch()
        before = floor.forward(floor.tiles[::2])
        wall = seconds_of_run(slide, model, whole, folder / objects / "run")
        forward = before + floor.forward(floor.tiles[1::2])
        grid = f"{len(floor.tiles):,} tiles of {TILE} px, {OVERLAP} px overlap"
        what = f"{SIDE:,} x {SIDE:,} px, {label}, {grid}, {_TOLD[objects]}"
        report.figures.append(Figure(what, wall, forward, "pure forward", "s", 1.1 if held else None))


def _tiny(slide: Slide, whole: Region, folder: Path, report: Report) -> None:
    """Measure a network that takes less time than reading does."""
    for objects, held in _OUTPUTS:
        model, label = model_of(folder / f"tiny-{objects}", "unet", _TINY, _TINY_MPP, objects)
        floor = Floor(slide, model, whole)
        half, other = floor.tiles[::2], floor.tiles[1::2]
        walls, bare, forward = [], [], []
        for turn in range(_TINY_ROUNDS + 1):
            before = floor.reading_and_forward(half), floor.forward(half)
            wall = seconds_of_run(slide, model, whole, folder / f"tiny-{objects}" / f"run-{turn}")
            after = floor.reading_and_forward(other), floor.forward(other)
            if turn:  # the first warms up
                walls.append(wall)
                bare.append(before[0] + after[0])
                forward.append(before[1] + after[1])
        what = (
            f"{SIDE:,} x {SIDE:,} px at {_TINY_MPP:g} µm, {label}, {len(floor.tiles):,} tiles, "
            f"{_TOLD[objects]}"
        )
        ours = median(walls)
        report.figures += [
            Figure(what, ours, median(bare), "reading in threads + forward", "s", 1.25 if held else None),
            Figure(what, ours, median(forward), "pure forward", "s"),
        ]


def seconds_of_run(slide: Slide, model: Model, region: Region | None, out: Path) -> float:
    """Return the seconds from the call of `predict` to its end."""
    start = time.perf_counter()
    predict(slide, model, region, out)
    return time.perf_counter() - start
