"""Classification of a slide in two stages: vectors of its tiles, then a network over the map of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_lumen.errors import RunError
from napari_lumen.geometry import Region
from napari_lumen.holding import disk_error
from napari_lumen.inference.folder import begin, claimed, make_folder
from napari_lumen.inference.forward import Answer, Forward, class_probability, out_of_memory
from napari_lumen.inference.heat_map import HeatMap
from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.live import Live
from napari_lumen.inference.pipeline import network_watched
from napari_lumen.inference.rasters import Pixels
from napari_lumen.inference.run import RunRecord
from napari_lumen.inference.slide_features import (
    CACHE_VARIABLE,
    FEATURES,
    Extraction,
    features_folder,
    features_identity,
    forget_oldest,
    slide_network,
    vectors_of,
)
from napari_lumen.inference.tile_work import TileWork
from napari_lumen.inference.tile_writer import TileWriter
from napari_lumen.inference.work import class_counts, pixel_mm2
from napari_lumen.inference.writer import raster_record
from napari_lumen.models import attention_modules, record_attention
from napari_lumen.models.feature_map import lumps
from napari_lumen.models.folding import folded


class SlideClassification(TileWork):
    """A run of a model that classifies the tiles of a slide together.

    The vectors of the tiles are kept in the user's cache, by slide and first stage: a run that was stopped,
    one over another region, and another model with the same first stage go on with those that there are.
    """

    def run(self, on_live: Callable[[Live], None] | None, *, whole: bool) -> RunRecord:
        """Finish what is not finished, and return the record; see `Work.run`."""
        card, plan, mpp = self._model.card, self._tile_plan, self._slide.require_mpp()
        self._note_session()
        writer = TileWriter(plan, mpp, self._folder, Ledger(self._folder))
        heat_map = HeatMap(card, plan, writer)
        maps = {
            name: writer.add(f"attention/{name}", np.float32, fill=float("nan"), pyramid=True)
            for name in card.attention
        }
        descriptions = {info.name: info.description for info, _ in attention_modules(self._model.network)}
        records = (
            *heat_map.records(),
            *(raster_record(raster, name, "attention", descriptions[name]) for name, raster in maps.items()),
        )
        writer.mend(lambda lost: None)  # all of it is written anew
        live = Live(self._model.card, records, writer.rasters())
        if on_live is not None:
            on_live(live)
        try:
            vectors, cells = self._vectors()
            for path, values in self._classified(vectors, cells, heat_map).items():
                writer.write_whole(path, values)
            self._teller.stage_ended()
            writer.flush(self._reader)
        finally:
            self._note_session()
        live.add(Region(0, 0, *self._slide.shape))
        self._teller("counting", 0, 1)
        covered = self._covered()
        areas = heat_map.areas(covered)
        files = (heat_map.write_table(self._folder, covered),)
        self._teller("counting", 1, 1)
        return self._record(
            records,
            class_counts(card.classes, areas, pixel_mm2(plan.grid.scale(mpp))),
            whole=whole,
            covered=sum(covered.values()),
            failed=self._not_read(),
            files=files,
        )

    def _make_forward(self) -> Forward:
        slide_network(self._model)  # raises where it is none
        return Extraction(self._model, self._device)

    def _values(self, answer: Answer, index: int) -> Mapping[str, Pixels]:
        return {FEATURES: answer.probability[index, :, None, None]}

    def _vectors(self) -> tuple[Tensor, Tensor]:
        """Compute the vectors that the cache has not, and return (N, C) vectors and (N, 2) cells."""
        identity = features_identity(self._slide, self._model, self._tile_plan, self._stain.found)
        folder = features_folder(self._slide, identity)
        try:
            make_folder(folder.parent)
        except RunError as error:
            raise RunError(f"{error} The variable {CACHE_VARIABLE} names it.") from error
        with claimed(
            folder, "Wait for that run: the vectors of tiles that it keeps there serve this one, too."
        ):
            begin(folder, identity)
            try:
                found = self._vectors_in(folder)
            except OSError as error:
                raise disk_error(folder, error) from error
            forget_oldest(folder)
            return found

    def _vectors_in(self, folder: Path) -> tuple[Tensor, Tensor]:
        self._ledger = Ledger(folder)
        with network_watched(self._model.card.title):
            width = self._forward.blank().probability.shape[1]
        writer = TileWriter(self._tile_plan, self._slide.require_mpp(), folder, self._recorder())
        raster = writer.add(FEATURES, np.float32, channels=width)
        missing = self._missing(writer)
        if missing:
            self._forward.find_batch()
        self._answer_tiles(missing, writer, None)
        self._require_an_answer()
        cells = list(self._covered())
        return torch.from_numpy(vectors_of(raster, cells)), torch.tensor(cells)

    def _classified(self, vectors: Tensor, cells: Tensor, heat_map: HeatMap) -> dict[str, Pixels]:
        """Return what the second stage says of all tiles, (..., rows, columns) by the path of its raster."""
        card, rows_columns = self._model.card, self._tile_plan.cells
        network: Any = folded(self._model.network).to(self._device)
        probability = np.full((len(card.classes), *rows_columns), np.nan, np.float32)
        kept = {f"attention/{name}": np.full(rows_columns, np.nan, np.float32) for name in card.attention}
        groups = lumps(cells) if card.slide_map == "lumps" else (torch.arange(len(cells)),)
        for number, group in enumerate(groups):
            self._teller("classifying the slide", number, len(groups))
            with (
                torch.inference_mode(),
                network_watched(card.title),
                self._memory_watched(),
                record_attention(network, *card.attention) as recorded,
            ):
                on_device = vectors[group].to(self._device), cells[group].to(self._device)
                laid_out, logits = network.classify(*on_device)
                said = class_probability(card, laid_out.gather(logits.float())).cpu().numpy()
            rows, columns = cells[group].numpy().T
            probability[:, rows, columns] = said.T
            for name in card.attention:
                values = laid_out.gather(recorded[name].float())[:, 0]
                kept[f"attention/{name}"][rows, columns] = values.cpu().numpy()
        self._teller("classifying the slide", len(groups), len(groups))
        return {**heat_map.values(probability), **kept}

    @contextmanager
    def _memory_watched(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise RunError(
                f"The memory of {self._device} does not suffice for the slide's map in "
                f"{self._model.card.title}. Choose another device; the vectors of its tiles are kept."
            ) from error
