"""Viewing in the window: opening, panning and memory, beside an in-memory pyramid and napari-wsi."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer

from bench.files import tissue, write_svs
from bench.report import Figure, Report
from napari_lumen import open_slide
from napari_lumen.plugin.reader import napari_get_reader
from napari_lumen.slides.cache import process_cache

if TYPE_CHECKING:
    import napari

_SIDE = (16_000, 20_000)
_SMALL, _LARGE = (10_000, 10_000), (100_000, 100_000)
WINDOW = (1_500, 1_000)
_ROUNDS, _PANS, _BROWSED = 5, 15, 200


def run(report: Report) -> None:
    """Measure and fill the report."""
    import napari

    with tempfile.TemporaryDirectory(prefix="lumen-bench-") as name:
        folder = Path(name)
        drawn = tissue()
        path = write_svs(folder / "slide.svs", drawn, *_SIDE)
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*WINDOW)
        screen = Screen(viewer)
        try:
            _against_memory(screen, path, report)
            _sizes(screen, drawn, folder, report)
        finally:
            viewer.close()


class Screen:
    """A viewer that can be waited for: an action counts as done when the canvas draws no more."""

    def __init__(self, viewer: napari.Viewer) -> None:
        from qtpy.QtWidgets import QApplication

        self.viewer = viewer
        self._application = QApplication.instance()
        self._canvas = viewer.window._qt_viewer.canvas._scene_canvas
        self._draws = 0
        self._canvas.events.draw.connect(self._on_draw)

    def _on_draw(self, event: object) -> None:
        self._draws += 1

    def timed(self, action: Callable[[], object]) -> float:
        """Return the seconds from the action to the last frame that it caused."""
        self.settle()
        before, start = self._draws, time.perf_counter()
        action()
        last, idle = time.perf_counter(), 0
        while idle < 3 or self._draws == before:
            seen = self._draws
            self._application.processEvents()
            if self._draws > seen:
                last, idle = time.perf_counter(), 0
            else:
                idle += 1
            if time.perf_counter() - start > 60:
                raise TimeoutError("the canvas was not drawn within a minute")
        return last - start

    def settle(self) -> None:
        """Let everything outstanding happen."""
        for _ in range(20):
            self._application.processEvents()
            time.sleep(0.005)

    def draw(self) -> None:
        """Ask for the same frame again."""
        self._canvas.update()

    def clear(self) -> None:
        """Remove all layers and forget what dask and the tile cache hold."""
        from napari.utils import resize_dask_cache

        self.viewer.layers.clear()
        cache = resize_dask_cache()
        cache.cache.clear()
        limit = process_cache().limit
        process_cache().set_limit(0)
        process_cache().set_limit(limit)
        self.settle()


def _against_memory(screen: Screen, path: Path, report: Report) -> None:
    viewer = screen.viewer
    with open_slide(path) as slide:
        levels = [np.asarray(level) for level in slide.dask_levels()]
        mpp = slide.require_mpp()
    openers: dict[str, Callable[[], object]] = {
        # as the others: without the plugin dialogs and the progress bar of napari's own `open`
        "ours": lambda: add_slide(viewer, path),
        "ours, by viewer.open": lambda: viewer.open(path, plugin="napari-lumen"),
        "memory": lambda: viewer.add_image(
            levels, rgb=True, multiscale=True, scale=mpp, units=("um", "um"), interpolation2d="linear"
        ),
    }
    if (rival := _napari_wsi(viewer, path)) is not None:
        openers["napari-wsi"] = rival
    else:
        report.remarks.append("napari-wsi is not installed (pip install 'napari-wsi[openslide]').")
    opened: dict[str, list[float]] = {name: [] for name in openers}
    panned: dict[str, list[float]] = {name: [] for name in openers}
    order = list(openers)
    for turn in range(_ROUNDS + 1):
        for name in order:
            screen.clear()
            seconds = screen.timed(openers[name])
            pans = pan_times(screen, turn, _SIDE)
            if turn:  # the first round warms up
                opened[name].append(seconds)
                panned[name] += pans
        order.reverse()
    for name, goal_open, goal_pan in (("memory", 1.1, 1.15), ("napari-wsi", 1.0, 1.0)):
        if name not in openers:
            continue
        beside = "in-memory pyramid" if name == "memory" else name
        first, pan = "open to first view", "pan at level 0"
        report.figures += [
            Figure(first, *_pair(opened, name), beside, "ms", goal_open),
            Figure(pan, *_pair(panned, name), beside, "ms", goal_pan),
        ]
    whole = median(opened["ours, by viewer.open"]) * 1000, median(opened["memory"]) * 1000
    report.figures.append(Figure("viewer.open to first view", *whole, "in-memory pyramid, added", "ms"))


def add_slide(viewer: napari.Viewer, path: Path) -> None:
    """Add the layers of a slide, without the plugin dialogs and the progress bar of `viewer.open`."""
    reader = napari_get_reader(str(path))
    if reader is None:
        raise AssertionError("our reader left the slide to another")
    for data, arguments, kind in reader(str(path)):
        viewer.add_layer(Layer.create(data, arguments, kind))


def _pair(times: dict[str, list[float]], name: str) -> tuple[float, float]:
    return median(times["ours"]) * 1000, median(times[name]) * 1000


def pan_times(screen: Screen, seed: int, shape: tuple[int, int]) -> list[float]:
    """Return the seconds of pans by a third of the view, at one data pixel a screen pixel.

    Parameters
    ----------
    screen : Screen
        Whose first layer is a slide.
    seed : int
        Of where it begins and which way it goes.
    shape : (int, int)
        Height and width of the slide, px.
    """
    viewer = screen.viewer
    layer = viewer.layers[0]
    rng = np.random.default_rng(seed)
    step = np.asarray(layer.scale[-2:], float)
    extent = np.asarray(shape) * step
    centre = extent * rng.uniform(0.3, 0.7, 2)
    viewer.scene.camera.zoom = 1 / step[0]
    viewer.scene.camera.center = (0, *centre)
    screen.settle()
    times = []
    for _ in range(_PANS):
        angle = rng.uniform(0, 2 * np.pi)
        centre = centre + np.asarray(WINDOW[::-1]) / 3 * step * (np.sin(angle), np.cos(angle))
        centre = np.clip(centre, extent * 0.1, extent * 0.9)
        times.append(screen.timed(lambda place=tuple(centre): _look(viewer, place)))
    return times


def _look(viewer: napari.Viewer, place: tuple[float, float]) -> None:
    viewer.scene.camera.center = (0, *place)


def _sizes(screen: Screen, drawn: np.ndarray, folder: Path, report: Report) -> None:
    """Open slides of 10,000 and 100,000 px a side, and browse the larger."""
    viewer = screen.viewer
    paths = {
        name: write_svs(folder / f"{name}.svs", drawn, *side)
        for name, side in (("small", _SMALL), ("large", _LARGE))
    }
    times: dict[str, list[float]] = {name: [] for name in paths}
    for turn in range(_ROUNDS + 1):
        for name, path in paths.items():
            screen.clear()
            seconds = screen.timed(lambda path=path: viewer.open(path, plugin="napari-lumen"))
            if turn:
                times[name].append(seconds)
    report.figures.append(
        Figure(
            "open 100,000 x 100,000",
            median(times["large"]) * 1000,
            median(times["small"]) * 1000,
            "10,000 x 10,000",
            "ms",
            1.3,
        )
    )
    screen.clear()
    viewer.open(paths["large"], plugin="napari-lumen")
    _browse(screen, 20, seed=1)
    before = resident()
    _browse(screen, _BROWSED, seed=2)
    report.figures.append(grown("memory grown by 200 random views", before))


def grown(what: str, before: int) -> Figure:
    """Return how much memory this process has gained since it had `before` bytes, beside what it may keep."""
    from napari.utils import resize_dask_cache

    limit = process_cache().limit + resize_dask_cache().cache.available_bytes  # the setting, half each
    gained = max(1, resident() - before)
    return Figure(what, gained / 2**20, limit / 2**20, "the caches' limit", "MiB", 1.0)


def _browse(screen: Screen, views: int, seed: int) -> None:
    viewer = screen.viewer
    rng = np.random.default_rng(seed)
    step = np.asarray(viewer.layers[0].scale[-2:], float)
    for _ in range(views):
        place = tuple(np.asarray(_LARGE) * step * rng.uniform(0.05, 0.95, 2))
        viewer.scene.camera.zoom = 2.0 ** rng.uniform(-3, 0) / step[0]
        screen.timed(lambda place=place: _look(viewer, place))


def resident() -> int:
    """Return the bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _napari_wsi(viewer: napari.Viewer, path: Path) -> Callable[[], object] | None:
    try:
        from napari_wsi.backends.openslide import OpenSlideStore
    except ImportError:
        return None
    return lambda: OpenSlideStore(path).to_viewer(viewer)
