"""`predict_cohort`: a model over many slides; what is done is skipped, and one bad slide stops no other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING
from uuid import uuid4

import shapely
from shapely.geometry.base import BaseGeometry

from napari_lumen import __version__
from napari_lumen.errors import Cancelled, LumenError, first_line
from napari_lumen.geometry import Pair, Region
from napari_lumen.holding import held
from napari_lumen.inference.assignment import Assignment, assign
from napari_lumen.inference.cohort_table import CohortRow, CohortTable, require_cohort_folder
from napari_lumen.inference.folder import make_folder
from napari_lumen.inference.lost_files import lost_files
from napari_lumen.inference.predict import card_checksum, predict
from napari_lumen.inference.progress import Progress
from napari_lumen.inference.run import Run
from napari_lumen.models import Model, load_model
from napari_lumen.slides import Slide, open_slide
from napari_lumen.slides.finding import find_slides
from napari_lumen.slides.location import printable

if TYPE_CHECKING:
    from napari_lumen.inference.cluster import Crew


@dataclass(frozen=True)
class CohortProgress:
    """One step of a cohort.

    Attributes
    ----------
    slide : str
        Name of the slide that is worked on.
    done, total : int
        Slides.
    step : Progress or None
        Of that slide; None when it is done, or has failed.
    """

    slide: str
    done: int
    total: int
    step: Progress | None = None


@dataclass(frozen=True)
class Cohort:
    """What became of the slides of a call.

    Attributes
    ----------
    path : Path
        The folder: a run a slide, `cohort.csv` and `cohort.json`.
    rows : tuple of CohortRow
        One a slide, in the order given.
    """

    path: Path
    rows: tuple[CohortRow, ...]

    @property
    def failed(self) -> tuple[CohortRow, ...]:
        """Those that failed."""
        return tuple(row for row in self.rows if row.status == "failed")


def predict_cohort(
    slides: Iterable[str | os.PathLike[str]],
    model: Model | str | os.PathLike[str],
    out: str | os.PathLike[str],
    region: Region | BaseGeometry | None = None,
    device: str = "auto",
    on_progress: Callable[[CohortProgress], None] | None = None,
    cancel: Event | None = None,
    *,
    mpp: float | Pair | None = None,
    crew: Crew | None = None,
) -> Cohort:
    """Run a model over many slides, each into a folder of its own.

    A slide's folder is ``out / <name of the slide>-<key>``; the key belongs to the slide's content, the model
    and the region. A run that is finished there is not run again, and one that was stopped goes on: the same
    call, made again, does what is left. A slide that fails is told of, and the others go on.

    Parameters
    ----------
    slides : iterable of str or path
        Slides, folders of slides and patterns, see `find_slides`.
    model : Model, str or path
        As of `predict`.
    out : path
        Folder of the cohort. Other calls may have put their runs there.
    region : Region or shapely geometry, optional
        As of `predict`, the same on every slide.
    device : str
        As of `predict`.
    on_progress : callable, optional
        Called with a `CohortProgress` after every batch and every slide, in the calling thread.
    cancel : threading.Event, optional
        Set it from another thread to stop within one batch. What is finished stays.
    mpp : float or (float, float), optional
        µm per level-0 pixel of every slide, in place of what the files state.
    crew : Crew, optional
        Workers of a Dask cluster, see `napari_lumen.inference.cluster.connected`. Each answers for whole
        slides; those that are left when there are fewer than workers are divided, where the model segments.

    Returns
    -------
    Cohort

    Raises
    ------
    Cancelled
        When `cancel` was set; the table is written, and the same call goes on.
    SlideError, ModelError, RunError
        What concerns all slides: no slide, no model, or `out` cannot be written or is in use.
    """
    places = find_slides(slides)
    loaded = model if isinstance(model, Model) else load_model(model)
    target = Path(out).expanduser()
    with _held(target):
        work = _CohortWork(
            target, CohortTable(target), loaded, region, device, mpp, cancel or Event(), crew, on_progress
        )
        return Cohort(target, work.run(places))


def _complete(folder: Path) -> Run | None:
    """Return a run that has ended whole and without a failed tile: of others `predict` sees what is left."""
    run = Run.ended_in(folder)
    if run is None or run.record.failed_tiles or next(lost_files(run), None) is not None:
        return None
    return run


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    require_cohort_folder(folder)
    make_folder(folder)
    with held(folder):
        yield


@dataclass
class _CohortWork:
    """One call of `predict_cohort`."""

    out: Path
    table: CohortTable
    model: Model
    region: Region | BaseGeometry | None
    device: str
    mpp: float | Pair | None
    cancel: Event
    crew: Crew | None
    on_progress: Callable[[CohortProgress], None] | None
    rows: dict[str, CohortRow] = field(default_factory=dict)  # by slide

    def run(self, places: Sequence[Path | str]) -> tuple[CohortRow, ...]:
        names = [printable(place) for place in places]
        model = self.model.card.name
        self.rows = {name: CohortRow(slide=name, model=model, status="unfinished") for name in names}
        self.table.put(row for row in self.rows.values() if not self.table.has_finished(row))
        try:
            for place in self._by_whole_slides(self.crew, places) if self.crew else places:
                self._require_wanted()
                self._put(self._answer(place, printable(place)))
        except Cancelled as error:
            finished = sum(self.table.has_finished(row) for row in self.rows.values())
            raise Cancelled(
                f"The cohort was cancelled. {finished} of {len(names)} slides are finished in {self.out}; "
                "the same call goes on with what is left."
            ) from error
        return tuple(self.rows.values())

    def _answer(self, place: Path | str, name: str) -> CohortRow:
        """Run the model over a slide, unless that is done, and return its row."""
        try:
            with open_slide(place, mpp=self.mpp) as slide:
                folder = self._folder(slide)
                asked = (slide, self.model, self.region, folder, self.device, partial(self._tell, name))
                run = _complete(folder) or predict(*asked, self.cancel, crew=self.crew)
            return CohortRow.of(name, run)
        except Cancelled:
            raise
        except Exception as error:  # one bad slide stops no other, whatever it is
            return self._failed(name, error)

    def _by_whole_slides(self, crew: Crew, places: Sequence[Path | str]) -> list[Path | str]:
        """Have whole slides answered for by workers, and return those that are left to be divided.

        Copies of a slide share a folder: one of them is answered for, and the others find its run there.
        """
        from napari_lumen.inference.worker import answer_slide  # needs the extra `cluster`

        crew.wait(self._require_wanted)
        topic = f"napari-lumen-{uuid4().hex}"
        waiting: list[tuple[Path | str, Assignment, Path]] = []
        copies: list[Path | str] = []
        folders: set[Path] = set()
        for place in places:
            self._require_wanted()
            assigned = self._assigned(place, topic)
            if isinstance(assigned, CohortRow):
                self._put(assigned)
            elif assigned[1] in folders:
                copies.append(place)
            else:
                folders.add(assigned[1])
                waiting.append((place, *assigned))
        workers = max(1, crew.size)
        whole = len(waiting) // workers * workers if self._divisible else len(waiting)
        names = [printable(place) for place, *_ in waiting]
        arguments = [(assignment, self.region, folder) for _, assignment, folder in waiting[:whole]]
        with closing(crew.work(answer_slide, topic, arguments)) as work:
            for news in work:
                self._require_wanted()
                if news is not None and news.what == "progress":
                    self._tell(names[news.index], Progress(**news.message))
                elif news is not None:
                    self._put(self._row_of(names[news.index], waiting[news.index][2], news.message))
        return [*(place for place, *_ in waiting[whole:]), *copies]

    def _assigned(self, place: Path | str, topic: str) -> CohortRow | tuple[Assignment, Path]:
        """Return what a worker is to do with a slide, or its row where nothing is to be done."""
        name = printable(place)
        try:
            with open_slide(place, mpp=self.mpp) as slide:
                folder = self._folder(slide)
                if run := _complete(folder):
                    return CohortRow.of(name, run)
                return assign(slide, self.model, self.out, self.device, topic), folder
        except Exception as error:
            return self._failed(name, error)

    def _row_of(self, name: str, folder: Path, outcome: object) -> CohortRow:
        try:
            if isinstance(outcome, LumenError):
                raise outcome
            return CohortRow.of(name, Run.open(folder))
        except LumenError as error:
            return self._failed(name, error)

    @property
    def _divisible(self) -> bool:
        """Whether a slide can be divided among workers."""
        return self.model.card.task == "segmentation"

    def _folder(self, slide: Slide) -> Path:
        card, region = self.model.card, self.region
        asked = shapely.to_wkb(shapely.normalize(region)) if isinstance(region, BaseGeometry) else region
        facts = (slide.fingerprint, slide.require_mpp(), card.name, card.weights_sha256, card_checksum(card))
        key = hashlib.sha256(repr((*facts, asked, __version__)).encode()).hexdigest()[:8]
        return self.out / f"{slide.path.stem[:80]}-{key}"

    def _failed(self, name: str, error: Exception) -> CohortRow:
        told = (
            str(error) if isinstance(error, LumenError) else f"{type(error).__name__}: {first_line(error)}."
        )
        return CohortRow(slide=name, model=self.model.card.name, status="failed", error=told)

    def _put(self, row: CohortRow) -> None:
        self.rows[row.slide] = row
        self.table.put([row])
        self._tell(row.slide, None)

    def _tell(self, name: str, step: Progress | None) -> None:
        if self.on_progress is not None:
            done = sum(row.status != "unfinished" for row in self.rows.values())
            self.on_progress(CohortProgress(Path(name).name, done, len(self.rows), step))

    def _require_wanted(self) -> None:
        if self.cancel.is_set():
            raise Cancelled("The run was cancelled.")
