"""Runs of known content and job runners without threads, for tests of the plugin."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import tifffile
from psygnal import Signal

from fakes import ArraySlide, Constant, model_of
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference.run import (
    RUN_FILE,
    ClassCount,
    FailedTile,
    RasterRecord,
    Run,
    RunRecord,
    Session,
)
from napari_lumen.inference.store import RunStore
from napari_lumen.plugin.catalogue import Catalogue, ModelChoice
from napari_lumen.plugin.jobs import Callbacks, Job
from napari_lumen.plugin.preferences import Preferences
from napari_lumen.slides import Channel, Slide
from napari_lumen.slides.level import Level

MODEL = ModelChoice(Path("nuclei"), "Nuclei", "Marks nuclei in H&E.", "Not for diagnosis.")
CATALOGUE = Catalogue((MODEL,), (("auto", "Automatic (CPU)"), ("cpu", "CPU")))
NUCLEUS = ClassTable.of([(1, "nucleus", (0, 180, 255)), (2, "gland", (255, 120, 0))])


def write_run(
    folder: Path,
    slide: Slide,
    marked: Window,
    step: float = 2.0,
    stride: int = 4,
    levels: int = 3,
    failed: tuple[tuple[int, int], ...] = (),
) -> Run:
    """Write a run that found one nucleus: a rectangle in pixels of its grid, of `step` level-0 pixels."""
    mpp = slide.mpp or (0.5, 0.5)
    multiple = 2 ** (levels - 1) * stride
    shape = tuple(-(-int(np.ceil(side / step)) // multiple) * multiple for side in slide.shape)
    grid = Grid((shape[0], shape[1]), (step, step))
    coarse = grid.coarsened(stride)
    store = RunStore(folder, mpp)
    labels = store.create("labels/classes", grid, levels, np.uint8, block=512)
    probability = store.create("probability", grid, levels, np.uint8, block=512, channels=2)
    attention = store.create("attention/d2.0.att0", coarse, 1, np.float16, block=512, fill=float("nan"))
    for level in range(levels):
        part = tuple(slice(s.start >> level, s.stop >> level) for s in marked.slices)
        labels.arrays[level][part] = 1
        probability.arrays[level][(0, *part)] = 255
    values = np.linspace(0.2, 0.8, coarse.shape[0] * coarse.shape[1], dtype=np.float16)
    attention.arrays[0][: coarse.shape[0] // 2] = values.reshape(coarse.shape)[: coarse.shape[0] // 2]

    def raster(pyramid: Any, name: str, kind: Any, channel: int | None = None) -> RasterRecord:
        return RasterRecord(
            name=name,
            kind=kind,
            path=pyramid.path,
            channel=channel,
            shapes=tuple(array.shape[-2:] for array in pyramid.arrays),
            step=pyramid.grid.step,
            description="Known.",
        )

    record = RunRecord(
        slide=str(slide.path),
        fingerprint=slide.fingerprint,
        slide_shape=slide.shape,
        mpp=mpp,
        mpp_source="slide",
        model="nuclei",
        model_title="Nuclei",
        weights_sha256="0" * 64,
        model_mpp=step * mpp[0],
        classes=NUCLEUS,
        rasters=(
            raster(labels, "classes", "labels"),
            raster(probability, "nucleus", "probability", 0),
            raster(probability, "gland", "probability", 1),
            raster(attention, "d2.0.att0", "attention"),
        ),
        counts=(
            ClassCount(name="nucleus", objects=1234, area_mm2=0.25),
            ClassCount(name="gland", objects=0, area_mm2=0.0),
        ),
        min_object_um2=10.0,
        analysed_mm2=2.13,
        tiles=12,
        tile=256,
        overlap=32,
        failed_tiles=tuple(
            FailedTile(y=y, x=x, height=256, width=256, why="It is broken.") for y, x in failed
        ),
        card=model_of(Constant(0.5), classes=NUCLEUS).card,
        sessions=(
            Session(
                started="2026-01-01T00:00:00+00:00",
                device="cpu",
                batch=4,
                tiles=12,
                seconds={"running the model": 12.0},
                busy=1.0,
                versions={},
            ),
        ),
    )
    (folder / RUN_FILE).write_text(record.model_dump_json())
    return Run(folder, record)


class StepJobs:
    """Keeps work until a test lets it run; the look-up of models, the first of all, runs at once."""

    def __init__(self, first_at_once: bool = True) -> None:
        self.held: list[tuple[Callable[..., Any], Callbacks[Any], Job]] = []
        self.closed = False
        self._first = first_at_once

    def start(self, work: Callable[..., Any], callbacks: Callbacks[Any]) -> Job:
        job = Job()
        self.held.append((work, callbacks, job))
        if self._first:
            self._first = False
            self.let_run()
        return job

    def let_run(self) -> None:
        """Run the oldest held work to its end, on this thread."""
        work, callbacks, job = self.held.pop(0)
        try:
            value = work(callbacks.progress, job.cancel)
        except Cancelled:
            end = callbacks.cancelled
        except Exception as error:
            end = partial(callbacks.failed, error)
        else:
            end = callbacks.cancelled if job.cancel.is_set() else partial(callbacks.done, value)
        if not job.finished:
            end()

    def close(self) -> None:
        self.closed = True


def stopped_by(cancel: Event) -> None:
    """Do what `predict` does when it looks at its token."""
    if cancel.is_set():
        raise Cancelled("The run was cancelled.")


CHANNELS = (Channel("DAPI", (0, 0, 255)), Channel("CD4", (255, 128, 0)))


def channel_slide(
    *levels: Any, channels: tuple[Channel, ...] = CHANNELS, mpp: tuple[float, float] | None = (0.5, 0.5)
) -> ArraySlide:
    """Return a slide in channels whose levels are arrays (h, w, channels)."""
    slide = ArraySlide(*levels, mpp=mpp)
    slide.path = Path("cells.ome.tif")
    slide.channels = channels
    slide.dtype = np.dtype(levels[0].dtype)
    return slide


class ReadSlide(ArraySlide):
    """Keeps which windows were read, and does on each what a test hangs on it."""

    def __init__(self, *levels: Any, tile: int = 100, **keywords: Any) -> None:
        super().__init__(*levels, **keywords)
        self.levels = tuple(Level(level.shape, level.downsample, (tile, tile)) for level in self.levels)
        self.reads: list[tuple[int, Window]] = []
        self.on_read: Callable[[], None] = lambda: None

    def _read(self, level: int, window: Window) -> Any:
        self.reads.append((level, window))
        self.on_read()
        return super()._read(level, window)


class SetPreferences:
    """Preferences that a test sets."""

    changed = Signal(Preferences)

    def __init__(self, **values: Any) -> None:
        self.current = Preferences(**values)
        self.closed = False

    def set(self, **values: Any) -> None:
        """Change some of them."""
        self.current = Preferences(**values)
        self.changed.emit(self.current)

    def close(self) -> None:
        self.closed = True


def damaged_slide(path: Path, side: int = 1024, tile: int = 256, bad: set[int] | None = None) -> Path:
    """Write a light grey slide of one level whose `bad` tiles, by index, or all tiles cannot be decoded."""
    image = np.full((side, side, 3), 220, np.uint8)
    options = {"tile": (tile, tile), "photometric": "rgb", "compression": "deflate"}
    tifffile.imwrite(path, image, resolution=(20000, 20000), resolutionunit="CENTIMETER", **options)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    with path.open("r+b") as file:
        for index, (offset, count) in enumerate(places):
            if bad is None or index in bad:
                file.seek(offset)
                file.write(b"\xff" * count)
    return path


def linear_profile() -> bytes:
    """Return an ICC profile with the primaries of sRGB whose values are proportional to light."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    def place(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + fixed(*values)

    text = b"linear\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": place(0.9642, 1.0, 0.8249),
        b"rXYZ": place(0.43607, 0.22249, 0.01392),
        b"gXYZ": place(0.38515, 0.71687, 0.09708),
        b"bXYZ": place(0.14307, 0.06061, 0.71410),
        **{name: b"curv\0\0\0\0" + struct.pack(">I", 0) for name in (b"rTRC", b"gTRC", b"bTRC")},
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = struct.pack(">I", start + len(body))
    head = size + bytes(4) + b"\x02\x40\0\0" + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    head += fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + table + body
