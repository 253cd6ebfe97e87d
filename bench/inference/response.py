"""How soon a run answers where the user looks, and how soon it stops."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from threading import Event, Timer
from unittest.mock import patch

from bench.files import tissue, write_svs
from bench.inference.floor import Floor
from bench.inference.subject import model_of, unet
from bench.report import Figure, Report
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Region
from napari_lumen.inference import Live, Progress, forward, predict
from napari_lumen.models import Model
from napari_lumen.slides import Slide, open_slide

SIDE = 10_000
_VIEW = Region(4_300, 5_100, 1_000, 1_500)
_ROUNDS = 5
_BATCH = 8
_MOMENTS = (0.02, 0.1, 0.3, 0.7, 1.5, 3.0)  # s after the call
_SMALL = 3_000  # px a side, for moments up to the end of a run
_SHARES = (0.1, 0.5, 0.9, 0.95, 0.99)  # of a small run


def run(folder: Path, report: Report) -> None:
    """Measure and fill the report."""
    drawn = tissue()
    model, label = unet(folder)
    with open_slide(write_svs(folder / "slide.svs", drawn, SIDE, SIDE)) as slide:
        floor = Floor(slide, model)
        batches, answers = [floor.one_batch()], []
        for turn in range(_ROUNDS + 1):
            seconds = _first_labels(slide, model, folder / f"view-{turn}")
            batches.append(floor.one_batch())
            if turn:  # the first warms up
                answers.append(seconds)
        what = f"first labels in the view, {SIDE:,} x {SIDE:,} px, {label}"
        report.figures.append(
            Figure(what, median(answers) * 1000, median(batches) * 1000, "one batch", "ms", 3.0)
        )
        with patch.object(forward, "_FEWEST", _BATCH):
            stops = [_stop(slide, model, folder / "stopped", moment) for moment in _MOMENTS]
    tiny, _ = model_of(folder / "tiny", "unet", {"width": 2})
    with (
        open_slide(write_svs(folder / "small.svs", drawn, _SMALL, _SMALL)) as slide,
        patch.object(forward, "_FEWEST", _BATCH),
    ):
        start = time.perf_counter()
        predict(slide, tiny, None, folder / "whole")
        length = time.perf_counter() - start
        stops += [_stop(slide, tiny, folder / f"stopped-{share}", share * length) for share in _SHARES]
    what = f"cancel at batch size {_BATCH}, worst of {len(stops)} moments"
    report.figures.append(Figure(what, max(stops), 1.0, "one second", "s", 1.0))


def _first_labels(slide: Slide, model: Model, out: Path) -> float:
    """Return the seconds from the call until labels in the view can be read."""
    cancel = Event()
    growing: list[Live] = []
    found: list[float] = []

    def look(progress: Progress) -> None:
        for live in growing:
            common = [_VIEW.intersect(region) for region in live.changed()]
            if any(not part.empty for part in common) and not found:
                found.append(time.perf_counter() - start)
                cancel.set()

    start = time.perf_counter()
    try:
        predict(
            slide,
            model,
            None,
            out,
            on_progress=look,
            cancel=cancel,
            focus=lambda: _VIEW,
            on_live=growing.append,
        )
    except Cancelled:
        return found[0]
    raise AssertionError("the view was not answered before the end")


def _stop(slide: Slide, model: Model, out: Path, moment: float) -> float:
    """Return the seconds from a cancel, so long after the call, to the end of `predict`; 0 after its end."""
    cancel = Event()
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.perf_counter())
        cancel.set()

    timer = Timer(moment, ask)
    timer.start()
    try:
        predict(slide, model, None, out, cancel=cancel)
    except Cancelled:
        return time.perf_counter() - asked[0]
    finally:
        timer.cancel()
    return time.perf_counter() - asked[0] if asked else 0.0
