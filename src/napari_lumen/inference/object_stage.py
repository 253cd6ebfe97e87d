"""The last stage of a segmentation: objects are found in its rasters, counted and written to a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_lumen.geometry import Pair, Window
from napari_lumen.inference.object_table import OBJECTS_FILE, ObjectTable
from napari_lumen.inference.objects import Labels, ObjectFinder
from napari_lumen.inference.plan import BLOCK, CELL, Cell, Plan
from napari_lumen.inference.progress import Teller
from napari_lumen.inference.rasters import LiveRaster
from napari_lumen.inference.run import ClassCount, FileRecord
from napari_lumen.inference.work import MIN_OBJECT_UM2, pixel_mm2
from napari_lumen.models import ModelCard

_SIDE = 1024  # px: blocks that are looked at together; of noise, larger ones would take gigabytes
_ROWS = 5_000  # of the table that are worked out together: some tenths of a second
_MARGIN_UM = 128.0  # some fifteen nuclei: clusters that reach no further beyond a block are seen whole


@dataclass(frozen=True)
class WrittenRasters:
    """The finest levels of what a run has written, as objects are found in them."""

    classes: LiveRaster
    probabilities: LiveRaster

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.classes.pyramid.grid.shape

    def labels(self, window: Window) -> Labels:
        """Return a window of the labels, uint8 (h, w)."""
        return self.classes.read(0, window)

    def probability(self, window: Window) -> Labels:
        """Return a window of the probabilities, uint8 (classes, h, w) in steps of 1/255."""
        return self.probabilities.read(0, window)


def find_objects(
    rasters: WrittenRasters,
    plan: Plan,
    card: ModelCard,
    mpp: Pair,
    folder: Path,
    cells: Iterable[Cell],
    teller: Teller,
) -> tuple[tuple[ClassCount, ...], tuple[FileRecord, ...]]:
    """Count what was found of each class, and write the table of objects where the card asks for one.

    Parameters
    ----------
    rasters : WrittenRasters
    plan : Plan
    card : ModelCard
    mpp : (float, float)
        µm per level-0 pixel of the slide.
    folder : Path
        Of the run.
    cells : iterable of (int, int)
        Those that hold anything.
    teller : Teller
        Told after each block, and asked about cancel for each object.
    """
    pixel = pixel_mm2(plan.grid.scale(mpp))
    if card.objects == "none":
        pixels = _areas(rasters, sorted({(row // BLOCK, column // BLOCK) for row, column in cells}), teller)
        return tuple(
            ClassCount(name=item.name, objects=None, area_mm2=pixels[item.value] * pixel)
            for item in card.classes
        ), ()

    blocks = sorted({(row * CELL // _SIDE, column * CELL // _SIDE) for row, column in cells})
    done = 0

    def look() -> None:
        if teller.cancel.is_set():
            teller("counting", done, len(blocks))  # raises

    split = card.objects == "watershed"
    margin = math.ceil(_MARGIN_UM / card.mpp) if split else 1
    finder = ObjectFinder(
        rasters,
        tuple(item.value for item in card.classes),
        _SIDE,
        margin,
        split,
        math.ceil(MIN_OBJECT_UM2 / 1e6 / pixel),
        look,
    )
    count: Counter[int] = Counter()
    teller("counting", done, len(blocks))
    with ObjectTable(folder, plan.grid, mpp, card.classes) as table:
        for objects in finder.find(blocks):
            large = objects[objects.area * pixel >= MIN_OBJECT_UM2 / 1e6]
            for start in range(0, len(large), _ROWS):
                look()
                table.add(large[np.arange(start, min(start + _ROWS, len(large)))])
            count.update(large.value.tolist())
            done = min(done + 1, len(blocks))
            teller("counting", done, len(blocks))
    counts = tuple(
        ClassCount(
            name=item.name, objects=count[item.value], area_mm2=float(finder.pixels[item.value] * pixel)
        )
        for item in card.classes
    )
    record = FileRecord(
        name="objects",
        kind="objects",
        path=OBJECTS_FILE,
        description="One row an object: class, place, area, shape, mean probability and outline.",
    )
    return counts, (record,)


def _areas(rasters: WrittenRasters, blocks: Sequence[Cell], teller: Teller) -> Counter[int]:
    """Return how many pixels have each label."""
    side = BLOCK * CELL
    whole = Window(0, 0, *rasters.shape)
    area: Counter[int] = Counter()
    for done, (row, column) in enumerate(blocks):
        teller("counting", done, len(blocks))
        place = Window(row * side, column * side, side, side).intersect(whole)
        area.update(dict(enumerate(np.bincount(rasters.labels(place).ravel()).tolist())))
    teller("counting", len(blocks), len(blocks))
    return area
