"""A class for each tile: labels and probabilities of one pixel a tile, counts, and a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label as connected

from napari_lumen.halving import halve_labels
from napari_lumen.holding import write_text
from napari_lumen.inference.decision import class_labels
from napari_lumen.inference.plan import Cell
from napari_lumen.inference.rasters import Pixels
from napari_lumen.inference.run import FileRecord, RasterRecord
from napari_lumen.inference.store import image_label
from napari_lumen.inference.tile_plan import TilePlan
from napari_lumen.inference.tile_writer import TileWriter
from napari_lumen.inference.writer import raster_record
from napari_lumen.models import ModelCard

LABELS, SHOWN, EXACT = "labels/classes", "probability", "tiles/probability"
TABLE_FILE = "tiles.csv"
_NEIGHBOURS = np.ones((3, 3), int)  # diagonal tiles touch
_PLACE = ("y", "x", "height", "width")


class HeatMap:
    """The rasters of a class for each tile.

    Parameters
    ----------
    card : ModelCard
    plan : TilePlan
    writer : TileWriter
        To which the rasters are added.
    """

    def __init__(self, card: ModelCard, plan: TilePlan, writer: TileWriter) -> None:
        self._card = card
        self._plan = plan
        self._writer = writer
        count = len(card.classes)
        self._labels = writer.add(
            LABELS, np.uint8, pyramid=True, halve=halve_labels, extra=image_label(card.classes)
        )
        self._shown = writer.add(SHOWN, np.uint8, channels=count, pyramid=True)
        writer.add(EXACT, np.float32, channels=count, fill=float("nan"))
        writer.store.describe(self._shown.pyramid, ["classes"])

    def values(self, probability: npt.NDArray[np.float32]) -> dict[str, Pixels]:
        """Return the pixels (..., rows, columns) of probabilities (classes, rows, columns), by raster.

        NaN stands for tiles that were not answered.
        """
        known = np.nan_to_num(probability)
        return {
            LABELS: class_labels(self._card, probability),
            SHOWN: np.rint(known * 255).astype(np.uint8),
            EXACT: probability,
        }

    def records(self) -> list[RasterRecord]:
        """Say what there is to show."""
        classes = ", ".join(item.name for item in self._card.classes)
        return [
            raster_record(self._labels, "classes", "labels", f"Most probable class of each tile: {classes}."),
            *(
                raster_record(
                    self._shown, item.name, "probability", f"Probability of {item.name} in each tile.", index
                )
                for index, item in enumerate(self._card.classes)
            ),
        ]

    def areas(self, covered: Mapping[Cell, int]) -> dict[int, npt.NDArray[np.int64]]:
        """Return the areas of connected tiles of each label value, in the pixels that they cover."""
        pixels = np.zeros(self._plan.cells, np.int64)
        for cell, count in covered.items():
            pixels[cell] = count
        labels = self._writer.read(LABELS)
        areas = {}
        for item in self._card.classes:
            components, count = connected(labels == item.value, _NEIGHBOURS)
            sums = np.bincount(components.ravel(), weights=pixels.ravel(), minlength=count + 1)
            areas[item.value] = sums[1:].astype(np.int64)
        return areas

    def classes_of(self, cells: Mapping[Cell, int]) -> dict[Cell, str]:
        """Return the name of the class of each cell; none for those of no class."""
        labels = self._writer.read(LABELS)
        names = {item.value: item.name for item in self._card.classes}
        return {cell: names[int(labels[cell])] for cell in cells if labels[cell]}

    def write_table(self, folder: Path, covered: Mapping[Cell, int]) -> FileRecord:
        """Write a row for each tile that was answered: where it lies, its class and its probabilities."""
        probability = self._writer.read(EXACT)
        classes = self.classes_of(covered)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow([*_PLACE, "class", *(item.name for item in self._card.classes)])
        for tile in self._plan.tiles:
            cell = self._plan.cell_of(tile)
            if cell in covered:
                place = self._plan.grid.region_of(tile)
                edges = (round(getattr(place, name), 3) for name in _PLACE)
                scores = (f"{value:.6g}" for value in probability[:, cell[0], cell[1]])
                table.writerow([*edges, classes.get(cell, ""), *scores])
        write_text(folder / TABLE_FILE, text.getvalue())
        return FileRecord(
            name="tiles",
            kind="table",
            path=TABLE_FILE,
            description="Each tile: its edges in level-0 px, its class, and the probability of each class.",
        )
