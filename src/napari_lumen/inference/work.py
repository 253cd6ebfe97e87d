"""What every kind of run does: its folder, its network, its sessions and its record."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter, ValidationError

from napari_lumen import __version__
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import ModelError, RunError
from napari_lumen.geometry import Pair, Region, Window
from napari_lumen.holding import write_text
from napari_lumen.inference.forward import Answer, Forward, Pending
from napari_lumen.inference.ledger import FileOfBlock, Ledger
from napari_lumen.inference.live import Live
from napari_lumen.inference.order import Focus
from napari_lumen.inference.pipeline import Pipeline, network_watched
from napari_lumen.inference.plan import Cell, Plan
from napari_lumen.inference.progress import Teller
from napari_lumen.inference.reading import TileReader
from napari_lumen.inference.run import ClassCount, FailedTile, FileRecord, RasterRecord, RunRecord, Session
from napari_lumen.inference.slide_stain import slide_stain
from napari_lumen.inference.slide_watch import SlideWatch
from napari_lumen.inference.writer import RasterWriter, Recorder
from napari_lumen.models import Model, ModelCard, attention_modules
from napari_lumen.models.attention_checks import require_shapes
from napari_lumen.slides import Slide

MIN_OBJECT_UM2 = 10.0
_COARSER = 1.5  # times the model's pixel: above, detail is missing
_SESSIONS = "sessions.json"
_SESSION_LIST = TypeAdapter(tuple[Session, ...])


class Work(ABC):
    """A run of a model in a folder that is claimed for it.

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
        self._earlier = sessions_of(folder)
        self._versions = versions()  # they are looked up on disk
        self._stain = slide_stain(slide, model.card, folder, teller)
        self._reader = TileReader(slide, plan.grid, model.card.input.views, self._stain.table)
        self._forward = self._make_forward()
        self._pipeline = Pipeline(self._reader, self._forward, teller.cancel, model.card.title)
        self._tiles = 0

    @abstractmethod
    def run(self, on_live: Callable[[Live], None] | None, *, whole: bool) -> RunRecord:
        """Finish what is not finished, and return the record.

        Parameters
        ----------
        on_live : callable, optional
            As of `predict`.
        whole : bool
            Whether all tissue was asked for, not a region.
        """

    def _make_forward(self) -> Forward:
        """Make the network that tiles go through ready on the device."""
        return Forward(self._model, self._device)

    def _begin_blank(self) -> Callable[[], Answer]:
        """Send a white tile through the network, and return what waits for the answer.

        It must fit the card, and its attention the tile.
        """
        with network_watched(self._model.card.title):
            pending = self._forward.begin_blank()
        return lambda: self._blank_answer(pending)

    def _blank_answer(self, pending: Pending) -> Answer:
        card = self._model.card
        with network_watched(card.title):
            blank = pending.result()
        if blank.probability.shape[1] != len(card.classes):
            raise ModelError(
                f"The card of {card.title} is not usable: field 'classes': it names {len(card.classes)}, and "
                f"the network answers for {blank.probability.shape[1]}. Correct the card."
            )
        infos = (info for info, _ in attention_modules(self._model.network))
        # of one tile: a first axis of more than that is wrong
        shapes = {
            name: values.shape[1:] if len(values) == 1 else values.shape
            for name, values in blank.attention.items()
        }
        side = card.input.views[0].size
        require_shapes(card.title, infos, shapes, (side, side))
        return blank

    def _require_an_answer(self) -> None:
        """Raise RunError when no tile of the plan could be read."""
        plan, covered = self._plan, self._ledger.covered
        if not any(covered.get(cell) for tile in plan.tiles for cell in plan.cells_of(tile)):
            if not self._ledger.failed:
                raise RunError(
                    f"What was asked for of {self._slide.path.name} is smaller than a pixel of "
                    f"{self._model.card.title} ({self._model.card.mpp:g} µm), so there is nothing to answer. "
                    "Choose a larger region or another slide."
                )
            why = next(iter(self._ledger.failed.values()))
            raise RunError(f"Not one of the {len(plan.tiles)} tiles could be read: {why}")

    def _again(self, cells_of: Callable[[Window], Iterable[Cell]], writer: RasterWriter) -> None:
        """Have cells answered again that an earlier session left open or unmarked, or the disk lost."""
        failed, plan = self._ledger.failed, self._plan
        self._reader.watch.known = set(failed)
        again = {cell for tile in failed for cell in cells_of(tile)} | writer.unmarked(self._ledger.covered)

        def forget(lost: Sequence[Region]) -> None:
            for cell in self._ledger.covered if lost else ():
                region = plan.grid.region_of(plan.cell_window(cell))
                if any(not region.intersect(part).empty for part in lost):
                    again.add(cell)
            self._ledger.try_again(again)

        writer.mend(forget, self._ledger.blocks)

    def _recorder(self) -> Recorder:
        """Return what a writer tells of cells that are on disk."""
        return _Recorder(self._ledger, self._reader.watch, self._note_session)

    def _note_session(self) -> None:
        """Note what is to be told of this session so far: one that is killed says nothing any more."""
        sessions = [*self._earlier, self._session()]
        text = json.dumps([item.model_dump(mode="json") for item in sessions], indent=2)
        write_text(self._folder / _SESSIONS, text + "\n")

    def _session(self) -> Session:
        """Return what is to be told of this session."""
        wall = self._pipeline.computed + self._pipeline.waited
        return Session(
            started=self._started,
            device=str(self._device),
            batch=self._forward.batch,
            tiles=self._tiles,
            seconds=self._teller.seconds,
            busy=round(self._pipeline.computed / wall, 4) if wall else 0.0,
            versions=self._versions,
        )

    def _record(
        self,
        rasters: Sequence[RasterRecord],
        counts: Sequence[ClassCount],
        *,
        whole: bool,
        covered: int,
        failed: Mapping[Window, str],
        files: Sequence[FileRecord] = (),
    ) -> RunRecord:
        """Return the record of a run that is finished; `covered` are pixels of the plan's grid."""
        slide, card, plan = self._slide, self._model.card, self._plan
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
            rasters=tuple(rasters),
            files=tuple(files),
            counts=tuple(counts),
            min_object_um2=MIN_OBJECT_UM2,
            analysed_mm2=covered * pixel_mm2(plan.grid.scale(slide.require_mpp())),
            tiles=len(plan.tiles),
            tile=plan.tile,
            overlap=plan.overlap,
            failed_tiles=tuple(self._failed(tile, why) for tile, why in failed.items()),
            card=card,
            stain=self._stain.found,
            warnings=(*self._stain.warnings(slide, card), *_enlarged(slide, card), *plan.warnings),
            sessions=tuple(sessions_of(self._folder)),
        )

    def _failed(self, tile: Window, why: str) -> FailedTile:
        region = self._plan.grid.region_of(tile)
        return FailedTile(y=region.y, x=region.x, height=region.height, width=region.width, why=why)


@dataclass(frozen=True)
class _Recorder:
    """Records in the ledger what was read from a slide that is still whole, and notes the session."""

    ledger: Ledger
    watch: SlideWatch
    note: Callable[[], None]

    def add(
        self,
        covered: Iterable[tuple[Cell, int]],
        failed: Iterable[tuple[Window, str]],
        blocks: Iterable[FileOfBlock] = (),
    ) -> None:
        """Record cells whose pixels are on disk, tiles that failed, and blocks that have a file by now."""
        if self.watch.silent and self.watch.gone:  # what came since the last look may be white instead
            return
        self.watch.require_unchanged()
        self.ledger.add(covered, failed, blocks)
        self.note()


def _enlarged(slide: Slide, card: ModelCard) -> Iterator[str]:
    """Yield what is to be known of a slide that is much coarser than what a model reads."""
    own = max(slide.require_mpp())
    if own > _COARSER * card.mpp:
        yield (
            f"{slide.path.name} has {own:.4g} µm a pixel, and {card.title} reads {card.mpp:g} µm. Its pixels "
            f"were enlarged {own / card.mpp:.2g}-fold, and detail that the model looks for may be missing. "
            "Check the pixel size, or scan the slide at a higher magnification."
        )


def sessions_of(folder: Path) -> list[Session]:
    """Return the sessions of a run, each as far as it has noted what it did; none of a damaged file."""
    try:
        return list(_SESSION_LIST.validate_json((folder / _SESSIONS).read_bytes()))
    except (FileNotFoundError, ValidationError):  # no answer depends on them
        return []


def versions() -> dict[str, str]:
    """Return the versions of the software that an answer depends on, by its name."""
    return {"napari-lumen": __version__, **{name: version(name) for name in ("torch", "zarr", "numpy")}}


def pixel_mm2(scale: Pair) -> float:
    """Return the area of a pixel whose sides are given in µm, mm²."""
    return scale[0] * scale[1] / 1e6


def class_counts(
    classes: ClassTable, areas: Mapping[int, npt.NDArray[np.int64]], pixel: float
) -> tuple[ClassCount, ...]:
    """Return what was found of each class.

    Parameters
    ----------
    classes : ClassTable
    areas : mapping of int to ndarray
        Areas of the objects of each label value, px.
    pixel : float
        Area of a pixel, mm².
    """
    smallest = MIN_OBJECT_UM2 / 1e6
    return tuple(
        ClassCount(
            name=item.name,
            objects=int(np.count_nonzero(areas[item.value] * pixel >= smallest)),
            area_mm2=float(areas[item.value].sum() * pixel),
        )
        for item in classes
    )
