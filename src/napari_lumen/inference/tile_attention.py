"""Attention of tiles that are answered each as a whole: maps on the slide, gates, and boxes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import shapely

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import ModelError
from napari_lumen.geometry import Window
from napari_lumen.inference.forward import Answer
from napari_lumen.inference.plan import Cell
from napari_lumen.inference.rasters import LiveRaster, Pixels
from napari_lumen.inference.run import FileRecord, RasterRecord
from napari_lumen.inference.tile_plan import TilePlan
from napari_lumen.inference.tile_writer import TileWriter
from napari_lumen.inference.writer import raster_record
from napari_lumen.models import AttentionInfo, Model, attention_modules

_NAN = float("nan")
_EDGES = 4  # of a box: top, left, bottom, right; its score comes fifth


class TileAttention:
    """The attention that a run keeps of each tile.

    Spatial maps are placed on the slide at their own resolution. Gates of channels and boxes are kept a
    tile, as arrays (C, rows, columns) and (K * 5, rows, columns) below ``tiles/``; NaN where there is none.

    Parameters
    ----------
    model : Model
    plan : TilePlan
    writer : TileWriter
        To which the rasters are added.
    blank : Answer
        The network's answer to one tile, for the shapes.

    Raises
    ------
    ModelError
        When tiles overlap and the border of a cell falls inside a pixel of a map.
    """

    def __init__(self, model: Model, plan: TilePlan, writer: TileWriter, blank: Answer) -> None:
        self._plan = plan
        self._writer = writer
        known = {info.name: info for info, _ in attention_modules(model.network)}
        self._infos = [known[name] for name in model.card.attention]
        self._maps: dict[str, LiveRaster] = {}
        for info in self._infos:
            value = blank.attention[info.name][0]
            if info.kind == "spatial":
                self._require_whole_pixels(model, value.shape)
                self._maps[info.name] = writer.add(
                    _path(info), np.float32, sides=self._own(value).shape, fill=_NAN, pyramid=True
                )
            else:
                writer.add(_path(info), np.float32, channels=value.size, fill=_NAN)

    def values(self, answer: Answer, index: int) -> dict[str, Pixels]:
        """Return what is kept of one tile of a batch, (..., h, w), by the path of its raster."""
        kept = {}
        for info in self._infos:
            value = answer.attention[info.name][index]
            kept[_path(info)] = self._own(value) if info.kind == "spatial" else value.reshape(-1, 1, 1)
        return kept

    def records(self) -> list[RasterRecord]:
        """Say which maps there are to show."""
        return [
            raster_record(self._maps[info.name], info.name, "attention", info.description)
            for info in self._infos
            if info.kind == "spatial"
        ]

    def write_boxes(self, folder: Path, classes: Mapping[Cell, str], known: ClassTable) -> list[FileRecord]:
        """Write the boxes of all tiles as outlines of the tile's class, and their scores.

        Parameters
        ----------
        folder : Path
            Of the run.
        classes : mapping of (int, int) to str
            Name of the class of each cell.
        known : ClassTable
            All classes.
        """
        records = []
        for info in self._infos:
            if info.kind == "boxes":
                file = f"{info.name}.geojson"
                write_geojson(folder / file, self._boxes(info, classes, known))
                records.append(
                    FileRecord(name=info.name, kind="boxes", path=file, description=info.description)
                )
        return records

    def _boxes(
        self, info: AttentionInfo, classes: Mapping[Cell, str], known: ClassTable
    ) -> Iterator[Annotation]:
        values = self._writer.read(_path(info))
        for tile in self._plan.tiles:
            cell = self._plan.cell_of(tile)
            of_tile = known[classes[cell]] if cell in classes else None
            for *edges, score in values[:, cell[0], cell[1]].reshape(-1, _EDGES + 1).tolist():
                if not math.isnan(score):
                    yield Annotation(
                        self._outline(tile, edges),
                        of_tile.name if of_tile else None,
                        of_tile.color if of_tile else None,
                        name=info.name,
                        object_type="detection",
                        measurements={"Score": score},
                    )

    def _outline(self, tile: Window, edges: list[float]) -> shapely.Polygon:
        """Return a box on the slide, (x, y) in level-0 px; its edges are fractions of the tile's sides."""
        place = self._plan.grid.region_of(tile)
        top, bottom = (place.y + edge * place.height for edge in (edges[0], edges[2]))
        left, right = (place.x + edge * place.width for edge in (edges[1], edges[3]))
        return shapely.box(left, top, right, bottom)

    def _own(self, values: Pixels) -> Pixels:
        """Return the part of a map (h, w) of a tile that lies in the tile's cell."""
        first, last = self._borders
        (top, bottom), (left, right) = (
            (side * first // self._plan.tile, side * last // self._plan.tile) for side in values.shape
        )
        return values[top:bottom, left:right]

    @property
    def _borders(self) -> tuple[int, int]:
        """First and last edge of a cell in its tile, px."""
        margin = self._plan.overlap // 2
        return margin, margin + self._plan.cell

    def _require_whole_pixels(self, model: Model, shape: tuple[int, ...]) -> None:
        plan = self._plan
        if any(border * side % plan.tile for border in self._borders for side in shape):
            raise ModelError(
                f"The card of {model.card.title} is not usable: field 'input.overlap': when tiles of "
                f"{plan.tile} px share {plan.overlap}, a pixel of an attention map ({shape[0]} x {shape[1]} "
                "a tile) belongs to two. Correct it, e.g. to 0."
            )


def _path(info: AttentionInfo) -> str:
    return f"{'attention' if info.kind == 'spatial' else 'tiles'}/{info.name}"
