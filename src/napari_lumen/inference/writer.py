"""From finished chunks to the arrays of a run, their pyramids and their counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from affine import Affine

from napari_lumen.geometry import Window
from napari_lumen.inference.engine import Chunk
from napari_lumen.inference.objects import count_objects
from napari_lumen.inference.plan import CHUNK, Cell, Plan
from napari_lumen.inference.run import ClassCount, Kind, RasterRecord
from napari_lumen.inference.store import Pyramid, RunStore, halve_labels, halve_mean, image_label
from napari_lumen.models import Model, attention_modules
from napari_lumen.slides import Slide

MIN_OBJECT_UM2 = 10.0
_THRESHOLD = 0.5  # of the probability: below it a pixel is background


class ResultWriter:
    """Writes finished chunks, clipped to what was asked.

    Parameters
    ----------
    slide : Slide
    model : Model
    plan : Plan
    folder : Path
        New or empty.
    strides : dict of str to int
        Pixels of the plan's grid per pixel of each attention map.

    Attributes
    ----------
    covered : int
        Pixels of the grid that a tile answered for.
    """

    def __init__(self, slide: Slide, model: Model, plan: Plan, folder: Path, strides: dict[str, int]) -> None:
        self._plan = plan
        self._classes = model.card.classes
        self._mpp = slide.require_mpp()
        self._descriptions = {info.name: info.description for info, _ in attention_modules(model.network)}
        self._cells: list[Cell] = []
        self.covered = 0
        store = RunStore(folder, self._mpp)
        self._labels = store.create(
            "labels/classes", plan.grid, plan.levels, np.uint8, chunk=CHUNK, extra=image_label(self._classes)
        )
        self._probability = store.create(
            "probability", plan.grid, plan.levels, np.uint8, chunk=CHUNK, channels=len(self._classes)
        )
        self._attention = {
            name: store.create(
                f"attention/{name}",
                plan.grid.coarsened(stride),
                _halvings(plan.grid.coarsened(stride).shape, plan.levels),
                np.float16,
                chunk=CHUNK // stride,
                fill=float("nan"),
            )
            for name, stride in strides.items()
        }
        self._strides = strides
        store.describe(self._probability, ["classes"])
        self._area = plan.area
        shapely.prepare(self._area)

    def write(self, chunk: Chunk) -> None:
        """Write the finest level of one chunk."""
        window = self._plan.chunk_window(chunk.cell)
        inside = self._inside(window) & chunk.covered
        if not inside.any():
            return
        probability = np.where(inside, chunk.probability, 0)
        values = np.array([item.value for item in self._classes], np.uint8)
        labels = np.where(probability.max(axis=0) >= _THRESHOLD, values[probability.argmax(axis=0)], 0)
        self._labels.arrays[0][window.slices] = labels.astype(np.uint8)
        self._probability.arrays[0][(slice(None), *window.slices)] = np.rint(probability * 255).astype(
            np.uint8
        )
        for name, value in chunk.attention.items():
            stride = self._strides[name]
            rows, columns = window.slices
            target = (
                slice(rows.start // stride, -(-rows.stop // stride)),
                slice(columns.start // stride, -(-columns.stop // stride)),
            )
            shown = np.where(_any_of_block(inside, stride), value, np.nan)
            self._attention[name].arrays[0][target] = shown.astype(np.float16)
        self._cells.append(chunk.cell)
        self.covered += int(inside.sum())

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

    def build_levels(self, tell: Callable[[int, int], None]) -> None:
        """Fill the coarser levels from the finer ones, only where something was written."""
        cells = set(self._cells)
        rasters: list[tuple[Pyramid, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]]] = [
            (self._labels, halve_labels),
            (self._probability, halve_mean),
            *((pyramid, halve_mean) for pyramid in self._attention.values()),
        ]
        for level in range(1, self._plan.levels):
            tell(level - 1, self._plan.levels - 1)
            cells = {(row // 2, column // 2) for row, column in cells}
            for pyramid, halve in rasters:
                if level >= len(pyramid.arrays):
                    continue
                finer, coarser = pyramid.arrays[level - 1], pyramid.arrays[level]
                side = pyramid.chunk
                for row, column in cells:
                    rows = slice(row * side, min((row + 1) * side, coarser.shape[-2]))
                    columns = slice(column * side, min((column + 1) * side, coarser.shape[-1]))
                    if rows.start >= rows.stop or columns.start >= columns.stop:
                        continue
                    source = finer[..., rows.start * 2 : rows.stop * 2, columns.start * 2 : columns.stop * 2]
                    coarser[..., rows, columns] = halve(np.asarray(source))
        tell(self._plan.levels - 1, self._plan.levels - 1)

    def area_mm2(self, pixels: int) -> float:
        """Return the area of a number of pixels of the grid."""
        height, width = self._plan.grid.scale(self._mpp)
        return pixels * height * width / 1e6

    def counts(self) -> tuple[ClassCount, ...]:
        """Count the connected areas of each class."""

        def read(cell: Cell) -> npt.NDArray[np.uint8]:
            return np.asarray(self._labels.arrays[0][self._plan.chunk_window(cell).slices])

        areas = count_objects([item.value for item in self._classes], self._cells, read)
        smallest = MIN_OBJECT_UM2 / 1e6
        return tuple(
            ClassCount(
                name=item.name,
                objects=int(sum(self.area_mm2(int(area)) >= smallest for area in areas[item.value])),
                area_mm2=self.area_mm2(int(areas[item.value].sum())),
            )
            for item in self._classes
        )

    def records(self) -> tuple[RasterRecord, ...]:
        """Say what was written and where."""
        classes = ", ".join(item.name for item in self._classes)
        return (
            _record(self._labels, "classes", "labels", f"Most probable class: {classes}."),
            *(
                _record(self._probability, item.name, "probability", f"Probability of {item.name}.", index)
                for index, item in enumerate(self._classes)
            ),
            *(
                _record(pyramid, name, "attention", self._descriptions[name])
                for name, pyramid in self._attention.items()
            ),
        )


def _any_of_block(mask: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.bool_]:
    """Reduce a mask by blocks of a side: true where any pixel of the block is."""
    height, width = (-(-length // side) for length in mask.shape)
    padded = np.zeros((height * side, width * side), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return np.asarray(padded.reshape(height, side, width, side).any(axis=(1, 3)))


def _halvings(shape: tuple[int, int], most: int) -> int:
    """Return how many levels a raster can have, at most `most`, each exactly half of the one before."""
    levels = 1
    while levels < most and all(side % 2**levels == 0 for side in shape):
        levels += 1
    return levels


def _record(
    pyramid: Pyramid, name: str, kind: Kind, description: str, channel: int | None = None
) -> RasterRecord:
    return RasterRecord(
        name=name,
        kind=kind,
        path=pyramid.path,
        channel=channel,
        shapes=tuple((array.shape[-2], array.shape[-1]) for array in pyramid.arrays),
        step=pyramid.grid.step,
        description=description,
    )
