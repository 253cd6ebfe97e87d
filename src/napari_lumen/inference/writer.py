"""From finished cells to the rasters of a run."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from affine import Affine

from napari_lumen.geometry import Pair, Window
from napari_lumen.inference.frontier import FinishedCell
from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.plan import BLOCK, CELL, Cell, Plan
from napari_lumen.inference.rasters import LiveRaster
from napari_lumen.inference.reading import TileReader
from napari_lumen.inference.run import Kind, RasterRecord
from napari_lumen.inference.store import RunStore, halve_labels, halve_mean, image_label
from napari_lumen.models import Model, attention_modules

_THRESHOLD = 0.5  # of the probability: below it a pixel is background
_SHARE = 0.02  # of the time, at most, goes into writing before the end
_SOONEST = 1.0  # s between two writes


class ResultWriter:
    """Writes finished cells, clipped to what was asked, and records them when they are on disk.

    Parameters
    ----------
    plan : Plan
    model : Model
    mpp : (float, float)
        µm per level-0 pixel of the slide.
    folder : Path
        Of the run; what an earlier session wrote there stays.
    strides : dict of str to int
        Pixels of the plan's grid per pixel of each attention map.
    ledger : Ledger

    Attributes
    ----------
    labels, probability : LiveRaster
    attention : dict of str to LiveRaster
    """

    def __init__(
        self, plan: Plan, model: Model, mpp: Pair, folder: Path, strides: dict[str, int], ledger: Ledger
    ) -> None:
        self._plan = plan
        self._classes = model.card.classes
        self._descriptions = {info.name: info.description for info, _ in attention_modules(model.network)}
        self._strides = strides
        self._ledger = ledger
        self._pending: list[tuple[Cell, int]] = []
        self._last = time.monotonic()
        self._spent = 0.0
        store = RunStore(folder, mpp)
        side = BLOCK * CELL
        extra = image_label(self._classes)
        self.labels = LiveRaster(
            store.create("labels/classes", plan.grid, plan.levels, np.uint8, block=side, extra=extra),
            halve_labels,
        )
        self.probability = LiveRaster(
            store.create(
                "probability", plan.grid, plan.levels, np.uint8, block=side, channels=len(self._classes)
            ),
            halve_mean,
        )
        self.attention = {
            name: LiveRaster(
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
            for name, stride in strides.items()
        }
        store.describe(self.probability.pyramid, ["classes"])
        self._area = plan.area
        shapely.prepare(self._area)

    def write(self, cell: FinishedCell) -> None:
        """Put one cell into all rasters; it is on disk, and in the ledger, at the next `flush`."""
        window = self._plan.cell_window(cell.cell)
        inside = self._inside(window) & cell.covered
        if inside.any():
            self._put(window, cell, inside)
        self._pending.append((cell.cell, int(inside.sum())))

    def _put(self, window: Window, cell: FinishedCell, inside: npt.NDArray[np.bool_]) -> None:
        probability = np.where(inside, cell.probability, 0)
        values = np.array([item.value for item in self._classes], np.uint8)
        labels = np.where(probability.max(axis=0) >= _THRESHOLD, values[probability.argmax(axis=0)], 0)
        self.labels.write(window, labels.astype(np.uint8))
        self.probability.write(window, np.rint(probability * 255).astype(np.uint8))
        for name, value in cell.attention.items():
            stride = self._strides[name]
            shown = np.where(_any_of_block(inside, stride), value, np.nan)
            place = Window(window.y // stride, window.x // stride, *shown.shape)
            self.attention[name].write(place, shown.astype(np.float16))

    def flush_now_and_then(self, reader: TileReader) -> None:
        """Flush when that takes little of the time: a run is not slowed, and a crash loses seconds."""
        since = time.monotonic() - self._last
        if since > max(_SOONEST, self._spent / _SHARE):
            self.flush(reader)

    def flush(self, reader: TileReader) -> None:
        """Write everything to disk, then record it."""
        start = time.monotonic()
        for raster in (self.labels, self.probability, *self.attention.values()):
            raster.flush()
        self._ledger.add(self._pending, reader.failures.items())
        self._pending.clear()
        self._last = time.monotonic()
        self._spent = self._last - start

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
        every = (self.labels, self.probability, *self.attention.values())
        return {raster.pyramid.path: raster for raster in every}

    def records(self) -> tuple[RasterRecord, ...]:
        """Say what is written and where."""
        classes = ", ".join(item.name for item in self._classes)
        return (
            _record(self.labels, "classes", "labels", f"Most probable class: {classes}."),
            *(
                _record(self.probability, item.name, "probability", f"Probability of {item.name}.", index)
                for index, item in enumerate(self._classes)
            ),
            *(
                _record(raster, name, "attention", self._descriptions[name])
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


def _record(
    raster: LiveRaster, name: str, kind: Kind, description: str, channel: int | None = None
) -> RasterRecord:
    pyramid = raster.pyramid
    return RasterRecord(
        name=name,
        kind=kind,
        path=pyramid.path,
        channel=channel,
        shapes=tuple((array.shape[-2], array.shape[-1]) for array in pyramid.arrays),
        step=pyramid.grid.step,
        description=description,
    )
