"""Runs over tiles that are answered each as a whole: into the network, and put away one by one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

from napari_lumen.geometry import Window
from napari_lumen.inference.forward import Answer
from napari_lumen.inference.live import Live
from napari_lumen.inference.order import Order
from napari_lumen.inference.plan import Cell
from napari_lumen.inference.rasters import Pixels
from napari_lumen.inference.tile_plan import TilePlan
from napari_lumen.inference.tile_writer import TileWriter
from napari_lumen.inference.work import Work


class TileWork(Work):
    """A run over tiles that are answered each as a whole; its plan is a `TilePlan`."""

    @property
    def _tile_plan(self) -> TilePlan:
        return cast(TilePlan, self._plan)

    @abstractmethod
    def _values(self, answer: Answer, index: int) -> Mapping[str, Pixels]:
        """Return what is kept of one tile of a batch, (..., h, w), by the path of its raster."""

    def _missing(self, writer: TileWriter) -> list[Cell]:
        """Return the cells that are to be answered; tiles that failed are tried again."""
        plan, ledger = self._tile_plan, self._ledger
        self._again(lambda tile: [plan.cell_of(tile)], writer)
        return [cell for cell in map(plan.cell_of, plan.tiles) if cell not in ledger.covered]

    def _answer_tiles(self, missing: Sequence[Cell], writer: TileWriter, live: Live | None) -> None:
        """Send the tiles of cells through the network; what is finished stays, whatever ends that."""
        try:
            self._send(Order(self._plan, missing, self._focus), writer, live)
        finally:
            self._teller.stage_ended()
            writer.flush(self._reader)

    def _send(self, order: Order, writer: TileWriter, live: Live | None) -> None:
        plan = self._tile_plan
        done = len(plan.tiles) - order.total
        self._teller("running the model", done, len(plan.tiles))
        for batch in self._pipeline.run(order):
            for tile in batch.failed:
                writer.write(plan.cell_of(tile), {}, 0)
            if batch.answer is not None:
                for index, tile in enumerate(batch.tiles):
                    cell = plan.cell_of(tile)
                    writer.write(cell, self._values(batch.answer, index), plan.pixels_on(self._slide, cell))
                    if live is not None:
                        live.add(plan.grid.region_of(plan.cell_window(cell)))
            done += len(batch.tiles) + len(batch.failed)
            self._tiles += len(batch.tiles)
            writer.flush_now_and_then(self._reader)
            self._teller("running the model", done, len(plan.tiles))

    def _covered(self) -> dict[Cell, int]:
        """Return how many pixels of the slide each cell of the plan answers for; those without left out."""
        cells = map(self._tile_plan.cell_of, self._plan.tiles)
        return {cell: covered for cell in cells if (covered := self._ledger.covered.get(cell, 0))}

    def _not_read(self) -> dict[Window, str]:
        """Return the tiles of the plan that could not be read, and why."""
        return {tile: why for tile in self._plan.tiles if (why := self._ledger.failed.get(tile))}
