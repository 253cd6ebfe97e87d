"""`predict`: a model over a slide, into a run folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from threading import Event

import platformdirs
from shapely.geometry.base import BaseGeometry

from napari_lumen import __version__
from napari_lumen.errors import Cancelled, LumenError, ModelError, RunError, SlideError
from napari_lumen.geometry import Region, Window
from napari_lumen.inference.device import resolve_device
from napari_lumen.inference.engine import Engine
from napari_lumen.inference.plan import Plan, make_plan
from napari_lumen.inference.progress import Progress, Stage
from napari_lumen.inference.run import RUN_FILE, Run, RunRecord
from napari_lumen.inference.writer import MIN_OBJECT_UM2, ResultWriter
from napari_lumen.models import Model, load_model
from napari_lumen.slides import Slide, open_slide

_BATCH = {"cpu": 4}
_GPU_BATCH = 32


def predict(
    slide: Slide | str | os.PathLike[str],
    model: Model | str | os.PathLike[str],
    region: Region | BaseGeometry | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    on_progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
) -> Run:
    """Run a model over a slide.

    Parameters
    ----------
    slide : Slide or path
        Its pixel size must be known.
    model : Model, str or path
        Loaded, by name, or a model folder.
    region : Region or shapely geometry, optional
        What to answer for: a rectangle, or geometry in (x, y) level-0 px; all tissue when left out.
    out : path, optional
        Folder of the run, new or empty; one in the user's data folder when left out. It appears when the
        run is finished.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
    on_progress : callable, optional
        Called with a `Progress` after every batch, in the calling thread.
    cancel : threading.Event, optional
        Set it from another thread to stop within one batch.

    Returns
    -------
    Run
        Labels, probability and attention in OME-Zarr 0.5, and the record.

    Raises
    ------
    Cancelled
        When `cancel` was set; nothing is left behind.
    SlideError, ModelError, RunError
        One sentence: what, where, what to do.
    """
    if not isinstance(slide, Slide):
        with open_slide(slide) as opened:
            return predict(opened, model, region, out, device, on_progress, cancel)
    if not isinstance(model, Model):
        model = load_model(model)
    _require_rgb(slide, model)
    _require_maps(model)
    slide.require_mpp()
    target = _target(out, slide, model)
    teller = _Teller(on_progress or (lambda progress: None), cancel or Event())
    with _whole_or_nothing(target) as folder:
        record = _run(slide, model, region, folder, device, teller)
        _write_text(folder / RUN_FILE, record.model_dump_json(indent=2) + "\n")
    return Run(target, record)


def _require_rgb(slide: Slide, model: Model) -> None:
    if not slide.is_rgb:
        names = ", ".join(channel.name for channel in slide.channels)
        raise SlideError(
            f"{slide.path.name} is not a colour picture, it holds {len(slide.channels)} channels ({names}): "
            f"{model.card.title} reads RGB. Choose a slide of a stained section."
        )


def _require_maps(model: Model) -> None:
    card = model.card
    if card.task != "segmentation":
        raise ModelError(
            f"{card.title} tells the class of a whole tile ({card.task}), and a run needs one for each "
            "pixel: choose a model for segmentation."
        )
    if len(card.input.views) > 1:
        raise ModelError(
            f"{card.title} looks at {len(card.input.views)} fields of view at once, and a run reads one: "
            "choose a model with a single view."
        )


@dataclass
class _Teller:
    """Tells progress, watches for cancel and keeps the time of each stage."""

    tell: Callable[[Progress], None]
    cancel: Event

    def __post_init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage: Stage | None = None
        self._since = time.monotonic()

    def __call__(self, stage: Stage, done: int, total: int) -> None:
        """Tell one step.

        Raises
        ------
        Cancelled
            When the user asked for it.
        """
        if self.cancel.is_set():
            raise Cancelled("The run was cancelled.")
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._since = stage, now
        spent = now - self._since
        self.seconds[stage] = round(spent, 3)
        left = spent / done * (total - done) if done and spent > 0.5 else None
        self.tell(Progress(stage, done, total, left))


def _target(out: str | os.PathLike[str] | None, slide: Slide, model: Model) -> Path:
    if out is None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        runs = platformdirs.user_data_path("napari-lumen") / "runs"
        return runs / f"{slide.path.stem}-{model.card.name}-{stamp}"
    target = Path(out).expanduser()
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise RunError(f"{target} exists and is not an empty folder. Choose another folder for the run.")
    return target


@contextmanager
def _whole_or_nothing(target: Path) -> Iterator[Path]:
    """Give a hidden folder beside the target that becomes the target when the block ends well."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    except OSError as error:
        raise _disk_error(target, error) from error
    try:
        yield folder
        if target.is_dir():
            target.rmdir()
        folder.chmod(0o755)
        folder.replace(target)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, LumenError):
            raise _disk_error(target, error) from error
        raise


def _disk_error(target: Path, error: OSError) -> RunError:
    return RunError(
        f"The run cannot be written to {target}: {error.strerror or error}. "
        "Free some space or choose another folder."
    )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _run(
    slide: Slide,
    model: Model,
    region: Region | BaseGeometry | None,
    folder: Path,
    device_name: str,
    teller: _Teller,
) -> RunRecord:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    device = resolve_device(device_name)
    teller("finding tissue", 0, 1)
    plan = make_plan(slide, model.card.input, region)
    teller("finding tissue", 1, 1)
    engine = Engine(slide, model, plan, device, _BATCH.get(device.type, _GPU_BATCH), teller.cancel)
    writer = ResultWriter(slide, model, plan, folder, engine.attention_strides())
    total = len(plan.tiles)
    teller("running the model", 0, total)
    for done, chunks in engine.run():
        for chunk in chunks:
            writer.write(chunk)
        teller("running the model", done, total)
    if len(engine.failed) == total:
        raise RunError(f"Not one of the {total} tiles could be read: {engine.failure}")
    writer.build_levels(lambda done, total: teller("building the pyramid", done, total))
    teller("counting", 0, 1)
    counts = writer.counts()
    teller("counting", 1, 1)
    mpp = slide.require_mpp()
    return RunRecord(
        slide=slide.location if isinstance(slide.location, str) else str(slide.location.resolve()),
        fingerprint=slide.fingerprint,
        slide_shape=slide.shape,
        mpp=mpp,
        mpp_source="user" if slide.mpp_given else "slide",
        model=model.card.name,
        model_title=model.card.title,
        weights_sha256=model.card.weights_sha256,
        model_mpp=model.card.mpp,
        classes=model.card.classes,
        region=_region_of(plan) if region is not None else None,
        rasters=writer.records(),
        counts=counts,
        min_object_um2=MIN_OBJECT_UM2,
        analysed_mm2=writer.area_mm2(writer.covered),
        tiles=total - len(engine.failed),
        failed_tiles=tuple(_origin(plan, tile) for tile in engine.failed),
        device=str(device),
        started=started,
        seconds=teller.seconds,
        versions={
            "napari-lumen": __version__,
            **{name: version(name) for name in ("torch", "zarr", "numpy")},
        },
    )


def _region_of(plan: Plan) -> tuple[float, float, float, float]:
    left, top, right, bottom = plan.area.bounds
    return top, left, bottom - top, right - left


def _origin(plan: Plan, tile: Window) -> tuple[int, int]:
    region = plan.grid.region_of(tile)
    return round(region.y), round(region.x)
