"""Classification of tiles: a class for each, its attention, and the boxes that it was decided by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from napari_lumen.inference.forward import Answer
from napari_lumen.inference.heat_map import HeatMap
from napari_lumen.inference.live import Live
from napari_lumen.inference.rasters import Pixels
from napari_lumen.inference.run import RunRecord
from napari_lumen.inference.tile_attention import TileAttention
from napari_lumen.inference.tile_work import TileWork
from napari_lumen.inference.tile_writer import TileWriter
from napari_lumen.inference.work import class_counts, pixel_mm2


class Classification(TileWork):
    """A run of a model that classifies tiles, or fields of view as large as a tile."""

    _heat_map: HeatMap
    _attention: TileAttention

    def run(self, on_live: Callable[[Live], None] | None, *, whole: bool) -> RunRecord:
        """Finish what is not finished, and return the record; see `Work.run`."""
        plan, mpp = self._tile_plan, self._slide.require_mpp()
        self._forward.find_batch()
        blank = self._begin_blank()()
        self._note_session()
        writer = TileWriter(plan, mpp, self._folder, self._recorder())
        self._heat_map = HeatMap(self._model.card, plan, writer)
        self._attention = TileAttention(self._model, plan, writer, blank)
        records = (*self._heat_map.records(), *self._attention.records())
        live = Live(self._model.card, records, writer.rasters())
        if on_live is not None:
            on_live(live)
        try:
            self._answer_tiles(self._missing(writer), writer, live)
        finally:
            self._note_session()
        self._require_an_answer()
        self._teller("counting", 0, 1)
        covered = self._covered()
        areas = self._heat_map.areas(covered)
        classes = self._heat_map.classes_of(covered)
        files = (
            self._heat_map.write_table(self._folder, covered),
            *self._attention.write_boxes(self._folder, classes, self._model.card.classes),
        )
        self._teller("counting", 1, 1)
        return self._record(
            records,
            class_counts(self._model.card.classes, areas, pixel_mm2(plan.grid.scale(mpp))),
            whole=whole,
            covered=sum(covered.values()),
            failed=self._not_read(),
            files=files,
        )

    def _values(self, answer: Answer, index: int) -> Mapping[str, Pixels]:
        probability = answer.probability[index, :, None, None]
        return {**self._heat_map.values(probability), **self._attention.values(answer, index)}
