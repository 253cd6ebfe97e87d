"""Dense segmentation by the workers of a cluster: they write level 0, the client all that spans blocks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any
from uuid import uuid4

from napari_lumen.errors import LumenError
from napari_lumen.geometry import Window
from napari_lumen.inference.assignment import Assignment, assign
from napari_lumen.inference.cluster import Crew, News
from napari_lumen.inference.frontier import Frontier
from napari_lumen.inference.live import Live
from napari_lumen.inference.object_blocks import BlockLook, Seen
from napari_lumen.inference.object_stage import Look, WrittenRasters
from napari_lumen.inference.order import Order
from napari_lumen.inference.parts import divide
from napari_lumen.inference.plan import Cell
from napari_lumen.inference.run import Session
from napari_lumen.inference.segmentation import Segmentation
from napari_lumen.inference.worker import Report, answer_part
from napari_lumen.inference.worker_objects import see_blocks
from napari_lumen.inference.writer import ResultWriter

_TOGETHER = 4  # blocks in which a worker looks for objects at a time
_AHEAD = 3  # such tasks a worker: what comes back is held until it is its turn


class ClusterSegmentation(Segmentation):
    """A run of a segmentation model whose blocks are answered for by workers.

    What they report is recorded here, once the coarser levels that follow from it are on disk too: the
    folder is at any moment that of a run which goes on anywhere.

    Parameters
    ----------
    *arguments
        As of `Segmentation`; the device is that of the client, for what little it asks the network.
    crew : Crew
    device_of_workers : str
        As of `predict`.
    """

    def __init__(self, *arguments: Any, crew: Crew, device_of_workers: str) -> None:
        super().__init__(*arguments)
        self._crew = crew
        self._device_of_workers = device_of_workers
        self._reports: dict[tuple[int, str], Report] = {}  # by part and worker
        self._adopted: set[Cell] = set()

    def _answer(self, missing: Sequence[Cell], frontier: Frontier, writer: ResultWriter, live: Live) -> None:
        """Have the cells that are missing written by workers, and record them."""
        if not missing:
            return
        self._crew.wait(lambda: self._teller("waiting for workers", 0, 1))
        parts = divide(self._plan, missing, max(1, self._crew.size))
        total = len(self._plan.tiles)
        begun_with = total - Order(self._plan, missing).total
        share = (total - begun_with) / sum(len(part.plan.tiles) for part in parts)  # some are done twice
        topic, assignment = self._assignment()
        self._teller("running the model", begun_with, total)
        work = self._crew.work(answer_part, topic, [(assignment, part) for part in parts])
        with closing(work):
            for news in work:
                if news is not None:
                    self._take(news, writer, live)
                writer.flush_now_and_then(self._reader)
                latest = {part: report.tiles for (part, _), report in self._reports.items()}
                self._teller("running the model", begun_with + int(sum(latest.values()) * share), total)

    def _assignment(self) -> tuple[str, Assignment]:
        topic = f"napari-lumen-{uuid4().hex}"
        return topic, assign(self._slide, self._model, self._folder, self._device_of_workers, topic)

    @property
    def _look(self) -> Look:
        return self._seen_by_workers

    def _seen_by_workers(
        self, rasters: WrittenRasters, how: BlockLook, blocks: Sequence[Cell], check: Callable[[], None]
    ) -> Generator[tuple[Cell, Seen]]:
        """Have workers look at blocks."""
        groups = [blocks[start : start + _TOGETHER] for start in range(0, len(blocks), _TOGETHER)]
        topic, assignment = self._assignment()
        arguments = [(assignment, how, group) for group in groups]
        come: dict[int, list[Seen]] = {}
        following = 0
        with closing(self._crew.work(see_blocks, topic, arguments, ahead=_AHEAD)) as work:
            for news in work:
                check()
                if news is None:
                    continue
                if isinstance(news.message, LumenError):
                    raise news.message
                come[news.index] = news.message
                while following in come:
                    yield from zip(groups[following], come.pop(following), strict=True)
                    following += 1

    def _take(self, news: News, writer: ResultWriter, live: Live) -> None:
        if isinstance(news.message, LumenError):
            raise news.message
        report = news.message if isinstance(news.message, Report) else Report(**news.message)
        self._reports.pop((news.index, report.worker), None)  # the latest one of a part comes last
        self._reports[news.index, report.worker] = report
        self._tiles = sum(each.tiles for each in self._reports.values())
        self._reader.failures.update({Window(*place): why for *place, why in report.failed})
        written = [((row, column), covered) for row, column, covered in report.cells]
        fresh = [(cell, covered) for cell, covered in written if cell not in self._adopted]
        writer.adopt(fresh)
        for cell, _ in fresh:
            self._adopted.add(cell)
            live.add(self._plan.grid.region_of(self._plan.cell_window(cell)))

    def _session(self) -> Session:
        reports = self._reports.values()
        count = len({report.worker for report in reports}) or self._crew.size
        computed = sum(report.computed for report in reports)
        wall = computed + sum(report.waited for report in reports)
        devices = ", ".join(sorted({report.device for report in reports}))
        workers = f"{count} Dask worker{'' if count == 1 else 's'}" if count else "Dask workers"
        facts = {
            "device": f"{workers} ({devices})" if devices else workers,
            "batch": max((report.batch for report in reports), default=0),
            "busy": round(computed / wall, 4) if wall else 0.0,
        }
        return super()._session().model_copy(update=facts)
