"""From finished cells to the rasters of a run."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
import torch
from affine import Affine

from napari_lumen.geometry import Pair, Region, Window
from napari_lumen.halving import halve_labels
from napari_lumen.inference.decision import class_labels
from napari_lumen.inference.frontier import FinishedCell
from napari_lumen.inference.ledger import FileOfBlock
from napari_lumen.inference.plan import BLOCK, CELL, Cell, Plan
from napari_lumen.inference.rasters import Halve, LiveRaster
from napari_lumen.inference.reading import TileReader
from napari_lumen.inference.run import Kind, RasterRecord
from napari_lumen.inference.store import Pyramid, RunStore, halve_mean, image_label
from napari_lumen.models import Model, attention_modules

LABELS, PROBABILITY, ANALYSED = "labels/classes", "probability", "analysed"  # where they are in the folder
_ANSWERED = np.uint8(255)  # halved to the share of a coarser pixel that was answered for, in steps of 1/255
_SHARE = 0.02  # of the time, at most, goes into writing before the end
_SOONEST = 2.0  # s between two writes


class Recorder(Protocol):
    """Keeps what is finished, see `Ledger`."""

    def add(
        self,
        covered: Iterable[tuple[Cell, int]],
        failed: Iterable[tuple[Window, str]],
        blocks: Iterable[FileOfBlock] = (),
    ) -> None:
        """Record cells whose pixels are on disk, tiles that failed, and blocks that have a file by now."""


class RasterWriter(ABC):
    """Writes rasters, and records cells as finished when their pixels are on disk.

    Parameters
    ----------
    ledger : Recorder
    """

    def __init__(self, ledger: Recorder) -> None:
        self._ledger = ledger
        self._pending: list[tuple[Cell, int]] = []
        self._last = time.monotonic()
        self._spent = 0.0

    @abstractmethod
    def rasters(self) -> Mapping[str, LiveRaster]:
        """Return all rasters by their paths in the folder."""

    def unmarked(self, covered: Mapping[Cell, int]) -> set[Cell]:
        """Return the finished cells of which the files do not say what was answered for; none do here."""
        return set()

    def mend(self, forget: Callable[[Sequence[Region]], None], known: Collection[FileOfBlock] = ()) -> None:
        """Remove files of an earlier session that cannot be read, and make anew what follows from others.

        Parameters
        ----------
        forget : callable
            Given what of the slide, level-0 px, is lost, before it is removed: a crash must leave nothing
            that is told of as finished and is not there.
        known : collection of (str, int, int, int), optional
            Blocks that had a file, see `Ledger`.
        """
        found = [
            (raster, raster.damaged({block[1:] for block in known if block[0] == path}))
            for path, raster in self.rasters().items()
        ]
        forget([lost for raster, damaged in found for lost in raster.lost_with(damaged)])
        for raster, damaged in found:
            raster.mend(damaged)

    def flush_now_and_then(self, reader: TileReader) -> None:
        """Flush when that takes little of the time: a run is not slowed, and a crash loses seconds."""
        since = time.monotonic() - self._last
        if since > max(_SOONEST, self._spent / _SHARE):
            self.flush(reader)

    def flush(self, reader: TileReader) -> None:
        """Write everything to disk, then record it."""
        start = time.monotonic()
        with ThreadPoolExecutor(torch.get_num_threads(), "lumen-write") as pool:
            flushed = pool.map(LiveRaster.flush, self.rasters().values())
            blocks = [
                (path, *key) for path, keys in zip(self.rasters(), flushed, strict=True) for key in keys
            ]
        self._ledger.add(self._pending, reader.failures.items(), blocks)
        self._pending.clear()
        self._last = time.monotonic()
        self._spent = self._last - start


class ResultWriter(RasterWriter):
    """Writes finished cells, clipped to what was asked, and records them when they are on disk.

    Parameters
    ----------
    plan : Plan
    model : Model
    mpp : (float, float)
        µm per level-0 pixel of the slide.
    folder : Path
        Of the run; what an earlier session wrote there stays.
    strides : callable
        Returns the pixels of the plan's grid per pixel of each attention map. Called when all other rasters
        are made: what it depends on may take until then.
    ledger : Recorder
    finest_only : bool
        Leave the coarser levels to another process, which takes them over by `adopt`.

    Attributes
    ----------
    labels, probability : LiveRaster
    analysed : LiveRaster
        What was answered for, pixel by pixel: labels and probability are 0 elsewhere, and mean nothing.
    attention : dict of str to LiveRaster
    """

    def __init__(
        self,
        plan: Plan,
        model: Model,
        mpp: Pair,
        folder: Path,
        strides: Callable[[], dict[str, int]],
        ledger: Recorder,
        *,
        finest_only: bool = False,
    ) -> None:
        super().__init__(ledger)
        self._plan = plan
        self._card, self._classes = model.card, model.card.classes
        self._descriptions = {info.name: info.description for info, _ in attention_modules(model.network)}
        store = RunStore(folder, mpp)
        side = BLOCK * CELL
        extra = image_label(self._classes)

        def raster(pyramid: Pyramid, halve: Halve) -> LiveRaster:
            return LiveRaster(pyramid.finest if finest_only else pyramid, halve)

        self.labels = raster(
            store.create(LABELS, plan.grid, plan.levels, np.uint8, block=side, extra=extra),
            halve_labels,
        )
        self.probability = raster(
            store.create(
                PROBABILITY, plan.grid, plan.levels, np.uint8, block=side, channels=len(self._classes)
            ),
            halve_mean,
        )
        self.analysed = raster(
            store.create(ANALYSED, plan.grid, plan.levels, np.uint8, block=side), halve_mean
        )
        self._strides = strides()
        self.attention = {
            name: raster(
                store.create(
                    f"attention/{name}",
                    plan.grid.coarsened(stride),
                    _halvings((CELL // stride, *plan.grid.coarsened(stride).shape), plan.levels),
                    np.float16,
                    block=side // stride,
                    fill=float("nan"),
                ),
                halve_mean,
            )
            for name, stride in self._strides.items()
        }
        store.describe(self.probability.pyramid, ["classes"])
        self._area = plan.area
        shapely.prepare(self._area)

    def unmarked(self, covered: Mapping[Cell, int]) -> set[Cell]:
        """Return the finished cells of blocks without marks: earlier versions wrote none."""
        cells = [cell for cell, pixels in covered.items() if pixels]
        blocks = {(row // BLOCK, column // BLOCK) for row, column in cells}
        bare = {block for block in blocks if not self.analysed.has_file(0, *block)}
        return {(row, column) for row, column in cells if (row // BLOCK, column // BLOCK) in bare}

    def write(self, cell: FinishedCell) -> None:
        """Put one cell into all rasters; it is on disk, and in the ledger, at the next `flush`."""
        window = self._plan.cell_window(cell.cell)
        inside = self._inside(window) & cell.covered
        if inside.any():
            self._put(window, cell, inside)
        self._pending.append((cell.cell, int(inside.sum())))

    def adopt(self, cells: Sequence[tuple[Cell, int]]) -> None:
        """Take over cells whose finest level another process has written, with their covered pixels.

        What follows from them at the other levels is on disk, and they in the ledger, at the next `flush`.
        """
        answered = ((row // BLOCK, column // BLOCK) for (row, column), covered in cells if covered)
        for row, column in dict.fromkeys(answered):
            for raster in self.rasters().values():
                side = raster.pyramid.block
                whole = Window(0, 0, *raster.pyramid.arrays[0].shape[-2:])
                raster.adopt(Window(row * side, column * side, side, side).intersect(whole))
        self._pending.extend(cells)

    def _put(self, window: Window, cell: FinishedCell, inside: npt.NDArray[np.bool_]) -> None:
        probability = cell.probability if inside.all() else cell.probability * inside
        self.labels.write(window, class_labels(self._card, probability))
        steps = probability * np.float32(255)
        self.probability.write(window, np.rint(steps, out=steps).astype(np.uint8))
        self.analysed.write(window, inside * _ANSWERED)
        for name, value in cell.attention.items():
            stride = self._strides[name]
            shown = np.where(_any_of_block(inside, stride), value, np.nan)
            place = Window(window.y // stride, window.x // stride, *shown.shape)
            self.attention[name].write(place, shown.astype(np.float16))

    def _inside(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return which pixels have their centre in what was asked for."""
        region = self._plan.grid.region_of(window)
        if self._area.covers(shapely.box(region.x, region.y, region.right, region.bottom)):
            return np.ones((window.height, window.width), bool)
        step = self._plan.grid.step
        placed = Affine(step[1], 0, region.x, 0, step[0], region.y)
        return np.asarray(
            rasterio.features.rasterize([self._area], (window.height, window.width), transform=placed), bool
        )

    def rasters(self) -> dict[str, LiveRaster]:
        """Return all rasters by their paths in the folder."""
        every = (self.labels, self.probability, self.analysed, *self.attention.values())
        return {raster.pyramid.path: raster for raster in every}

    def records(self) -> tuple[RasterRecord, ...]:
        """Say what is written and where."""
        classes = ", ".join(item.name for item in self._classes)
        return (
            raster_record(self.labels, "classes", "labels", f"Most probable class: {classes}."),
            *(
                raster_record(
                    self.probability, item.name, "probability", f"Probability of {item.name}.", index
                )
                for index, item in enumerate(self._classes)
            ),
            *(
                raster_record(raster, name, "attention", self._descriptions[name])
                for name, raster in self.attention.items()
            ),
        )


def _any_of_block(mask: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.bool_]:
    """Reduce a mask by blocks of a side: true where any pixel of the block is."""
    height, width = (-(-length // side) for length in mask.shape)
    padded = np.zeros((height * side, width * side), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return np.asarray(padded.reshape(height, side, width, side).any(axis=(1, 3)))


def _halvings(sides: tuple[int, ...], most: int) -> int:
    """Return how many levels sides can have, at most `most`, each exactly half of the one before."""
    levels = 1
    while levels < most and all(side % 2**levels == 0 for side in sides):
        levels += 1
    return levels


def raster_record(
    raster: LiveRaster, name: str, kind: Kind, description: str, channel: int | None = None
) -> RasterRecord:
    """Return where a raster lies in the folder and on the slide."""
    pyramid = raster.pyramid
    return RasterRecord(
        name=name,
        kind=kind,
        path=pyramid.path,
        channel=channel,
        shapes=tuple((array.shape[-2], array.shape[-1]) for array in pyramid.arrays),
        step=pyramid.grid.step,
        origin=pyramid.grid.origin,
        description=description,
    )
