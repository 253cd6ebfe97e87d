"""The real window: threads, the panel, what is drawn where, and what the user is told. Needs a display."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import numpy as np
import pytest
import tifffile

from fakes import ArraySlide
from napari_lumen.errors import Cancelled, RunError, SlideError
from napari_lumen.geometry import Window
from napari_lumen.inference.progress import Progress
from napari_lumen.plugin import panel as panel_module
from napari_lumen.plugin.jobs import Callbacks, Jobs
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.results import add_result
from napari_lumen.plugin.slide_layers import slide_layer
from plugin_fakes import CATALOGUE, stopped_by, write_run

_HIDDEN = sys.platform.startswith("linux") and not os.environ.get("DISPLAY")
pytestmark = [
    pytest.mark.skipif(
        _HIDDEN or os.environ.get("QT_QPA_PLATFORM") == "offscreen",
        reason="needs a display with OpenGL: run under xvfb-run",
    ),
    # a test's window is small, and napari says so of its own layout
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Heard:
    """Callbacks that keep what they were told, and on which thread."""

    def __init__(self) -> None:
        self.progress: list[Any] = []
        self.done: list[Any] = []
        self.failed: list[BaseException] = []
        self.cancelled = 0
        self.threads: set[Any] = set()

    @property
    def over(self) -> bool:
        return bool(self.done or self.failed or self.cancelled)

    def callbacks(self) -> Callbacks[Any]:
        def keep(where: list[Any]) -> Callable[[Any], None]:
            def note(value: Any) -> None:
                self.threads.add(current_thread())
                where.append(value)

            return note

        def cancelled() -> None:
            self.threads.add(current_thread())
            self.cancelled += 1

        return Callbacks(keep(self.progress), keep(self.done), keep(self.failed), cancelled)


@pytest.fixture
def jobs(qtbot: Any) -> Any:
    made = Jobs()
    yield made
    made.close()


def test_work_runs_beside_the_window_and_reports_on_its_thread(jobs: Jobs, qtbot: Any) -> None:
    heard, ran_on = Heard(), []

    def work(emit: Any, cancel: Event) -> int:
        ran_on.append(current_thread())
        for step in range(5):
            emit(step)
            time.sleep(0.06)
        return 42

    jobs.start(work, heard.callbacks())
    qtbot.waitUntil(lambda: heard.over)
    assert heard.done == [42]
    assert heard.progress[-1] == 4
    assert heard.threads == {main_thread()}
    assert ran_on[0] is not main_thread()


def test_cancelled_work_is_told_once_and_gives_no_result(jobs: Jobs, qtbot: Any) -> None:
    heard = Heard()

    def work(emit: Any, cancel: Event) -> int:
        emit("started")
        cancel.wait(20)
        return 42  # too late: nobody wants it

    job = jobs.start(work, heard.callbacks())
    qtbot.waitUntil(lambda: bool(heard.progress))
    job.cancel.set()
    qtbot.waitUntil(lambda: heard.over)
    qtbot.wait(100)
    assert (heard.done, heard.failed, heard.cancelled) == ([], [], 1)


@pytest.mark.parametrize(("error", "cancelled"), [(RunError("No."), 0), (Cancelled("Stop."), 1)])
def test_an_error_arrives_as_it_was_raised(jobs: Jobs, qtbot: Any, error: Exception, cancelled: int) -> None:
    heard = Heard()

    def work(emit: Any, cancel: Event) -> int:
        raise error

    jobs.start(work, heard.callbacks())
    qtbot.waitUntil(lambda: heard.over)
    assert heard.failed == ([] if cancelled else [error])
    assert heard.cancelled == cancelled


def test_closing_waits_for_the_work_and_calls_nobody(jobs: Jobs, qtbot: Any) -> None:
    heard, ended = Heard(), Event()

    def work(emit: Any, cancel: Event) -> None:
        emit("started")
        cancel.wait(20)
        time.sleep(0.1)
        ended.set()

    jobs.start(work, heard.callbacks())
    qtbot.waitUntil(lambda: bool(heard.progress))
    jobs.close()
    assert ended.is_set()
    qtbot.wait(100)
    assert not heard.over


class SlowPredict:
    """Tells progress tile by tile until it is stopped or has done all tiles."""

    def __init__(self, folder: Path, tiles: int) -> None:
        self.folder = folder
        self.tiles = tiles
        self.ended = Event()

    def __call__(self, slide: Any, model: Path, **keywords: Any) -> Any:
        try:
            for tile in range(self.tiles):
                stopped_by(keywords["cancel"])
                keywords["on_progress"](Progress("running the model", tile, self.tiles, 125.0))
                time.sleep(0.05)
            return write_run(self.folder, slide, Window(8, 8, 8, 8))
        finally:
            self.ended.set()


def opened(viewer: Any, mpp: tuple[float, float] | None = (0.5, 0.5)) -> Any:
    slide = ArraySlide(np.full((300, 200, 3), 200, np.uint8), mpp=mpp)
    slide.path = Path("case.svs")
    (layer,) = viewer._add_layer_from_data(*slide_layer(slide))
    return layer


def with_panel(viewer: Any, predict: Any) -> Any:
    from napari_lumen.plugin.controllers.run_model import RunModelController
    from napari_lumen.plugin.run_model_panel import RunModelPanel

    panel = RunModelPanel(viewer, RunModelController(viewer, Jobs(), predict, lambda: CATALOGUE))
    viewer.window.add_dock_widget(panel, name="Run model", area="right")
    return panel


def test_one_click_in_the_window(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    from qtpy.QtWidgets import QLabel

    viewer = make_napari_viewer(show=True)
    opened(viewer)
    panel = with_panel(viewer, SlowPredict(tmp_path, 20))
    form = panel.form
    qtbot.waitUntil(form.run.isEnabled)
    assert form.slide.currentText() == "case.svs"
    assert form.summary.text() == "Marks nuclei in H&E."
    assert not form.pixel_size.isVisible()
    assert not form.bar.isVisible()
    form.run.click()
    qtbot.waitUntil(lambda: form.bar.value() > 3)
    assert not form.run.isEnabled()
    assert form.cancel.isEnabled()
    assert form.status.text().endswith("of 20 tiles, 2 min 5 s left")
    qtbot.waitUntil(lambda: panel.legend.isVisible(), timeout=10_000)
    assert len(viewer.layers) == 5
    texts = [label.text() for label in panel.legend.findChildren(QLabel)]
    assert {"nucleus", "1,234", "0.25 mm²", "gland", "Analysed", "2.13 mm²"} <= set(texts)
    assert "Decoder stage 2, block 1: group attention: first for second" in texts
    tips = {label.toolTip() for label in panel.legend.findChildren(QLabel)}
    assert any("touch count as one" in tip for tip in tips)
    assert form.run.isEnabled()


def test_cancel_in_the_window(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    viewer = make_napari_viewer(show=True)
    opened(viewer)
    panel = with_panel(viewer, SlowPredict(tmp_path, 1000))
    qtbot.waitUntil(panel.form.run.isEnabled)
    panel.form.run.click()
    qtbot.waitUntil(lambda: panel.form.bar.value() > 1)
    panel.form.cancel.click()
    qtbot.waitUntil(panel.form.run.isEnabled)
    assert len(viewer.layers) == 1
    assert panel.form.status.text().startswith("Cancelled")


def test_closing_the_window_asks_and_stops_the_run(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(window: Any, stakes: Any) -> bool:
        asked.extend(item.what for item in stakes)
        return all(item.save() for item in stakes)

    monkeypatch.setattr(panel_module, "may_close", answer)
    viewer = make_napari_viewer(show=True)
    opened(viewer)
    predict = SlowPredict(tmp_path, 10_000)
    panel = with_panel(viewer, predict)
    qtbot.waitUntil(panel.form.run.isEnabled)
    panel.form.run.click()
    qtbot.waitUntil(lambda: panel.form.bar.value() > 1)
    viewer.window._qt_window.close()  # as the user does
    qtbot.waitUntil(predict.ended.is_set)
    del viewer.window._qt_window  # so that the fixture does not close it again
    assert not (tmp_path / "run.json").exists()
    assert len(asked) == 1


def test_a_program_that_closes_the_window_is_not_asked(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(panel_module, "may_close", lambda window, stakes: asked.append(stakes))
    viewer = make_napari_viewer(show=True)
    opened(viewer)
    predict = SlowPredict(tmp_path, 10_000)
    panel = with_panel(viewer, predict)
    qtbot.waitUntil(panel.form.run.isEnabled)
    panel.form.run.click()
    qtbot.waitUntil(lambda: panel.form.bar.value() > 1)
    viewer.close()
    qtbot.waitUntil(predict.ended.is_set)
    assert asked == []


def test_closing_the_panel_stops_the_run(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    viewer = make_napari_viewer(show=True)
    opened(viewer)
    predict = SlowPredict(tmp_path, 10_000)
    panel = with_panel(viewer, predict)
    qtbot.waitUntil(panel.form.run.isEnabled)
    panel.form.run.click()
    qtbot.waitUntil(lambda: panel.form.bar.value() > 1)
    viewer.window.remove_dock_widget(panel)
    qtbot.waitUntil(predict.ended.is_set)


def test_the_pixel_size_is_asked_for_only_when_it_is_unknown(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    layer = opened(viewer, mpp=None)
    panel = with_panel(viewer, SlowPredict(tmp_path, 2))
    qtbot.waitUntil(lambda: panel.form.pixel_size.isVisible())
    qtbot.waitUntil(lambda: "pixel size" in panel.form.status.text())
    assert not panel.form.run.isEnabled()
    panel.form.pixel_size.setValue(0.25)
    assert panel.form.run.isEnabled()
    panel.form.run.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 5)
    assert tuple(layer.scale) == (0.25, 0.25)


def test_the_panel_is_in_the_plugins_menu(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer()
    _, panel = viewer.window.add_plugin_dock_widget("napari-lumen", "Run model")
    qtbot.waitUntil(lambda: len(panel.controller.state.devices) > 1, timeout=60_000)
    assert panel.controller.state.blocked is not None


def test_a_dropped_file_that_is_no_slide_gives_one_sentence(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    from napari.settings import get_settings
    from napari.utils.notifications import notification_manager
    from qtpy.QtCore import QTimer

    letter = tmp_path / "letter.svs"
    letter.write_text("Dear colleague")
    viewer = make_napari_viewer(show=True)
    # napari's own reader claims *.svs too; a user who has chosen once is not asked again
    get_settings().plugins.extension2reader = {"*.svs": "napari-lumen"}
    told: list[Any] = []
    notification_manager.notification_ready.connect(told.append)
    # as a drop does: from Qt's event loop, by napari's own way to open what was dropped
    QTimer.singleShot(0, lambda: viewer.window._qt_viewer._qt_open([str(letter)], stack=False))
    qtbot.waitUntil(lambda: bool(told))
    qtbot.wait(200)
    notification_manager.notification_ready.disconnect(told.append)
    assert len(told) == 1
    assert told[0].message.startswith("letter.svs cannot be opened as a slide")
    assert "\n" not in told[0].message
    assert not viewer.layers


def test_a_plain_picture_confirmed_with_our_reader_is_read_by_naparis(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    from napari.settings import get_settings
    from qtpy.QtCore import QTimer

    picture = tmp_path / "photo.tif"
    tifffile.imwrite(picture, np.full((64, 64, 3), 90, np.uint8), photometric="rgb")
    viewer = make_napari_viewer(show=True)
    get_settings().plugins.extension2reader = {"*.tif": "napari-lumen"}
    QTimer.singleShot(0, lambda: viewer.window._qt_viewer._qt_open([str(picture)], stack=False))
    qtbot.waitUntil(lambda: bool(viewer.layers))
    assert viewer.layers[0].data.shape == (64, 64, 3)
    assert "napari_lumen" not in viewer.layers[0].metadata


def dark_box(viewer: Any, qtbot: Any, shown: Any) -> tuple[int, int, int, int]:
    """Return the first and last dark row and column of the canvas with one layer shown on white."""
    for layer in viewer.layers:
        layer.visible = layer is shown or layer.name == "white"
    qtbot.wait(150)
    canvas = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int).sum(axis=-1) < 200
    rows, columns = canvas.any(axis=1).nonzero()[0], canvas.any(axis=0).nonzero()[0]
    return rows[0], rows[-1], columns[0], columns[-1]


def test_slide_labels_and_attention_cover_the_same_pixels_of_the_screen(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    """At every zoom, whatever level each layer is shown from."""
    image = np.full((2048, 2048, 3), 255, np.uint8)
    image[512:1024, 256:768] = 0
    halves = [image, image[::2, ::2], image[::4, ::4]]
    slide = ArraySlide(*halves, mpp=(0.25, 0.25))
    run = write_run(tmp_path, slide, Window(256, 128, 256, 256))
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1100, 900)
    viewer.add_image(
        np.ones((8, 8), np.float32),
        name="white",
        scale=(500, 500),
        translate=(-800, -800),
        units=("um", "um"),
        contrast_limits=(0, 1),
    )
    (tissue,) = viewer._add_layer_from_data(*slide_layer(slide))
    *_, attention, labels = add_result(viewer, tissue, run_layers(run, "case"))
    viewer.canvas.overlays.scale_bar.visible = False
    tissue.interpolation2d = "nearest"  # a soft edge would hide a shift of half a pixel
    labels.contour = 0
    labels.opacity = 1
    labels.colormap = {None: np.zeros(4), 1: np.array([0, 0, 0, 1.0])}
    known = np.full(attention.data.shape, np.nan, np.float32)
    known[64:128, 32:96] = 1
    attention.data = known
    attention.colormap = "gray_r"
    attention.contrast_limits = (0, 1)
    levels = set()
    for zoom in (0.8, 1.37, 2.9):
        viewer.scene.camera.center = (0, 768 * 0.25, 512 * 0.25)
        viewer.scene.camera.zoom = zoom
        boxes = [dark_box(viewer, qtbot, layer) for layer in (tissue, labels, attention)]
        levels.add(tissue.data_level)
        assert boxes[0] == boxes[1] == boxes[2], f"at zoom {zoom}"
        assert boxes[0][1] - boxes[0][0] == pytest.approx(128 * zoom, abs=1.5)
    assert len(levels) > 1


def test_a_download_in_the_window_shows_its_progress(qtbot: Any, jobs: Jobs) -> None:
    from napari_lumen.plugin.widgets.waiting import wait_for

    def work(emit: Any, cancel: Event) -> str:
        for done in range(5):
            emit((done, 5))
            time.sleep(0.06)
        return "here"

    assert wait_for(jobs, work, "Downloading …") == "here"


def test_a_download_can_be_cancelled_in_the_window(qtbot: Any, jobs: Jobs) -> None:
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QProgressDialog, QPushButton

    from napari_lumen.plugin.widgets.waiting import wait_for

    def work(emit: Any, cancel: Event) -> str:
        cancel.wait(20)
        if cancel.is_set():
            raise Cancelled("Stop.")
        return "not stopped"

    def click() -> None:
        for widget in QApplication.topLevelWidgets():
            if isinstance(widget, QProgressDialog) and widget.isVisible():
                widget.findChild(QPushButton).click()

    QTimer.singleShot(300, click)
    with pytest.raises(Cancelled):
        wait_for(jobs, work, "Downloading …")

    def fail(emit: Any, cancel: Event) -> str:
        raise SlideError("There is no connection.")

    with pytest.raises(SlideError, match="no connection"):
        wait_for(jobs, fail, "Downloading …")


def test_the_sample_to_download_arrives_in_a_living_window(
    make_napari_viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    from qtpy.QtCore import QTimer

    from napari_lumen.plugin import sample_data

    ticks: list[float] = []
    clock = QTimer()
    clock.timeout.connect(lambda: ticks.append(time.monotonic()))

    def fetch(download: Any, emit: Any, cancel: Event) -> Path:
        for done in range(10):
            emit((done, 10))
            time.sleep(0.1)
        return shared_data / "slides" / "CMU-1-Small-Region.svs"

    monkeypatch.setattr(sample_data, "fetch", fetch)
    viewer = make_napari_viewer(show=True)
    clock.start(20)
    (layer,) = viewer.open_sample("napari-lumen", "cmu-1")
    clock.stop()
    assert layer.name == "CMU-1-Small-Region.svs"
    assert len(ticks) > 10
