"""What runs on the workers of a Dask cluster: parts of one run, or whole slides of a cohort."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event

import torch
from shapely.geometry.base import BaseGeometry

from napari_lumen.geometry import Region, Window
from napari_lumen.inference.assignment import (
    Assignment,
    assigned_model,
    assigned_slide,
    require_same_place,
)
from napari_lumen.inference.forward import Forward
from napari_lumen.inference.frontier import FinishedCell, Frontier
from napari_lumen.inference.ledger import FileOfBlock, Ledger
from napari_lumen.inference.order import Order
from napari_lumen.inference.parts import Block, Part, block_of
from napari_lumen.inference.pipeline import Pipeline
from napari_lumen.inference.plan import Cell
from napari_lumen.inference.predict import predict
from napari_lumen.inference.progress import Progress
from napari_lumen.inference.reading import TileReader
from napari_lumen.inference.slide_stain import SlideStain, kept_stain
from napari_lumen.inference.worker_task import Task, one_at_a_time
from napari_lumen.inference.writer import ResultWriter
from napari_lumen.models import Model
from napari_lumen.models.attention import map_strides
from napari_lumen.models.device import resolve_device
from napari_lumen.slides import Slide


@dataclass
class Report:
    """How far a worker is with a part; a `Recorder` of what is written.

    Attributes
    ----------
    worker, device : str
    batch : int
        Tiles that go through the network together.
    tiles : int
        Done, readable or not.
    computed, waited : float
        Seconds, see `Pipeline`.
    cells : list of (int, int, int)
        Whose finest level is on disk: row, column and covered pixels.
    failed : list of (int, int, int, int, str)
        Tiles that could not be read, and why.
    """

    worker: str
    device: str
    batch: int = 0
    tiles: int = 0
    computed: float = 0.0
    waited: float = 0.0
    cells: list[tuple[int, int, int]] = field(default_factory=list)
    failed: list[tuple[int, int, int, int, str]] = field(default_factory=list)

    def add(
        self,
        covered: Iterable[tuple[Cell, int]],
        failed: Iterable[tuple[Window, str]],
        blocks: Iterable[FileOfBlock] = (),
    ) -> None:
        """Note what is written; the client sees for itself which blocks have a file."""
        self.cells += [(*cell, pixels) for cell, pixels in covered]
        self.failed = [(tile.y, tile.x, tile.height, tile.width, why) for tile, why in failed]


@dataclass(frozen=True)
class _Open:
    """The slide and the network of a run, kept from one part to the next."""

    topic: str
    slide: Slide
    model: Model
    device: torch.device
    forward: Forward
    sides: Mapping[str, int]  # of each attention map of a tile, px
    stain: SlideStain

    @classmethod
    def of(cls, assignment: Assignment, address: str) -> _Open:
        model = assigned_model(assignment, address)
        device = resolve_device(assignment.device)
        forward = Forward(model, device)
        forward.find_batch()
        sides = {name: values.shape[-1] for name, values in forward.blank().attention.items()}
        stain = kept_stain(model.card, assignment.folder)
        slide = assigned_slide(assignment, address)
        return cls(assignment.topic, slide, model, device, forward, sides, stain)


_open: list[_Open] = []  # one at most


def _opened(assignment: Assignment, address: str) -> _Open:
    if not _open or _open[0].topic != assignment.topic:
        _close()
        require_same_place(assignment, address)
        _open.append(_Open.of(assignment, address))
    return _open[0]


def _close() -> None:
    while _open:
        _open.pop().slide.close()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


async def forget() -> None:  # a coroutine: Dask waits for plain functions
    """Close the slide and the network of the run that ended, unless another one has begun."""
    if one_at_a_time.acquire(blocking=False):
        try:
            _close()
        finally:
            one_at_a_time.release()


def answer_part(index: int, assignment: Assignment, part: Part) -> Report:
    """Write the finest level of a part of a run, and tell the client of every block.

    A block is written once and whole: should a worker that was taken for dead go on beside its successor,
    both write the same.

    Parameters
    ----------
    index : int
        By which the client knows the part.
    assignment : Assignment
    part : Part

    Returns
    -------
    Report
        Of the whole part.
    """
    task = Task(index, assignment.topic)
    with task.turn():
        opened = _opened(assignment, task.address)
        slide, model, plan = opened.slide, opened.model, part.plan
        finished = Ledger(assignment.folder, held=False).covered  # by a worker that died over this part
        missing = [cell for cell in part.cells if cell not in finished]
        frontier = Frontier(plan, missing, strides=map_strides(model.network))
        strides = {name: frontier.stride(name, side) for name, side in opened.sides.items()}
        report = Report(task.address, str(opened.device))
        writer = ResultWriter(
            plan, model, slide.require_mpp(), assignment.folder, lambda: strides, report, finest_only=True
        )
        reader = TileReader(slide, plan.grid, model.card.input.views, opened.stain.table)
        pipeline = Pipeline(reader, opened.forward, Event(), model.card.title)
        try:
            for cells in _by_block(_cells(task, pipeline, Order(plan, missing), frontier, report), missing):
                for cell in cells:
                    writer.write(cell)
                reader.watch.require_unchanged()  # what is written is told of as finished
                writer.flush(reader)
        finally:
            frontier.close()
        return report


def _cells(
    task: Task, pipeline: Pipeline, order: Order, frontier: Frontier, report: Report
) -> Iterator[FinishedCell]:
    """Yield the cells of a part as they are finished, and tell the client of those that are written."""
    told = 0
    for batch in pipeline.run(order):
        if not task.wanted:
            pipeline.cancel.set()  # which ends it before the next batch
            continue
        yield from frontier.take(batch)
        report.tiles += len(batch.tiles) + len(batch.failed)
        report.batch = pipeline.forward.batch
        report.computed, report.waited = pipeline.computed, pipeline.waited
        if len(report.cells) > told or task.due():
            task.tell("report", asdict(replace(report, cells=report.cells[told:])))
            told = len(report.cells)


def _by_block(cells: Iterable[FinishedCell], expected: Iterable[Cell]) -> Iterator[list[FinishedCell]]:
    """Yield finished cells together, those of a block when its last one has come."""
    counts = Counter(map(block_of, expected))
    here: defaultdict[Block, list[FinishedCell]] = defaultdict(list)
    for cell in cells:
        block = block_of(cell.cell)
        here[block].append(cell)
        if len(here[block]) == counts[block]:
            yield here.pop(block)


def answer_slide(index: int, assignment: Assignment, region: Region | BaseGeometry | None, out: Path) -> None:
    """Run a model over a whole slide, as `predict` does, and tell the client of its progress.

    Parameters
    ----------
    index : int
        By which the client knows the slide.
    assignment : Assignment
    region : Region or shapely geometry, optional
        As of `predict`.
    out : Path
        Folder of the run.
    """
    task, cancel = Task(index, assignment.topic), Event()

    def tell(progress: Progress) -> None:
        if not task.wanted:
            cancel.set()
        elif task.due():
            task.tell("progress", asdict(progress))

    with task.turn():
        _close()
        require_same_place(assignment, task.address)
        model = assigned_model(assignment, task.address)
        with assigned_slide(assignment, task.address) as slide:
            predict(slide, model, region, out, assignment.device, tell, cancel)
