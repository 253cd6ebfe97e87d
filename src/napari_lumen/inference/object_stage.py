"""The last stage of a segmentation: objects are found in its rasters, counted and written to a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr

from napari_lumen.geometry import Pair, Window
from napari_lumen.inference.object_blocks import BlockLook, Labels, Seen
from napari_lumen.inference.object_table import OBJECTS_FILE, ObjectTable
from napari_lumen.inference.objects import ObjectJoiner
from napari_lumen.inference.plan import BLOCK, CELL, Cell, Plan
from napari_lumen.inference.progress import Teller
from napari_lumen.inference.run import ClassCount, FileRecord
from napari_lumen.inference.work import MIN_OBJECT_UM2, pixel_mm2
from napari_lumen.inference.writer import LABELS, PROBABILITY
from napari_lumen.models import ModelCard

SIDE = 1024  # px: blocks that are looked at together; of noise, larger ones would take gigabytes
_ROWS = 5_000  # of the table that are worked out together: some tenths of a second
_MARGIN_UM = 128.0  # some fifteen nuclei: clusters that reach no further beyond a block are seen whole


@dataclass(frozen=True)
class WrittenRasters:
    """The finest levels of what a run has on disk, as objects are found in them."""

    classes: zarr.Array[Any]
    probabilities: zarr.Array[Any]

    @classmethod
    def of(cls, folder: Path) -> WrittenRasters:
        """Open those in the folder of a run."""
        paths = (folder / path / "0" for path in (LABELS, PROBABILITY))
        return cls(*(zarr.open_array(str(path), mode="r") for path in paths))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.classes.shape
        return height, width

    def labels(self, window: Window) -> Labels:
        """Return a window of the labels, uint8 (h, w)."""
        return np.array(self.classes[window.slices])

    def probability(self, window: Window) -> Labels:
        """Return a window of the probabilities, uint8 (classes, h, w) in steps of 1/255."""
        return np.array(self.probabilities[(slice(None), *window.slices)])


def block_look(card: ModelCard, pixel: float) -> BlockLook:
    """Return how blocks are looked at for objects.

    Parameters
    ----------
    card : ModelCard
        Of the model; finds objects.
    pixel : float
        Area of a pixel of the labels, mm².
    """
    split = card.objects == "watershed"
    margin = math.ceil(_MARGIN_UM / card.mpp) if split else 1
    smallest = math.ceil(MIN_OBJECT_UM2 / 1e6 / pixel)
    return BlockLook(tuple(item.value for item in card.classes), SIDE, margin, split, smallest)


class Look(Protocol):
    """Looks at blocks, in threads or on a cluster."""

    def __call__(
        self, rasters: WrittenRasters, how: BlockLook, blocks: Sequence[Cell], check: Callable[[], None]
    ) -> Generator[tuple[Cell, Seen]]:
        """Yield what is seen of blocks, in their order; `check` is called often, to end it by raising."""


def find_objects(
    plan: Plan,
    card: ModelCard,
    mpp: Pair,
    folder: Path,
    cells: Iterable[Cell],
    teller: Teller,
    look: Look,
) -> tuple[tuple[ClassCount, ...], tuple[FileRecord, ...]]:
    """Count what was found of each class, and write the table of objects where the card asks for one.

    Parameters
    ----------
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
    look : Look
    """
    rasters = WrittenRasters.of(folder)
    pixel = pixel_mm2(plan.grid.scale(mpp))
    if card.objects == "none":
        blocks = sorted({(row // BLOCK, column // BLOCK) for row, column in cells})
        pixels = _areas(rasters, blocks, [item.value for item in card.classes], teller)
        return tuple(
            ClassCount(name=item.name, objects=None, area_mm2=pixels[item.value] * pixel)
            for item in card.classes
        ), ()

    blocks = sorted({(row * CELL // SIDE, column * CELL // SIDE) for row, column in cells})
    done = 0

    def check() -> None:
        if teller.cancel.is_set():
            teller("counting", done, len(blocks))  # raises

    how = block_look(card, pixel)
    joiner = ObjectJoiner(SIDE, check)
    count: Counter[int] = Counter()
    teller("counting", done, len(blocks))
    with (
        ObjectTable(folder, plan.grid, mpp, card.classes) as table,
        closing(look(rasters, how, blocks, check)) as seen,
    ):
        for objects in joiner.join(seen):
            large = objects[objects.area * pixel >= MIN_OBJECT_UM2 / 1e6]
            for start in range(0, len(large), _ROWS):
                check()
                table.add(large[np.arange(start, min(start + _ROWS, len(large)))])
            count.update(large.value.tolist())
            done = min(done + 1, len(blocks))
            teller("counting", done, len(blocks))
    counts = tuple(
        ClassCount(
            name=item.name, objects=count[item.value], area_mm2=float(joiner.pixels[item.value] * pixel)
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


def _areas(
    rasters: WrittenRasters, blocks: Sequence[Cell], values: Sequence[int], teller: Teller
) -> Counter[int]:
    """Return how many pixels have each of these labels."""
    side = BLOCK * CELL
    whole = Window(0, 0, *rasters.shape)
    area: Counter[int] = Counter()
    for done, (row, column) in enumerate(blocks):
        teller("counting", done, len(blocks))
        place = Window(row * side, column * side, side, side).intersect(whole)
        labels = rasters.labels(place)
        # forty times as fast as `np.bincount`, which makes large integers of all pixels first
        area.update({value: int(np.count_nonzero(labels == value)) for value in values})
    teller("counting", len(blocks), len(blocks))
    return area
