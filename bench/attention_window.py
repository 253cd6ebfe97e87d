"""The Attention panel on a run of 10,000 x 10,000 px: switching maps, opacity, contrast and the read-out.

Beside each stands what a user bears; the same act on a plain image layer of napari of the same values in the
same window: what lies between is ours; and one frame of the canvas, most of it without a graphics card.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import Figure, Report
from bench.viewing import WINDOW, Screen, add_slide, grown, resident
from napari_lumen.geometry import level0_to_world
from napari_lumen.plugin.attention_panel import AttentionPanel
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.results import add_result

if TYPE_CHECKING:
    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.inference import Run
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.slides import Slide

_SWITCHES = 9  # at each zoom
_VIEWS = 90  # of random places
_BORNE, _PLAIN = "what a user bears", "a plain image layer of napari"
_FRAME, _EMPTY = "the same frame drawn anew", "a frame of napari without layers"
_WAIT = 60.0  # s
_SWITCH, _CHANGE, _READ = 0.100, 0.033, 0.033  # s that a user bears
_VALUES = tuple(0.2 + 0.05 * index for index in range(12))


def measure(report: Report, slide: Slide, run: Run) -> None:
    """Measure the panel over a finished run in a real window."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW)
    screen = Screen(viewer)
    try:
        empty = median(_each(screen, lambda v: screen.draw())) * 1000
        add_slide(viewer, slide.path)
        add_result(viewer, viewer.layers[0], run_layers(run, slide.path.name))
        panel = AttentionPanel(viewer)
        viewer.window.add_dock_widget(panel)
        controller = panel.controller
        _until(screen, lambda: controller.current is not None and controller.spread is not None)
        source = controller.source
        assert source is not None
        zooms = (viewer.scene.camera.zoom, 1.0, 4.0)
        names = [item.name for item in source.maps]
        for name in names:  # read once
            controller.choose_map(name)
            _until(screen, lambda: controller.spread is not None)
        ours: dict[str, list[float]] = {}
        ours["switch to another map"] = _switches(screen, zooms, names, controller.choose_map)
        ours["change the opacity"] = _each(screen, lambda v: controller.choose_look(opacity=v))
        controller.choose_map(names[0])
        ours["change the contrast"] = _each(screen, lambda v: controller.choose_look(high=99 - 20 * v))
        reads = _reads(controller, slide)
        frame = median(_each(screen, lambda v: screen.draw())) * 1000
        _roam(screen, controller, names, seed=1)
        before = resident()
        _roam(screen, controller, names, seed=2)
        report.figures.append(grown(f"memory grown by {_VIEWS} random views, each of another map", before))
        plain = _plain(screen, zooms, source.maps, controller)
        for what, times in ours.items():
            borne = _SWITCH if what.startswith("switch") else _CHANGE
            for how, of in (("", median), (", slowest", max)):
                mine, theirs = of(times) * 1000, of(plain[what]) * 1000
                report.figures.append(Figure(what + how, mine, borne * 1000, _BORNE, "ms", 1.0))
                report.figures.append(Figure(what + how, mine, theirs, _PLAIN, "ms"))
            report.figures.append(Figure(what, median(times) * 1000, frame, _FRAME, "ms"))
            report.figures.append(Figure(what, median(times) * 1000, empty, _EMPTY, "ms"))
        for how, value in (("", median(reads)), (", slowest", max(reads))):
            what = "read-out under the cursor" + how
            report.figures.append(Figure(what, value * 1000, _READ * 1000, _BORNE, "ms", 1.0))
    finally:
        viewer.close()


def _switches(
    screen: Screen, zooms: Iterable[float], choices: list[Any], choose: Callable[[Any], object]
) -> list[float]:
    times = []
    for zoom in zooms:
        screen.viewer.scene.camera.zoom = zoom
        for turn in range(_SWITCHES):
            choice = choices[(turn + 1) % len(choices)]
            seconds = screen.timed(lambda choice=choice: choose(choice))
            if turn >= len(choices):  # blocks of this view are read once
                times.append(seconds)
    return times


def _roam(screen: Screen, controller: AttentionController, names: list[str], seed: int) -> None:
    """Look at random places, at each through another map."""
    rng = np.random.default_rng(seed)
    camera, slide = screen.viewer.scene.camera, screen.viewer.layers[0]
    size = np.asarray(slide.level_shapes[0][:2]) * slide.scale[-2:]
    for view in range(_VIEWS):
        name = names[view % len(names)]
        camera.center = (0, *(size * rng.uniform(0.05, 0.95, 2)))
        camera.zoom = 2.0 ** rng.uniform(-3, 2)
        screen.timed(lambda name=name: controller.choose_map(name))


def _each(screen: Screen, change: Callable[[float], object]) -> list[float]:
    return [screen.timed(lambda value=value: change(value)) for value in _VALUES]


def _reads(controller: AttentionController, slide: Slide) -> list[float]:
    viewer, reads = controller.viewer, []
    for index in range(60):
        point = (2000.0 + 53 * index, 3000.0 + 31 * index)
        viewer.cursor.position = level0_to_world(point, slide.require_mpp())
        viewer.mouse_over_canvas = True
        start = time.perf_counter()
        controller.read_cursor()
        reads.append(time.perf_counter() - start)
    return reads


def _plain(
    screen: Screen, zooms: Iterable[float], maps: tuple[RunMap, ...], controller: AttentionController
) -> dict[str, list[float]]:
    """Do the same to an image layer of napari over the same slide, its values in memory."""
    current = controller.current
    assert current is not None
    shown: Any = current.layer
    levels = [
        [np.asarray(item.reader(index, _all(item, index))) for index in range(len(item.grids))]
        for item in maps
    ]
    limits = tuple(shown.contrast_limits)
    layer = screen.viewer.add_image(
        levels[0],
        multiscale=True,
        scale=shown.scale,
        translate=shown.translate,
        units=shown.units,
        colormap=shown.colormap,
        contrast_limits=limits,
        opacity=shown.opacity,
        blending="translucent",
    )
    shown.visible = False

    def put(choice: list[Any]) -> None:
        layer.data = choice

    def narrow(value: float) -> None:
        layer.contrast_limits = (limits[0], limits[1] - value * (limits[1] - limits[0]) / 2)

    return {
        "switch to another map": _switches(screen, zooms, levels, put),
        "change the opacity": _each(screen, lambda value: setattr(layer, "opacity", value)),
        "change the contrast": _each(screen, narrow),
    }


def _all(item: RunMap, level: int) -> Any:
    from napari_lumen.geometry import Window

    return Window(0, 0, *item.grids[level].shape)


def _until(screen: Screen, done: Callable[[], bool]) -> None:
    end = time.perf_counter() + _WAIT
    while not done():
        screen.settle()
        if time.perf_counter() > end:
            raise TimeoutError("the panel was not ready within a minute")
