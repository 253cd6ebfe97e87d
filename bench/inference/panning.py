"""Panning in the window while a run goes on, beside an idle window."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import numpy as np

from bench.files import tissue, write_svs
from bench.inference.subject import unet
from bench.report import Figure, Report
from napari_lumen.errors import Cancelled
from napari_lumen.inference import Progress, predict
from napari_lumen.models import Model
from napari_lumen.plugin.priority import give_way
from napari_lumen.slides import open_slide

SIDE = (16_000, 20_000)
_ROUNDS = 4  # idle and busy in turn


def run(folder: Path, report: Report) -> None:
    """Measure and fill the report."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        report.remarks.append(
            "There is no display, so panning during a run was not measured "
            "(xvfb-run -a -s '-screen 0 1680x1050x24' python -m bench inference)."
        )
        return
    import napari

    from bench.viewing import WINDOW, Screen, add_slide, pan_times

    model, label = unet(folder)
    path = write_svs(folder / "slide.svs", tissue(), *SIDE)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW)
    screen = Screen(viewer)
    idle: list[float] = []
    busy: list[float] = []
    try:
        add_slide(viewer, path)
        pan_times(screen, 0, SIDE)  # warms up
        for turn in range(1, _ROUNDS + 1):
            idle += pan_times(screen, 2 * turn, SIDE)
            stop = _start(path, model, folder / f"run-{turn}")
            try:
                busy += pan_times(screen, 2 * turn + 1, SIDE)
            finally:
                stop()
    finally:
        viewer.close()
    for share in (50, 95):
        ours, theirs = (float(np.percentile(times, share)) * 1000 for times in (busy, idle))
        what = f"pan during a run of {label}, {share} % within"
        report.figures.append(Figure(what, ours, theirs, "idle", "ms", 1.4 if share == 95 else None))


def _start(path: Path, model: Model, out: Path) -> Callable[[], None]:
    """Start a run as the window does, wait until it is at the network, and return what stops it."""
    cancel, begun = Event(), Event()

    def tell(progress: Progress) -> None:
        if progress.stage == "running the model" and progress.done:
            begun.set()

    def work() -> None:
        give_way()
        with open_slide(path) as slide:
            try:
                predict(slide, model, None, out, on_progress=tell, cancel=cancel)
            except Cancelled:
                pass
            finally:
                begun.set()

    thread = Thread(target=work, name="lumen-job", daemon=True)
    thread.start()
    begun.wait()

    def stop() -> None:
        cancel.set()
        thread.join()

    return stop
