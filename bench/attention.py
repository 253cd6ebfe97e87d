"""Attention: a field beside its forward pass, what maps of a run take, and the panel in a window."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from bench.files import tissue, write_svs
from bench.report import Figure, Report
from bench.timing import interleaved
from napari_lumen import open_slide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.explain import Explainer
from napari_lumen.explain.area_above import AreaAbove
from napari_lumen.explain.contour import contour
from napari_lumen.explain.field import read_views
from napari_lumen.explain.figure import Style
from napari_lumen.explain.gallery import sheet, thumbnails
from napari_lumen.explain.place import field_of
from napari_lumen.explain.ranking import ranked_tiles
from napari_lumen.explain.run_figure import run_figure
from napari_lumen.explain.run_maps import RunMaps
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.models import InputSpec, Model, ModelCard, TrainingRecord, View, build
from napari_lumen.models.attention import mark_attention
from napari_lumen.models.genotype import Genotype
from napari_lumen.slides import Slide

_SIDE, _TILE, _MPP = 10_000, 256, 0.25
_ROUNDS = 5
_NETWORKS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("focusnetpp", {"preset": "light"}, 1),
    ("darefinenet", {"depth": 18, "context_depth": 18, "classes": 1}, 2),
    ("multistage", {"encoder": "resnet18", "width": 16, "patch": 64, "crop": 56}, 1),
    ("gated_attention", {"local_depth": 18, "classes": 2}, 1),
    (
        "nas_scam",
        {"width": 16, "classes": 1, "genotype": Genotype.uniform("conv3", "conv3").model_dump(mode="json")},
        1,
    ),
)


class _Dark(nn.Module):
    """Says where it is dark, at once: the run is there for its maps."""

    def __init__(self) -> None:
        super().__init__()
        self.map = mark_attention(nn.AvgPool2d(4), "spatial", "Darkness.", stride=4)

    def forward(self, x: Tensor) -> Tensor:
        dark = 1 - x.mean(dim=1, keepdim=True)
        self.map(dark)
        return (dark - 0.5) * 20


def run(report: Report) -> None:
    """Measure and fill the report."""
    with tempfile.TemporaryDirectory(prefix="lumen-bench-") as name:
        folder = Path(name)
        path = write_svs(folder / "slide.svs", tissue(), _SIDE, _SIDE)
        with open_slide(path) as slide:
            for architecture, arguments, views in _NETWORKS:
                _field(report, slide, architecture, arguments, views)
            _run(report, slide, folder / "run")


def _field(report: Report, slide: Slide, architecture: str, arguments: dict[str, Any], views: int) -> None:
    torch.manual_seed(0)
    task = "classification" if architecture == "gated_attention" else "segmentation"
    softmax = architecture in ("gated_attention", "multistage")
    classes = ("a", "b") if task == "classification" else ("a",)
    network = build(architecture, **arguments).eval()
    model = _model(network, architecture, arguments, task, softmax, classes, views)
    explainer = Explainer(model)
    place = (_SIDE / 2, _SIDE / 2)
    field = field_of(slide, model.card.input, place)
    pixels = read_views(slide, field)
    times = interleaved(
        {
            "explained": lambda: explainer.explain_views(pixels, field),
            "forward": lambda: explainer.network.probabilities(pixels),
        },
        2 * _ROUNDS,
    )
    report.figures.append(
        Figure(
            f"{architecture}: a field of {_TILE} px explained",
            times["explained"] * 1000,
            times["forward"] * 1000,
            "its forward pass",
            "ms",
            1.3,
        )
    )


def _run(report: Report, slide: Slide, folder: Path) -> None:
    model = _model(_Dark().eval(), "rule", {}, "segmentation", False, ("dark",), 1, ("map",))
    done = predict(slide, model, Region(0, 0, _SIDE, _SIDE), folder)
    if sys.platform != "linux" or os.environ.get("DISPLAY"):
        from bench.attention_window import measure

        measure(report, slide, done)
    else:
        report.remarks.append("The window was not measured: there is no screen (xvfb-run gives one).")

    def gallery() -> None:
        maps = RunMaps(done)
        shown = list(thumbnails(slide, ranked_tiles(maps, "map", 100)))
        assert len(shown) == 100
        sheet(shown)

    maps = RunMaps(done)
    values, grid = maps["map"].read(most=4_000_000)
    above = AreaAbove.of(values, grid, done.record.mpp)
    middle = float(above.ordered[len(above.ordered) // 2])
    style = Style(width=1200)
    region = Region(2000, 2000, 3000, 4000)
    for what, work, goal in (
        ("gallery of 100 tiles, ranked, read and drawn", gallery, 1.0),
        ("a value, its classes and tile at a point", lambda: maps.at(5000, 5000), 0.033),
        ("area above a threshold, of the slider", lambda: above.mm2(middle), 0.033),
        ("contour of 4 million values", lambda: contour(values, grid, middle), 1.0),
        (
            "figure of 3,000 x 4,000 px",
            lambda: run_figure(slide, maps, "map", region, style=style).png(),
            3.0,
        ),
    ):
        seconds = _median(work)
        report.figures.append(Figure(what, seconds * 1000, goal * 1000, "what a user bears", "ms", 1.0))


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return median(times[1:])  # the first warms up


def _model(
    network: nn.Module,
    architecture: str,
    arguments: dict[str, Any],
    task: str,
    softmax: bool,
    classes: tuple[str, ...],
    views: int,
    attention: tuple[str, ...] = (),
) -> Model:
    card = ModelCard.model_validate(
        {
            "name": "benched",
            "title": "Benched",
            "summary": "Untrained.",
            "task": task,
            "architecture": architecture,
            "arguments": arguments,
            "activation": "softmax" if softmax else "sigmoid",
            "classes": ClassTable.named(classes),
            "input": InputSpec(
                views=tuple(View(size=_TILE, mpp=_MPP * 4**index) for index in range(views)), overlap=0
            ),
            "attention": attention,
            "objects": "none",
            "training": TrainingRecord(data="none", split="none"),
            "scores": {},
            "licence": "BSD-3-Clause",
            "limits": "Everything.",
            "weights_sha256": "0" * 64,
        }
    )
    return Model(network, card, Path("benched"))
