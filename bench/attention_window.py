"""The Attention panel on a run of 10,000 x 10,000 px: switching maps, opacity, contrast and the read-out."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from bench.report import Figure, Report
from bench.viewing import WINDOW, Screen, add_slide
from napari_lumen.geometry import level0_to_world
from napari_lumen.plugin.attention_panel import AttentionPanel
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.results import add_result

if TYPE_CHECKING:
    from napari_lumen.inference import Run
    from napari_lumen.slides import Slide

_SWITCHES = 12
_BORNE = "what a user bears"
_WAIT = 60.0  # s


def measure(report: Report, slide: Slide, run: Run) -> None:
    """Measure the panel over a finished run in a real window."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW)
    screen = Screen(viewer)
    try:
        add_slide(viewer, slide.path)
        add_result(viewer, viewer.layers[0], run_layers(run, slide.path.name))
        panel = AttentionPanel(viewer)
        viewer.window.add_dock_widget(panel)
        controller = panel.controller
        _until(screen, lambda: controller.current is not None and controller.spread is not None)
        names = [item.name for item in controller.source.maps] if controller.source else []
        zooms = (viewer.scene.camera.zoom, 1.0, 4.0)
        times: list[float] = []
        for zoom in zooms:
            viewer.scene.camera.zoom = zoom
            for turn in range(_SWITCHES):
                name = names[(turn + 1) % len(names)]
                seconds = screen.timed(lambda name=name: controller.choose_map(name))
                if turn >= len(names):  # read once
                    times.append(seconds)
                _until(screen, lambda: controller.spread is not None)
        report.figures.append(
            Figure("switch to another map of 10,000 px", max(times) * 1000, 100.0, _BORNE, "ms", 1.0)
        )
        report.figures.append(Figure("switch, median", median(times) * 1000, 100.0, _BORNE, "ms", 1.0))
        opacity = [screen.timed(lambda v=v: controller.choose_look(opacity=v)) for v in _values()]
        report.figures.append(Figure("change the opacity", median(opacity) * 1000, 33.0, _BORNE, "ms", 1.0))
        controller.choose_map("map")
        _until(screen, lambda: controller.spread is not None)
        contrast = [screen.timed(lambda v=v: controller.choose_look(high=99 - 20 * v)) for v in _values()]
        report.figures.append(Figure("change the contrast", median(contrast) * 1000, 33.0, _BORNE, "ms", 1.0))
        reads = []
        for index in range(60):
            point = (2000.0 + 53 * index, 3000.0 + 31 * index)
            viewer.cursor.position = level0_to_world(point, slide.require_mpp())
            viewer.mouse_over_canvas = True
            start = time.perf_counter()
            controller.read_cursor()
            reads.append(time.perf_counter() - start)
        report.figures.append(
            Figure("read-out under the cursor", median(reads) * 1000, 10.0, _BORNE, "ms", 1.0)
        )
        report.figures.append(Figure("read-out, slowest", max(reads) * 1000, 33.0, _BORNE, "ms", 1.0))
    finally:
        viewer.close()


def _values() -> tuple[float, ...]:
    return tuple(0.2 + 0.05 * index for index in range(12))


def _until(screen: Screen, done: Callable[[], bool]) -> None:
    end = time.perf_counter() + _WAIT
    while not done():
        screen.settle()
        if time.perf_counter() > end:
            raise TimeoutError("the panel was not ready within a minute")
