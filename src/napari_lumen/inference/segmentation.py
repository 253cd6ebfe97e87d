"""Dense segmentation: a class for each pixel, by overlapping tiles."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from napari_lumen import __version__
from napari_lumen.errors import ModelError, RunError
from napari_lumen.geometry import Window
from napari_lumen.inference.folder import write_text
from napari_lumen.inference.forward import Forward
from napari_lumen.inference.frontier import Frontier
from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.live import Live
from napari_lumen.inference.objects import count_objects
from napari_lumen.inference.order import Focus, Order
from napari_lumen.inference.pipeline import Pipeline
from napari_lumen.inference.plan import BLOCK, CELL, Cell, Plan
from napari_lumen.inference.progress import Teller
from napari_lumen.inference.reading import TileReader
from napari_lumen.inference.run import ClassCount, FailedTile, RunRecord, Session
from napari_lumen.inference.writer import ResultWriter
from napari_lumen.models import Model
from napari_lumen.slides import Slide

MIN_OBJECT_UM2 = 10.0
_SESSIONS = "sessions.json"


class Segmentation:
    """A run of a segmentation model in a folder that is claimed for it.

    Parameters
    ----------
    slide : Slide
    model : Model
    plan : Plan
    folder : Path
    device : torch.device
    teller : Teller
    focus : callable, optional
        As of `predict`.
    """

    def __init__(
        self,
        slide: Slide,
        model: Model,
        plan: Plan,
        folder: Path,
        device: torch.device,
        teller: Teller,
        focus: Focus | None = None,
    ) -> None:
        self._slide = slide
        self._model = model
        self._plan = plan
        self._folder = folder
        self._device = device
        self._teller = teller
        self._focus = focus
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._ledger = Ledger(folder)
        self._reader = TileReader(slide, plan.grid, model.card.input.views)
        self._forward = Forward(model, device)
        self._pipeline = Pipeline(self._reader, self._forward, teller.cancel)
        self._tiles = 0

    def run(self, on_live: Callable[[Live], None] | None, *, whole: bool) -> RunRecord:
        """Finish what is not finished, and return the record.

        Parameters
        ----------
        on_live : callable, optional
            As of `predict`.
        whole : bool
            Whether all tissue was asked for, not a region.
        """
        plan, card = self._plan, self._model.card
        self._forward.find_batch()
        blank = self._forward.blank()
        if blank.probability.shape[1] != len(card.classes):
            raise ModelError(
                f"The card of {card.title} is not usable: field 'classes': it names {len(card.classes)}, and "
                f"the network answers for {blank.probability.shape[1]}. Correct the card."
            )
        self._ledger.try_again({cell for tile in self._ledger.failed for cell in plan.cells_of(tile)})
        missing = [cell for cell in plan.tiles_per_cell() if cell not in self._ledger.covered]
        frontier = Frontier(plan, missing)
        strides = {name: frontier.stride(maps.shape[-1]) for name, maps in blank.attention.items()}
        mpp = self._slide.require_mpp()
        writer = ResultWriter(plan, self._model, mpp, self._folder, strides, self._ledger)
        live = Live(writer.records(), writer.rasters())
        if on_live is not None:
            on_live(live)
        try:
            self._answer(Order(plan, missing, self._focus), frontier, writer, live)
        finally:
            frontier.close()
            # what is finished stays, whatever ended the run
            self._teller.stage_ended()
            writer.flush(self._reader)
            self._note_session()
        if missing and not any(self._ledger.covered.values()):
            why = next(iter(self._ledger.failed.values()), "no pixel of the region belongs to a tile")
            raise RunError(f"Not one of the {len(plan.tiles)} tiles could be read: {why}")
        return self._record(writer, whole)

    def _answer(self, order: Order, frontier: Frontier, writer: ResultWriter, live: Live) -> None:
        before = len(self._plan.tiles) - order.total
        done = 0
        self._teller("running the model", before, before + order.total)
        for batch in self._pipeline.run(order):
            if batch.answer is not None:
                for index, tile in enumerate(batch.tiles):
                    maps = {name: values[index] for name, values in batch.answer.attention.items()}
                    frontier.add(tile, batch.answer.probability[index], maps)
            for tile in (*batch.tiles, *batch.failed):
                for cell in frontier.arrived(tile):
                    writer.write(cell)
                    live.add(self._plan.grid.region_of(self._plan.cell_window(cell.cell)))
            done += len(batch.tiles) + len(batch.failed)
            self._tiles += len(batch.tiles)
            writer.flush_now_and_then(self._reader)
            self._teller("running the model", before + done, before + order.total)

    def _note_session(self) -> None:
        wall = self._pipeline.computed + self._pipeline.waited
        session = Session(
            started=self._started,
            device=str(self._device),
            batch=self._forward.batch,
            tiles=self._tiles,
            seconds=self._teller.seconds,
            busy=round(self._pipeline.computed / wall, 4) if wall else 0.0,
            versions={
                "napari-lumen": __version__,
                **{name: version(name) for name in ("torch", "zarr", "numpy")},
            },
        )
        sessions = [*self._sessions(), session]
        text = json.dumps([item.model_dump(mode="json") for item in sessions], indent=2)
        write_text(self._folder / _SESSIONS, text + "\n")

    def _sessions(self) -> list[Session]:
        try:
            found = json.loads((self._folder / _SESSIONS).read_bytes())
        except FileNotFoundError:
            return []
        return [Session.model_validate(item) for item in found]

    def _record(self, writer: ResultWriter, whole: bool) -> RunRecord:
        slide, card, plan = self._slide, self._model.card, self._plan
        self._teller("counting", 0, 1)
        counts = self._counts(writer)
        self._teller("counting", 1, 1)
        left, top, right, bottom = plan.area.bounds
        return RunRecord(
            slide=slide.location if isinstance(slide.location, str) else str(slide.location.resolve()),
            fingerprint=slide.fingerprint,
            slide_shape=slide.shape,
            mpp=slide.require_mpp(),
            mpp_source="user" if slide.mpp_given else "slide",
            model=card.name,
            model_title=card.title,
            weights_sha256=card.weights_sha256,
            model_mpp=card.mpp,
            classes=card.classes,
            region=None if whole else (top, left, bottom - top, right - left),
            rasters=writer.records(),
            counts=counts,
            min_object_um2=MIN_OBJECT_UM2,
            analysed_mm2=self._area_mm2(sum(self._ledger.covered.values())),
            tiles=len(plan.tiles),
            tile=plan.tile,
            overlap=plan.overlap,
            failed_tiles=tuple(self._failed(tile, why) for tile, why in self._ledger.failed.items()),
            card=card,
            sessions=tuple(self._sessions()),
        )

    def _failed(self, tile: Window, why: str) -> FailedTile:
        region = self._plan.grid.region_of(tile)
        return FailedTile(y=region.y, x=region.x, height=region.height, width=region.width, why=why)

    def _area_mm2(self, pixels: int) -> float:
        height, width = self._plan.grid.scale(self._slide.require_mpp())
        return pixels * height * width / 1e6

    def _counts(self, writer: ResultWriter) -> tuple[ClassCount, ...]:
        """Count the connected areas of each class."""
        classes = self._model.card.classes
        side = BLOCK * CELL
        whole = Window(0, 0, *self._plan.grid.shape)

        def read(block: Cell) -> npt.NDArray[np.uint8]:
            if self._teller.cancel.is_set():
                self._teller("counting", 0, 1)  # raises
            place = Window(block[0] * side, block[1] * side, side, side).intersect(whole)
            return writer.labels.read(0, place)

        answered = (cell for cell, covered in self._ledger.covered.items() if covered)
        blocks = dict.fromkeys((row // BLOCK, column // BLOCK) for row, column in answered)
        areas = count_objects([item.value for item in classes], blocks, read)
        smallest = MIN_OBJECT_UM2 / 1e6
        return tuple(
            ClassCount(
                name=item.name,
                objects=int(sum(self._area_mm2(int(area)) >= smallest for area in areas[item.value])),
                area_mm2=self._area_mm2(int(areas[item.value].sum())),
            )
            for item in classes
        )
