"""Runs of known content and job runners without threads, for tests of the plugin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference.run import RUN_FILE, ClassCount, RasterRecord, Run, RunRecord
from napari_lumen.inference.store import RunStore
from napari_lumen.plugin.catalogue import Catalogue, ModelChoice
from napari_lumen.plugin.jobs import Callbacks, Job
from napari_lumen.slides import Slide

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
    labels = store.create("labels/classes", grid, levels, np.uint8, chunk=512)
    probability = store.create("probability", grid, levels, np.uint8, chunk=512, channels=2)
    attention = store.create("attention/d2.0.att0", coarse, 1, np.float16, chunk=512, fill=float("nan"))
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
        failed_tiles=failed,
        device="cpu",
        started="2026-01-01T00:00:00+00:00",
        seconds={"running the model": 12.0},
        versions={},
    )
    (folder / RUN_FILE).write_text(record.model_dump_json())
    return Run(folder, record)


class StepJobs:
    """Keeps work until a test lets it run; the look-up of models runs at once."""

    def __init__(self) -> None:
        self.held: list[tuple[Callable[..., Any], Callbacks[Any], Job]] = []
        self.closed = False
        self._first = True

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
            callbacks.cancelled()
        except Exception as error:
            callbacks.failed(error)
        else:
            callbacks.cancelled() if job.cancel.is_set() else callbacks.done(value)

    def close(self) -> None:
        self.closed = True


def stopped_by(cancel: Event) -> None:
    """Do what `predict` does when it looks at its token."""
    if cancel.is_set():
        raise Cancelled("The run was cancelled.")
