"""Runs in processes of their own: peak memory, beside a slide of 10 gigapixels and beside TIAToolbox."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from bench.files import SQUARE, tissue, write_svs
from bench.inference.subject import model_of, unet
from bench.peers import tiatoolbox
from bench.peers.alone import Alone, measured
from bench.report import Figure, Report
from napari_lumen.slides.cache import process_cache

SIDE = 7_000  # 49 megapixels
HUGE_SIDE = 100_000
SQUARES = 47  # of tissue, scattered over the huge slide: as many pixels
_MOST_MB = 1500.0
_TINY: dict[str, object] = {"width": 2}  # memory without the model
_CACHE = 64 << 20  # bytes, so that both slides fill it
_WORKERS = (0, 2)  # of TIAToolbox's data loader: which is faster depends on the machine


def run(folder: Path, report: Report) -> None:
    """Measure and fill the report."""
    model, label = unet(folder)
    drawn = tissue()
    slide = write_svs(folder / "slide.svs", drawn, SIDE, SIDE)
    ours = _ours(slide, model.path, folder / "run", "whole", process_cache().limit)
    what = f"{SIDE:,} x {SIDE:,} px, {label}, {ours.tiles:,} tiles"
    if (problem := tiatoolbox.missing()) is not None:
        report.remarks.append(problem)
    else:
        runs = [tiatoolbox.alone(slide, model.path, folder / f"peer-{n}", n) for n in _WORKERS]
        peer = f"TIAToolbox {tiatoolbox.VERSION}, the better of {_WORKERS[0]} and {_WORKERS[1]} workers"
        seconds, peak = min(run.seconds for run in runs), min(run.peak_mb for run in runs)
        again = _ours(slide, model.path, folder / "run-again", "whole", process_cache().limit)
        fastest = min(ours.seconds, again.seconds)  # before and after, so that drift meets both
        report.figures += [
            Figure(what, fastest, seconds, peer, "s", 1.0),
            Figure(f"peak memory, {what}", ours.peak_mb, peak, peer, "MB", 1.0),
        ]
    report.figures.append(Figure(f"peak memory, {what}", ours.peak_mb, _MOST_MB, "the bound", "MB", 1.0))
    _huge(slide, drawn, folder, report)


def _huge(small: Path, drawn: np.ndarray, folder: Path, report: Report) -> None:
    """Run over as much tissue on a slide two hundred times as large."""
    model, label = model_of(folder / "tiny", "unet", _TINY)
    rows = HUGE_SIDE // SQUARE
    chosen = np.random.default_rng(5).choice(rows * rows, SQUARES, replace=False)
    squares = {(int(place) // rows, int(place) % rows) for place in chosen}
    slide = write_svs(folder / "huge.svs", drawn, HUGE_SIDE, HUGE_SIDE, squares=squares)
    huge = _ours(slide, model.path, folder / "huge-run", "tissue", process_cache().limit)
    what = (
        f"peak memory, {HUGE_SIDE:,} x {HUGE_SIDE:,} px, tissue on {SQUARES} squares of {SQUARE:,} px, "
        f"{label}, {huge.tiles:,} tiles"
    )
    report.figures.append(Figure(what, huge.peak_mb, _MOST_MB, "the bound", "MB", 1.0))
    huge = _ours(slide, model.path, folder / "huge-run-2", "tissue", _CACHE)
    ours = _ours(small, model.path, folder / "small-run", "whole", _CACHE)
    against = f"{SIDE:,} x {SIDE:,} px, {ours.tiles:,} tiles"
    what = f"the same, {_CACHE >> 20} MiB of decoded tiles kept, not {process_cache().limit >> 20}"
    report.figures.append(Figure(what, huge.peak_mb, ours.peak_mb, against, "MB", 1.1))


def _ours(slide: Path, model: Path, out: Path, what: str, cache: int) -> Alone:
    return measured(Path(sys.executable), "bench.peers.ours", slide, model, out, what, cache)
