"""Annotations: reading 100,000 outlines and real files, showing them, and changing a class."""

from __future__ import annotations

import gc
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import orjson
import shapely

from bench.report import Figure, Report
from bench.timing import interleaved
from bench.viewing import Screen
from napari_lumen import read_annotations, write_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_reader import read_layers
from napari_lumen.plugin.controllers.annotations import AnnotationsController
from napari_lumen.plugin.jobs import Jobs

_COUNT, _CORNERS, _SIDE = 100_000, 24, 50_000
_CLASSES = (("tumour", (230, 0, 0)), ("stroma", (0, 0, 230)), ("lymphocyte", (0, 160, 0)))
_LIMIT_SHOWN, _LIMIT_CHANGE = 5.0, 100.0  # s, ms: issue 8
_REAL = (
    "qupath/qupath05.geojson",
    "qupath/qupath-polygon-cell-classified.json",
    "asap/tumor_085.xml",
    "imagescope/glomeruli_0038.xml",
)
_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "annotations"


def run(report: Report) -> None:
    """Measure and fill the report."""
    with tempfile.TemporaryDirectory(prefix="lumen-bench-") as name:
        path = Path(name) / "many.geojson"
        _write(path)
        _reading(path, report)
        _real_files(report)
        viewer = napari.Viewer(show=True)
        viewer.window.resize(1_500, 1_000)
        try:
            _showing(Screen(viewer), path, report)
        finally:
            viewer.close()


def _write(path: Path) -> None:
    """Write polygons of known area, inscribed in circles."""
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    radius = rng.uniform(8, 20, _COUNT)
    corners = rng.uniform(50, _SIDE - 50, (_COUNT, 1, 2)) + radius[:, None, None] * unit
    kinds = [_CLASSES[number % len(_CLASSES)] for number in range(_COUNT)]
    outlines = shapely.polygons(corners.round(2))
    write_annotations(
        path,
        [
            Annotation(outline, name, color, object_type="detection")
            for outline, (name, color) in zip(outlines, kinds, strict=True)
        ],
    )
    found = sum(item.geometry.area for item in read_annotations(path))
    expected = float((radius**2).sum()) * _CORNERS / 2 * np.sin(2 * np.pi / _CORNERS)
    if abs(found / expected - 1) > 1e-3:
        raise AssertionError(f"the outlines enclose {found:,.0f} px instead of {expected:,.0f}")


def _reading(path: Path, report: Report) -> None:
    data = path.read_bytes()
    times = interleaved(
        {
            "ours": _collected(lambda: read_annotations(path)),
            "orjson": _collected(lambda: orjson.loads(data)),
            "shapely": _collected(lambda: _by_shapely(data)),
        },
        rounds=3,
    )
    what = f"reading {_COUNT:,} polygons of {_CORNERS} corners ({len(data) / 1e6:.0f} MB GeoJSON)"
    report.figures += [
        Figure(what, times["ours"], times["orjson"], "orjson.loads alone", "s"),
        Figure(what, times["ours"], times["shapely"], "orjson and shapely.geometry.shape", "s"),
    ]
    report.remarks.append(
        "shapely.geometry.shape gives geometries alone; ours also checks each and reads its class."
    )
    text = time.perf_counter()
    json.loads(data)
    report.figures.append(Figure(what, times["ours"], time.perf_counter() - text, "json.loads alone", "s"))


def _by_shapely(data: bytes) -> list[object]:
    return [shapely.geometry.shape(one["geometry"]) for one in orjson.loads(data)["features"]]


def _collected(read: Callable[[], object]) -> Callable[[], object]:
    """Read without the collector, which would punish whoever it meets; all contestants alike."""

    def timed() -> None:
        gc.disable()
        try:
            read()
        finally:
            gc.enable()

    return timed


def _real_files(report: Report) -> None:
    repairs: list[object] = []  # else each reading logs them
    for name in _REAL:
        path = _SHARED / name
        if not path.is_file():
            report.remarks.append(f"{name} is not there.")
            continue
        data = path.read_bytes()
        parse: Callable[[], object]
        if path.suffix == ".xml":
            import defusedxml.ElementTree as Tree

            parse, against = (lambda data=data: Tree.fromstring(data)), "defusedxml parse alone"
        else:
            parse, against = (lambda data=data: _shapes_of(data)), "orjson and shapely.geometry.shape"
        times = interleaved(
            {"ours": lambda path=path: read_annotations(path, on_repair=repairs.append), "theirs": parse},
            rounds=15,
        )
        report.figures.append(
            Figure(f"reading {path.name}", times["ours"] * 1000, times["theirs"] * 1000, against, "ms")
        )


def _shapes_of(data: bytes) -> list[object]:
    found = orjson.loads(data)
    features = found.get("features", [found]) if isinstance(found, dict) else found
    return [shapely.geometry.shape(one["geometry"]) for one in features]


def _showing(screen: Screen, path: Path, report: Report) -> None:
    viewer = screen.viewer
    frame = Frame((0.25, 0.25), (0.0, 0.0), ("um", "um"), "bench", (_SIDE, _SIDE), "bench")

    def show() -> None:
        layers, _ = read_layers(path, frame)
        for layer in layers:
            viewer.add_layer(napari.layers.Layer.create(*layer))
        viewer.reset_view()

    shown = []
    for _ in range(3):
        screen.clear()
        shown.append(screen.timed(show))
    report.figures.append(
        Figure(f"{_COUNT:,} polygons read and shown", sorted(shown)[1], _LIMIT_SHOWN, "the limit", "s", 1.0)
    )
    controller = AnnotationsController(viewer, Jobs())
    try:
        for what, acts in {
            "choosing a class": [
                lambda: controller.choose_class("tumour"),
                lambda: controller.choose_class("stroma"),
            ],
            "hiding a class": [
                lambda: controller.show_class("tumour", False),
                lambda: controller.show_class("tumour", True),
            ],
            "recolouring a class": [
                lambda: controller.recolour("stroma", (9, 9, 9)),
                lambda: controller.recolour("stroma", (0, 0, 230)),
            ],
            "renaming a class": [
                lambda: controller.rename("stroma", "connective tissue"),
                lambda: controller.rename("connective tissue", "stroma"),
            ],
            "merging two classes, and undo": [
                lambda: controller.merge("lymphocyte", "stroma"),
                controller.undo,
            ],
        }.items():
            seconds = max(_acted(screen, act) for _ in range(3) for act in acts)
            report.figures.append(
                Figure(f"{what}, slowest of 6", seconds * 1000, _LIMIT_CHANGE, "the limit", "ms", 1.0)
            )
        viewer.scene.camera.zoom = 4
        seconds = max(screen.timed(lambda at=at: _look(viewer, at)) for at in (3000, 5000, 8000))
        report.figures.append(Figure("moving to a field never seen", seconds * 1000, 200.0, "0.2 s", "ms"))
    finally:
        controller.close()


def _acted(screen: Screen, act: Callable[[], object]) -> float:
    """Return the seconds of an act with the drawing it causes, if it causes any."""
    from qtpy.QtWidgets import QApplication

    screen.settle()
    start = time.perf_counter()
    act()
    QApplication.processEvents()
    return time.perf_counter() - start


def _look(viewer: napari.Viewer, at: float) -> None:
    viewer.scene.camera.center = (0, at, at)
