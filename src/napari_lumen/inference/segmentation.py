"""Dense segmentation: a class for each pixel, by overlapping tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari_lumen.inference.frontier import Frontier, kept_stride
from napari_lumen.inference.live import Live
from napari_lumen.inference.object_stage import Look, find_objects
from napari_lumen.inference.objects import seen_by_threads
from napari_lumen.inference.order import Order
from napari_lumen.inference.plan import Cell
from napari_lumen.inference.run import RunRecord
from napari_lumen.inference.work import Work
from napari_lumen.inference.writer import ResultWriter
from napari_lumen.models.attention import map_strides


class Segmentation(Work):
    """A run of a segmentation model."""

    def run(self, on_live: Callable[[Live], None] | None, *, whole: bool) -> RunRecord:
        """Finish what is not finished, and return the record; see `Work.run`."""
        plan = self._plan
        self._forward.find_batch()
        blank = self._begin_blank()
        self._note_session()
        own = map_strides(self._model.network)

        def strides() -> dict[str, int]:
            maps = blank().attention
            return {name: kept_stride(plan, own.get(name), of.shape[-1]) for name, of in maps.items()}

        mpp = self._slide.require_mpp()
        writer = ResultWriter(plan, self._model, mpp, self._folder, strides, self._recorder())
        self._again(plan.cells_of, writer)
        missing = [cell for cell in plan.tiles_per_cell() if cell not in self._ledger.covered]
        frontier = Frontier(plan, missing, strides=own)
        live = Live(self._model.card, writer.records(), writer.rasters())
        if on_live is not None:
            on_live(live)
        try:
            try:
                self._answer(missing, frontier, writer, live)
            finally:
                frontier.close()
                # what is finished stays, whatever ended the run
                self._teller.stage_ended()
                writer.flush(self._reader)
            self._require_an_answer()
            counts, files = find_objects(
                plan,
                self._model.card,
                mpp,
                self._folder,
                (cell for cell, covered in self._ledger.covered.items() if covered),
                self._teller,
                self._look,
            )
        finally:
            self._note_session()
        return self._record(
            writer.records(),
            counts,
            whole=whole,
            covered=sum(self._ledger.covered.values()),
            failed=self._ledger.failed,
            files=files,
        )

    @property
    def _look(self) -> Look:
        """Looks at blocks when objects are found."""
        return seen_by_threads

    def _answer(self, missing: Sequence[Cell], frontier: Frontier, writer: ResultWriter, live: Live) -> None:
        """Write and record the cells that are missing."""
        order = Order(self._plan, missing, self._focus)
        before = len(self._plan.tiles) - order.total
        done = 0
        self._teller("running the model", before, before + order.total)
        for batch in self._pipeline.run(order):
            for cell in frontier.take(batch):
                writer.write(cell)
                live.add(self._plan.grid.region_of(self._plan.cell_window(cell.cell)))
            done += len(batch.tiles) + len(batch.failed)
            self._tiles += len(batch.tiles)
            writer.flush_now_and_then(self._reader)
            self._teller("running the model", before + done, before + order.total)
