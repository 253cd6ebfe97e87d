"""A run on a GPU: how busy it is kept."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.files import tissue, write_svs
from bench.inference.floor import Floor
from bench.inference.speed import seconds_of_run
from bench.inference.subject import model_of
from bench.report import Figure, Report
from napari_lumen.geometry import Region
from napari_lumen.slides import open_slide

SIDE = 20_000


def run(folder: Path, report: Report) -> None:
    """Measure and fill the report."""
    if not torch.cuda.is_available():
        report.remarks.append("No GPU is here, so how busy a run keeps it was not measured.")
        return
    model, label = model_of(folder, "focusnetpp", {"preset": "table"})
    whole = Region(0, 0, SIDE, SIDE)
    with open_slide(write_svs(folder / "slide.svs", tissue(), SIDE, SIDE)) as slide:
        floor = Floor(slide, model, whole)
        floor.one_batch()
        before = floor.forward(floor.tiles[::2])
        wall = seconds_of_run(slide, model, whole, folder / "run")
        forward = before + floor.forward(floor.tiles[1::2])
    name, megapixels = torch.cuda.get_device_name(), SIDE * SIDE / 1e6
    what = f"{name}, {SIDE:,} x {SIDE:,} px, {label}"
    rates = megapixels / wall, megapixels / forward
    report.figures.append(Figure(f"{what}: busy", *rates, "pure forward", "MP/s", 0.85, at_most=False))
