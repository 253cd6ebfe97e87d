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
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import rasterio.features
import shapely
from affine import Affine
from shapely.geometry.base import BaseGeometry

from napari_lumen import __version__
from napari_lumen.errors import Cancelled, LumenError, RunError
from napari_lumen.geometry import Region, Window
from napari_lumen.inference.device import resolve_device
from napari_lumen.inference.engine import Chunk, Engine
from napari_lumen.inference.objects import count_objects
from napari_lumen.inference.plan import CHUNK, Cell, Plan, make_plan
from napari_lumen.inference.progress import Progress, Stage
from napari_lumen.inference.run import RUN_FILE, ClassCount, RasterRecord, Run, RunRecord
from napari_lumen.inference.store import Pyramid, RunStore, halve_labels, halve_mean, image_label
from napari_lumen.models import Model, load_model
from napari_lumen.slides import Slide, open_slide

_MIN_OBJECT_UM2 = 10.0
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
    slide.require_mpp()
    target = _target(out, slide, model)
    teller = _Teller(on_progress or (lambda progress: None), cancel or Event())
    with _whole_or_nothing(target) as folder:
        record = _run(slide, model, region, folder, device, teller)
        _write_text(folder / RUN_FILE, record.model_dump_json(indent=2) + "\n")
    return Run(target, record)


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
    writer = _Writer(slide, model, plan, folder, engine.attention_strides())
    total = len(plan.tiles)
    teller("running the model", 0, total)
    for done, chunks in engine.run():
        for chunk in chunks:
            writer.write(chunk)
        teller("running the model", done, total)
    writer.build_levels(lambda done, total: teller("building the pyramid", done, total))
    teller("counting", 0, 1)
    counts = writer.counts()
    teller("counting", 1, 1)
    mpp = slide.require_mpp()
    return RunRecord(
        slide=str(slide.path.resolve()),
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
        min_object_um2=_MIN_OBJECT_UM2,
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


class _Writer:
    """Turns finished chunks into the arrays of the run, clipped to what was asked."""

    def __init__(self, slide: Slide, model: Model, plan: Plan, folder: Path, strides: dict[str, int]) -> None:
        self._plan = plan
        self._classes = model.card.classes
        self._mpp = slide.require_mpp()
        self._cells: list[Cell] = []
        self.covered = 0
        store = RunStore(folder, self._mpp)
        self._labels = store.create(
            "labels/classes", plan.grid, plan.levels, np.uint8, chunk=CHUNK, extra=image_label(self._classes)
        )
        self._probability = store.create(
            "probability", plan.grid, plan.levels, np.uint8, chunk=CHUNK, channels=len(self._classes)
        )
        self._attention = {
            name: store.create(
                f"attention/{name}",
                plan.grid.coarsened(stride),
                _halvings(plan.grid.coarsened(stride).shape, plan.levels),
                np.float16,
                chunk=CHUNK // stride,
                fill=float("nan"),
            )
            for name, stride in strides.items()
        }
        self._strides = strides
        store.describe(self._probability, ["classes"])
        self._area = plan.area
        shapely.prepare(self._area)

    def write(self, chunk: Chunk) -> None:
        """Write the finest level of one chunk."""
        window = self._plan.chunk_window(chunk.cell)
        inside = self._inside(window) & chunk.covered
        if not inside.any():
            return
        probability = np.where(inside, chunk.probability, 0)
        values = np.array([item.value for item in self._classes], np.uint8)
        labels = np.where(probability.max(axis=0) >= 0.5, values[probability.argmax(axis=0)], 0)
        self._labels.arrays[0][window.slices] = labels.astype(np.uint8)
        self._probability.arrays[0][(slice(None), *window.slices)] = np.rint(probability * 255).astype(
            np.uint8
        )
        for name, value in chunk.attention.items():
            stride = self._strides[name]
            rows, columns = window.slices
            target = (
                slice(rows.start // stride, -(-rows.stop // stride)),
                slice(columns.start // stride, -(-columns.stop // stride)),
            )
            shown = np.where(_any_of_block(inside, stride), value, np.nan)
            self._attention[name].arrays[0][target] = shown.astype(np.float16)
        self._cells.append(chunk.cell)
        self.covered += int(inside.sum())

    def _inside(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return which pixels have their centre in what was asked for."""
        region = self._plan.grid.region_of(window)
        if self._area.covers(shapely.box(region.x, region.y, region.right, region.bottom)):
            return np.ones((window.height, window.width), bool)
        step = self._plan.grid.step
        placed = Affine(step[1], 0, region.x, 0, step[0], region.y)
        return np.asarray(
            rasterio.features.rasterize([self._area], (window.height, window.width), transform=placed), bool
        )

    def build_levels(self, tell: Callable[[int, int], None]) -> None:
        """Fill the coarser levels from the finer ones, only where something was written."""
        cells = set(self._cells)
        rasters: list[tuple[Pyramid, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]]] = [
            (self._labels, halve_labels),
            (self._probability, halve_mean),
            *((pyramid, halve_mean) for pyramid in self._attention.values()),
        ]
        for level in range(1, self._plan.levels):
            tell(level - 1, self._plan.levels - 1)
            cells = {(row // 2, column // 2) for row, column in cells}
            for pyramid, halve in rasters:
                if level >= len(pyramid.arrays):
                    continue
                finer, coarser = pyramid.arrays[level - 1], pyramid.arrays[level]
                side = pyramid.chunk
                for row, column in cells:
                    rows = slice(row * side, min((row + 1) * side, coarser.shape[-2]))
                    columns = slice(column * side, min((column + 1) * side, coarser.shape[-1]))
                    if rows.start >= rows.stop or columns.start >= columns.stop:
                        continue
                    source = finer[..., rows.start * 2 : rows.stop * 2, columns.start * 2 : columns.stop * 2]
                    coarser[..., rows, columns] = halve(np.asarray(source))
        tell(self._plan.levels - 1, self._plan.levels - 1)

    def area_mm2(self, pixels: int) -> float:
        """Return the area of a number of pixels of the grid."""
        height, width = self._plan.grid.scale(self._mpp)
        return pixels * height * width / 1e6

    def counts(self) -> tuple[ClassCount, ...]:
        """Count the connected areas of each class."""

        def read(cell: Cell) -> npt.NDArray[np.uint8]:
            return np.asarray(self._labels.arrays[0][self._plan.chunk_window(cell).slices])

        areas = count_objects([item.value for item in self._classes], self._cells, read)
        smallest = _MIN_OBJECT_UM2 / 1e6
        return tuple(
            ClassCount(
                name=item.name,
                objects=int(sum(self.area_mm2(int(area)) >= smallest for area in areas[item.value])),
                area_mm2=self.area_mm2(int(areas[item.value].sum())),
            )
            for item in self._classes
        )

    def records(self) -> tuple[RasterRecord, ...]:
        """Say what was written and where."""
        classes = ", ".join(item.name for item in self._classes)
        return (
            _record(self._labels, "classes", "labels", f"Most probable class: {classes}."),
            *(
                _record(self._probability, item.name, "probability", f"Probability of {item.name}.", index)
                for index, item in enumerate(self._classes)
            ),
            *(
                _record(pyramid, name, "attention", "Attention map, mean over channels.")
                for name, pyramid in self._attention.items()
            ),
        )


def _any_of_block(mask: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.bool_]:
    """Reduce a mask by blocks of a side: true where any pixel of the block is."""
    height, width = (-(-length // side) for length in mask.shape)
    padded = np.zeros((height * side, width * side), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return np.asarray(padded.reshape(height, side, width, side).any(axis=(1, 3)))


def _halvings(shape: tuple[int, int], most: int) -> int:
    """Return how many levels a raster can have, at most `most`, each exactly half of the one before."""
    levels = 1
    while levels < most and all(side % 2**levels == 0 for side in shape):
        levels += 1
    return levels


def _record(
    pyramid: Pyramid, name: str, kind: Any, description: str, channel: int | None = None
) -> RasterRecord:
    return RasterRecord(
        name=name,
        kind=kind,
        path=pyramid.path,
        channel=channel,
        shapes=tuple((array.shape[-2], array.shape[-1]) for array in pyramid.arrays),
        step=pyramid.grid.step,
        description=description,
    )
