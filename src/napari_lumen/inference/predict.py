"""`predict`: a model over a slide, into a run folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from shapely.geometry.base import BaseGeometry

from napari_lumen import __version__
from napari_lumen.errors import LumenError, ModelError, RunError, SlideError
from napari_lumen.geometry import Region
from napari_lumen.holding import disk_error, write_text
from napari_lumen.inference.classification import Classification
from napari_lumen.inference.folder import PLAN_FILE, Claim, Identity, begin, claimed, require_free, user_runs
from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.live import Live
from napari_lumen.inference.lost_files import lost_files
from napari_lumen.inference.order import Focus
from napari_lumen.inference.pipeline import NO_NUMBER
from napari_lumen.inference.plan import Plan, make_plan
from napari_lumen.inference.progress import Progress, Teller
from napari_lumen.inference.reading import TileReader
from napari_lumen.inference.run import RUN_FILE, Run
from napari_lumen.inference.segmentation import Segmentation
from napari_lumen.inference.slide_classification import SlideClassification
from napari_lumen.inference.tile_plan import make_tile_plan
from napari_lumen.inference.work import Work
from napari_lumen.models import Model, ModelCard, load_model
from napari_lumen.models.allocator import memory_kept
from napari_lumen.models.attention_checks import unknown_attention
from napari_lumen.models.card import Task
from napari_lumen.models.device import resolve_device
from napari_lumen.slides import Slide, open_slide

if TYPE_CHECKING:
    from napari_lumen.inference.cluster import Crew

_PROBES = 32  # tiles that failed and are read to see whether others can be now
_WORKS: Mapping[Task, type[Work]] = {
    "segmentation": Segmentation,
    "classification": Classification,
    "slide": SlideClassification,
}


def predict(
    slide: Slide | str | os.PathLike[str],
    model: Model | str | os.PathLike[str],
    region: Region | BaseGeometry | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    on_progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    *,
    focus: Focus | None = None,
    on_live: Callable[[Live], None] | None = None,
    crew: Crew | None = None,
) -> Run:
    """Run a model over a slide, or go on with a run that was stopped.

    Parameters
    ----------
    slide : Slide or path
        Its pixel size must be known.
    model : Model, str or path
        Loaded, by name, or a model folder.
    region : Region or shapely geometry, optional
        What to answer for: a rectangle, or geometry in (x, y) level-0 px; all tissue when left out.
    out : path, optional
        Folder of the run. A new or empty one; or that of the same run, which then goes on where it was
        stopped, or is returned when it is finished, unless tiles that failed can be read now or files of it
        are gone. Without it, a folder in the user's data folder that belongs to this slide, model and region.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
    on_progress : callable, optional
        Called with a `Progress` after every batch, in the calling thread.
    cancel : threading.Event, optional
        Set it from another thread to stop within one batch. What is finished stays.
    focus : callable, optional
        Returns what the user looks at (a `Region`) or None; it is answered first, and may change.
    on_live : callable, optional
        Called once with the growing result, before the first batch.
    crew : Crew, optional
        Workers of a Dask cluster to answer, see `napari_lumen.inference.cluster.connected`; `device` is then
        one of theirs, and `focus` is not heeded.

    Returns
    -------
    Run
        Labels, probability and attention in OME-Zarr 0.5, and the record.

    Raises
    ------
    Cancelled
        When `cancel` was set; the same call goes on from there.
    SlideError, ModelError, RunError
        One sentence: what, where, what to do.
    """
    with nullcontext(slide) if isinstance(slide, Slide) else open_slide(slide) as opened:
        if out is not None:
            require_free(Path(out).expanduser())
        loaded = model if isinstance(model, Model) else load_model(model)
        _require_rgb(opened, loaded)
        _require_attention(loaded)
        opened.require_mpp()
        on = resolve_device(device if crew is None else "cpu")
        teller = Teller(on_progress or (lambda progress: None), cancel or Event())
        teller("finding tissue", 0, 1)
        plan = _plan(opened, loaded.card, region, lambda: teller("finding tissue", 0, 1))
        teller("finding tissue", 1, 1)
        identity = identity_of(opened, loaded, plan)
        target = _default_folder(opened, identity) if out is None else Path(out).expanduser()
        ended = _nothing_left(target, identity, opened, loaded, plan)
        if ended is not None:
            return ended
        with claimed(target) as claim, _tidy(target, claim):
            begin(target, identity)
            # looked at once more: another process may have ended the run before this one got the lock
            if _nothing_left(target, identity, opened, loaded, plan) is None:
                make = _work(loaded.card, crew, device)
                work = make(opened, loaded, plan, target, on, teller, focus)
                with memory_kept():
                    record = work.run(on_live, whole=region is None)
                write_text(target / RUN_FILE, record.model_dump_json(indent=2) + "\n")
    return Run.open(target)


def _plan(
    slide: Slide, card: ModelCard, region: Region | BaseGeometry | None, check: Callable[[], None]
) -> Plan:
    if card.task == "segmentation":
        return make_plan(slide, card.input, region, check)
    return make_tile_plan(slide, card.input, region, check, centred=card.task == "classification")


def _work(card: ModelCard, crew: Crew | None, device: str) -> Callable[..., Work]:
    if crew is None:
        return _WORKS[card.task]
    if card.task != "segmentation":
        raise RunError(
            f"A run of {card.title} cannot be divided among workers, for it tells the class of whole tiles. "
            "Run it without workers, or as one of a cohort, whose slides go to them whole."
        )
    from napari_lumen.inference.cluster_segmentation import ClusterSegmentation  # needs the extra `cluster`

    return partial(ClusterSegmentation, crew=crew, device_of_workers=device)


def _nothing_left(folder: Path, identity: Identity, slide: Slide, model: Model, plan: Plan) -> Run | None:
    """Return a run that has ended, unless files of it are gone or a tile that failed can be read now.

    Nothing is written.
    Tiles that the network has no number for are left: it would say the same again.
    """
    run = Run.ended_in(folder) if (folder / PLAN_FILE).exists() else None
    if run is None:
        return None
    begin(folder, identity)
    if next(lost_files(run), None) is not None:
        return None
    places = [(tile.y, tile.x) for tile in run.record.failed_tiles if tile.why != NO_NUMBER]
    failed = set(places[:: -(-len(places) // _PROBES) or 1])  # a server that is gone takes long to say so
    if failed:
        reader = TileReader(slide, plan.grid, model.card.input.views)
        for tile in plan.tiles:
            region = plan.grid.region_of(tile)
            if (region.y, region.x) in failed and reader.read(tile) is not None:
                return None
    return run


@contextmanager
def _tidy(folder: Path, claim: Claim) -> Iterator[None]:
    """Say in one sentence what the disk refuses, and leave no new folder in which nothing is finished."""
    try:
        yield
    except BaseException as error:
        claim.abandoned = not any(Ledger(folder).covered.values())
        if isinstance(error, OSError) and not isinstance(error, LumenError):
            raise disk_error(folder, error) from error
        raise


def identity_of(slide: Slide, model: Model, plan: Plan) -> Identity:
    """Return what the answer of a run is a function of."""
    card = model.card
    return Identity(
        fingerprint=slide.fingerprint,
        slide=slide.location if isinstance(slide.location, str) else str(slide.location.resolve()),
        mpp=slide.require_mpp(),
        model=card.name,
        model_path=str(model.path.resolve()),
        weights_sha256=card.weights_sha256,
        card_sha256=card_checksum(card),
        plan_sha256=plan.checksum,
        mpp_source="user" if slide.mpp_given else "slide",
        cells=len(plan.tiles_per_cell()),
    )


def card_checksum(card: ModelCard) -> str:
    """Return the SHA-256 of what, beside the weights, decides the answer of a model."""
    decides = (
        card.architecture,
        card.arguments,
        card.activation,
        card.classes,
        card.input,
        card.attention,
        card.objects,
        card.task,
        card.slide_map,
    )
    return hashlib.sha256(repr(decides).encode()).hexdigest()


def _require_rgb(slide: Slide, model: Model) -> None:
    if not slide.is_rgb:
        count = len(slide.channels)
        names = ", ".join(channel.name for channel in slide.channels)
        channels = f"{count} channel{'' if count == 1 else 's'} of {slide.dtype} ({names})"
        raise SlideError(
            f"{slide.path.name} holds {channels}, and {model.card.title} reads RGB of 8 bits. Choose a "
            "slide of a stained section; a picture of one in deeper colours, convert to 8 bits."
        )


def _require_attention(model: Model) -> None:
    unknown = unknown_attention(model.card, model.network)
    if unknown:
        raise ModelError(f"The card of {model.card.title} is not usable: {unknown}. Correct the card.")


def _default_folder(slide: Slide, identity: Identity) -> Path:
    facts = identity.model_dump_json(exclude={"slide", "model_path"}) + __version__
    key = hashlib.sha256(facts.encode()).hexdigest()[:12]
    return user_runs() / f"{slide.path.stem[:80]}-{identity.model}-{key}"
