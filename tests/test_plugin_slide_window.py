"""The Slide panel, damage and workers in the real window. Needs a display."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from fakes import ArraySlide
from napari_lumen.geometry import Region
from napari_lumen.plugin.jobs import Callbacks, Jobs
from napari_lumen.plugin.newest import Newest
from napari_lumen.plugin.slide_layers import slide_layer
from napari_lumen.slides.associated import AssociatedImages
from plugin_fakes import damaged_slide

_HIDDEN = sys.platform.startswith("linux") and not os.environ.get("DISPLAY")
pytestmark = [
    pytest.mark.skipif(
        _HIDDEN or os.environ.get("QT_QPA_PLATFORM") == "offscreen",
        reason="needs a display with OpenGL: run under xvfb-run",
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def opened(viewer: Any, mpp: tuple[float, float] | None = (0.5, 0.5)) -> Any:
    image = np.full((800, 600, 3), 220, np.uint8)
    image[:400] = (120, 60, 120)
    slide = ArraySlide(image, mpp=mpp)
    slide.path = Path("case.svs")
    slide.properties = {"aperio.AppMag": "20", "scanner.Serial": "S" * 200, "tiff.Make": "<b>Maker</b>"}
    slide.associated = AssociatedImages({"label": lambda: np.full((240, 800, 3), 99, np.uint8)})
    (layer,) = viewer._add_layer_from_data(*slide_layer(slide))
    return layer


def named(name: str) -> ArraySlide:
    slide = ArraySlide(np.full((200, 300, 3), 200, np.uint8))
    slide.path = Path(name)
    return slide


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    made = make_napari_viewer(show=True)
    made.window.resize(1100, 900)
    return made


@pytest.fixture
def panel(viewer: Any, qtbot: Any) -> Any:
    from napari_lumen.plugin.slide_panel import SlidePanel

    made = SlidePanel(viewer)
    viewer.window.add_dock_widget(made, name="Slide", area="right")
    return made


def drawn(widget: Any) -> np.ndarray:
    """Return what a widget draws, (h, w, 3), in its own pixels."""
    image = widget.grab().toImage().convertToFormat(widget.grab().toImage().Format.Format_RGB888)
    rows = np.frombuffer(image.constBits().asstring(image.sizeInBytes()), np.uint8)
    return rows.reshape(image.height(), -1)[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def test_the_panel_shows_facts_overview_and_box(viewer: Any, panel: Any, qtbot: Any) -> None:
    form = panel.form
    assert form.hint.isVisible()
    opened(viewer)
    qtbot.waitUntil(lambda: panel.controller.pictures.overview is not None)
    assert not form.hint.isVisible()
    assert form.slide.currentText() == "case.svs"
    assert form.values["Width × height"].text() == "600 × 800 px\n0.3 × 0.4 mm"
    viewer.scene.camera.center = (0, 200, 150)
    viewer.scene.camera.zoom = 8.0
    assert form.values["In view"].text() == "80×"
    qtbot.wait(100)
    overview = form.overview
    pixels = drawn(overview).astype(int)
    box, middle = overview.box, overview.width() // 2
    orange = np.abs(pixels - (255, 90, 0)).sum(axis=-1) < 60
    rows, columns = orange.any(axis=1).nonzero()[0], orange.any(axis=0).nonzero()[0]
    assert (rows[0], rows[-1]) == pytest.approx((box.top(), box.bottom()), abs=3)
    assert (columns[0], columns[-1]) == pytest.approx((box.left(), box.right()), abs=3)
    np.testing.assert_allclose(pixels[5, middle], (120, 60, 120), atol=4)
    np.testing.assert_allclose(pixels[-5, middle], 220, atol=4)


def test_a_click_and_a_drag_on_the_overview_move_the_view(viewer: Any, panel: Any, qtbot: Any) -> None:
    from qtpy.QtCore import QPoint, Qt

    opened(viewer)
    qtbot.waitUntil(lambda: panel.controller.pictures.overview is not None)
    viewer.scene.camera.zoom = 8.0
    overview = panel.form.overview
    scale = 800 / overview.height()  # level-0 pixels for one of the overview
    left = (overview.width() - 600 / scale) / 2
    spot = QPoint(round(left + 100 / scale), round(500 / scale))
    qtbot.mouseClick(overview, Qt.MouseButton.LeftButton, pos=spot)

    def centre() -> tuple[float, float]:
        seen: Region = panel.controller.view.region
        return seen.y + seen.height / 2, seen.x + seen.width / 2

    assert viewer.scene.camera.center[-2:] == pytest.approx((250, 50), abs=scale)
    before = centre()
    corner = overview.box.center() + (overview.box.bottomRight() - overview.box.center()) / 2
    grip = QPoint(round(corner.x()), round(corner.y()))  # held beside its middle, the box must not jump
    qtbot.mousePress(overview, Qt.MouseButton.LeftButton, pos=grip)
    qtbot.mouseMove(overview, grip + QPoint(20, -30))
    qtbot.mouseRelease(overview, Qt.MouseButton.LeftButton, pos=grip + QPoint(20, -30))
    assert viewer.scene.camera.center[-2:] == pytest.approx((250 - 15 * scale, 50 + 10 * scale), abs=scale)
    assert centre() != before
    qtbot.mouseMove(overview, QPoint(5, 5))  # let go: nothing follows the mouse
    assert viewer.scene.camera.center[-2:] == pytest.approx((250 - 15 * scale, 50 + 10 * scale), abs=scale)


def test_the_view_is_held_where_it_was_grabbed_at_the_edge_too(viewer: Any, panel: Any, qtbot: Any) -> None:
    from qtpy.QtCore import QPoint, Qt

    opened(viewer)
    qtbot.waitUntil(lambda: panel.controller.pictures.overview is not None)
    viewer.scene.camera.zoom = 8.0
    viewer.scene.camera.center = (0, -20.0, 150.0)  # more than half of the view lies above the slide
    overview = panel.form.overview
    scale = 0.5 * 800 / overview.height()  # µm for one of its pixels
    grip = overview.box.center().toPoint()
    qtbot.mousePress(overview, Qt.MouseButton.LeftButton, pos=grip)
    qtbot.mouseMove(overview, grip + QPoint(0, 1))
    assert viewer.scene.camera.center[-2:] == pytest.approx((-20 + scale, 150), abs=0.1)
    qtbot.mouseMove(overview, grip + QPoint(0, 30))
    qtbot.mouseRelease(overview, Qt.MouseButton.LeftButton, pos=grip + QPoint(0, 30))
    assert viewer.scene.camera.center[-2:] == pytest.approx((-20 + 30 * scale, 150), abs=0.1)


def test_a_click_inside_the_box_moves_the_view_there(viewer: Any, panel: Any, qtbot: Any) -> None:
    from qtpy.QtCore import QPoint, Qt

    opened(viewer)
    qtbot.waitUntil(lambda: panel.controller.pictures.overview is not None)
    overview = panel.form.overview
    spot = QPoint(overview.width() // 2 + 20, overview.height() // 2 - 30)
    assert overview.box.contains(spot.toPointF())  # all of the slide is in view
    scale = 0.5 * 800 / overview.height()
    qtbot.mouseClick(overview, Qt.MouseButton.LeftButton, pos=spot)
    wanted = (spot.y() * scale, 150 + 20 * scale)
    assert viewer.scene.camera.center[-2:] == pytest.approx(wanted, abs=2 * scale)


def test_the_scanners_facts_are_filtered_and_shown_in_full(viewer: Any, panel: Any, qtbot: Any) -> None:
    opened(viewer)
    scanner = panel.form.scanner
    text = scanner.list.toPlainText()
    assert "S" * 200 in text.replace("\n", "")
    assert "<b>Maker</b>" in text  # as it stands in the file, not as markup
    assert scanner.list.document().idealWidth() <= scanner.list.viewport().width()
    scanner.filter.setText("make")
    assert "AppMag" not in scanner.list.toPlainText()
    assert scanner.title.text().endswith("(1 of 3)")
    scanner.filter.setText("nothing of the kind")
    assert scanner.list.toPlainText() == "Nothing matches."


def test_the_label_is_seen_only_after_a_click(viewer: Any, panel: Any, qtbot: Any) -> None:
    opened(viewer)
    pictures = panel.form.associated
    assert not pictures.images["label"].isVisible()
    assert "label" not in [layer.name for layer in viewer.layers]
    pictures.buttons["label"].click()
    qtbot.waitUntil(lambda: not pictures.images["label"].pixmap().isNull())
    assert pictures.images["label"].isVisible()
    np.testing.assert_array_equal(drawn(pictures.images["label"])[10:50, 60:180], 99)
    pictures.buttons["label"].click()
    assert not pictures.images["label"].isVisible()


def test_an_unknown_pixel_size_is_given_in_the_panel(viewer: Any, panel: Any, qtbot: Any) -> None:
    layer = opened(viewer, mpp=None)
    form = panel.form
    assert form.give.isVisible()
    assert form.values["In view"].text() == "unknown"
    form.pixel_size.setValue(0.25)
    form.give.click()
    assert tuple(layer.scale) == (0.25, 0.25)
    assert form.values["Pixel size"].text() == "0.25 µm (given by you)"
    assert form.values["In view"].text().endswith("×")


def test_the_pixel_size_is_asked_for_in_words_and_enter_is_enough(
    viewer: Any, panel: Any, qtbot: Any
) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QLabel

    layer = opened(viewer, mpp=None)
    form = panel.form
    shown = [label.text() for label in form.findChildren(QLabel) if label.isVisible()]
    assert "Pixel size (µm/px)" in shown
    line = form.pixel_size.lineEdit()
    line.selectAll()
    qtbot.keyClicks(line, "0.25")
    assert tuple(layer.scale) == (1, 1)
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert tuple(layer.scale) == (0.25, 0.25)


@pytest.mark.parametrize("name", ["e3b0c44298fc1c14" * 4 + ".svs", "n" * 200, "CMU-1-Small-Region.svs"])
def test_a_name_of_one_word_does_not_widen_the_panel(viewer: Any, panel: Any, qtbot: Any, name: str) -> None:
    from qtpy.QtWidgets import QScrollArea

    viewer._add_layer_from_data(*slide_layer(named(name)))
    (scroll,) = panel.findChildren(QScrollArea)
    text = panel.form.values["Name"]
    assert (text.text(), text.toolTip()) == (name, name)
    narrowest = panel.minimumSizeHint().width()  # what a dock gives it
    assert narrowest < 260
    for width in (330, narrowest):
        panel.setFixedWidth(width)
        qtbot.waitUntil(lambda width=width: panel.width() == width)
        qtbot.waitUntil(lambda: scroll.widget().width() <= scroll.viewport().width())
        qtbot.waitUntil(lambda: text.document().size().height() <= text.height())
        qtbot.waitUntil(lambda: text.document().idealWidth() <= text.viewport().width())


@pytest.mark.parametrize("name", ["Slide", "Run model"])
def test_a_small_window_has_room_beside_the_panel(make_napari_viewer: Any, qtbot: Any, name: str) -> None:
    from qtpy.QtWidgets import QScrollArea

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(800, 600)
    _, panel = viewer.window.add_plugin_dock_widget("napari-lumen", name)
    opened(viewer)
    qtbot.wait(200)
    assert viewer.window._qt_window.width() == 800
    assert viewer.canvas.size[1] >= 150
    assert panel.minimumWidth() <= 230
    (scroll,) = panel.findChildren(QScrollArea)
    assert scroll.widget().minimumSizeHint().width() <= 230


def test_the_facts_of_the_last_slide_are_gone_at_once(viewer: Any, panel: Any) -> None:
    opened(viewer)
    facts = panel.form.facts
    shown = {id(widget) for widget in facts.children() if getattr(widget, "isVisible", bool)()}
    viewer._add_layer_from_data(*slide_layer(named("other.svs")))  # and no event loop runs
    panel.form.facts.show()
    left = [widget for widget in facts.children() if id(widget) in shown and widget.isVisible()]
    assert not left


def test_the_panel_is_in_the_plugins_menu_and_fits_its_dock(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    _, panel = viewer.window.add_plugin_dock_widget("napari-lumen", "Slide")
    opened(viewer)
    panel.resize(350, 900)
    qtbot.wait(100)
    form = panel.form
    assert form.minimumSizeHint().width() <= 350
    for label in form.values.values():
        assert label.document().size().height() <= label.height()


# damage


@pytest.fixture
def told(viewer: Any) -> Iterator[list[str]]:
    """What the window tells, as when the program runs: warnings too."""
    messages: list[str] = []

    def note(notification: Any) -> None:
        messages.append(notification.message)

    notification_manager.notification_ready.connect(note)
    with warnings.catch_warnings(), notification_manager:
        warnings.simplefilter("default")
        yield messages
    notification_manager.notification_ready.disconnect(note)


def canvas(viewer: Any, qtbot: Any) -> np.ndarray:
    qtbot.wait(150)
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3]


def test_damage_is_hatched_told_once_and_leaves_nothing_unrefreshed(
    viewer: Any, panel: Any, qtbot: Any, told: list[str], tmp_path: Path
) -> None:
    path = damaged_slide(tmp_path / "damaged.tif", side=2048, bad={0, 9, 27, 28, 35, 36, 63})
    (layer,) = viewer.open(path, plugin="napari-lumen")
    qtbot.waitUntil(lambda: panel.controller.pictures.overview is not None)
    viewer.canvas.overlays.scale_bar.visible = False
    for tile_y, tile_x, hatched in ((0, 0, True), (0, 4, False), (3, 3, True), (7, 7, True), (6, 1, False)):
        viewer.scene.camera.zoom = 8.0  # 0.5 µm: 4 px of the screen for one of the slide
        viewer.scene.camera.center = (0, (tile_y + 0.5) * 128, (tile_x + 0.5) * 128)
        shown = canvas(viewer, qtbot)
        middle = shown[shown.shape[0] // 2 - 40 : shown.shape[0] // 2 + 40, shown.shape[1] // 2 - 40 :][
            :, :80
        ]
        assert (middle.std() > 5) == hatched, (tile_y, tile_x)
        assert layer.loaded
    viewer.scene.camera.zoom = 0.2
    canvas(viewer, qtbot)
    damage = [message for message in told if "cannot be decoded" in message]
    assert len(damage) == 1, told
    assert "damaged.tif" in damage[0]
    assert "shown hatched" in damage[0]


# what hangs


@pytest.fixture
def hanging() -> Iterator[Callable[..., None]]:
    """Work that hears no token, as a request to a server that has fallen silent."""
    go_on = Event()

    def work(*_: Any) -> None:
        go_on.wait(20)

    yield work
    go_on.set()


def test_work_that_hangs_is_left_when_it_is_cancelled_or_closed(
    qtbot: Any, hanging: Callable[..., None]
) -> None:
    cancelled: list[bool] = []
    callbacks: Callbacks[None] = Callbacks(
        lambda event: None, lambda value: None, lambda error: None, lambda: cancelled.append(True)
    )
    jobs = Jobs(patience=0.1)
    job = jobs.start(hanging, callbacks)
    job.cancel.set()
    qtbot.waitUntil(lambda: bool(cancelled))
    jobs.start(hanging, callbacks)
    begun = time.monotonic()
    jobs.close()
    assert time.monotonic() - begun < 5
    assert cancelled == [True]


def test_reading_ahead_that_hangs_does_not_hold_up_the_closing(hanging: Callable[..., None]) -> None:
    begun_reading = Event()

    def work(request: int, stale: Callable[[], bool]) -> None:
        begun_reading.set()
        hanging()

    ahead: Newest[int] = Newest(work, rest=0.0)
    ahead.ask(1)
    assert begun_reading.wait(20)
    begun = time.monotonic()
    ahead.close()
    assert time.monotonic() - begun < 5


def test_the_panel_says_what_is_being_opened_and_cancel_works(
    viewer: Any, panel: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, hanging: Callable[..., None]
) -> None:
    monkeypatch.setattr("napari_lumen.plugin.opening.readable_slide", hanging)
    places = panel.places
    assert places.file.isVisible()
    places.place_chosen.emit("http://server/case%2012.zarr")
    assert places.text.text() == "Opening case 12.zarr …"
    assert not places.file.isVisible()
    assert places.bar.isVisible()
    qtbot.wait(100)
    places.cancel.click()
    qtbot.waitUntil(places.file.isVisible)
    assert not places.cancel.isVisible()
    assert not viewer.layers


def test_a_drop_that_takes_long_can_be_cancelled_while_the_window_lives(
    viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, hanging: Callable[..., None], tmp_path: Path
) -> None:
    from napari.settings import get_settings
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QProgressDialog, QPushButton

    monkeypatch.setattr("napari_lumen.plugin.opening.readable_slide", hanging)
    get_settings().plugins.extension2reader = {"*.tif": "napari-lumen"}
    texts: list[str] = []
    over: list[bool] = []

    def click() -> None:
        for widget in QApplication.topLevelWidgets():
            if isinstance(widget, QProgressDialog) and widget.isVisible():
                texts.append(widget.labelText())
                widget.findChild(QPushButton).click()

    def drop() -> None:
        viewer.window._qt_viewer._qt_open([str(damaged_slide(tmp_path / "flat.tif", bad=set()))], stack=False)
        over.append(True)

    clock = QTimer()
    clock.timeout.connect(click)
    clock.start(100)
    QTimer.singleShot(0, drop)
    qtbot.waitUntil(lambda: bool(over), timeout=15_000)
    clock.stop()
    assert texts[0] == "Opening flat.tif …"
    assert not viewer.layers
    qtbot.wait(200)  # the worker goes after its last word, and until then the window cannot


# the window's own


def test_each_window_has_one_browsing_that_ends_with_it(
    viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_lumen.plugin.anchor import anchored
    from napari_lumen.plugin.window import browsing

    closed: list[bool] = []
    viewer.open(damaged_slide(tmp_path / "one.tif", bad=set()), plugin="napari-lumen")
    mine = anchored(viewer)
    assert browsing() is mine
    viewer.open(damaged_slide(tmp_path / "two.tif", bad=set()), plugin="napari-lumen")
    assert anchored(viewer) is mine
    ahead = mine._ahead
    monkeypatch.setattr(ahead, "close", lambda: closed.append(True))
    viewer.window._qt_window.close()
    qtbot.waitUntil(lambda: bool(closed))
    del viewer.window._qt_window  # so that the fixture does not close it again


def test_workers_that_overlap_leave_the_windows_warnings_as_they_were(qtbot: Any) -> None:
    heard: list[str] = []

    def hook(message: Any, *rest: Any) -> None:
        heard.append(str(message))

    def work(wait: Event) -> Callable[..., None]:
        def run(emit: Any, cancel: Event) -> None:
            emit("started")
            wait.wait(20)

        return run

    jobs, first, second = Jobs(), Event(), Event()
    over: list[str] = []
    started: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = hook
        for name, wait in (("first", first), ("second", second)):
            jobs.start(
                work(wait),
                Callbacks(
                    started.append,
                    lambda value, name=name: over.append(name),  # type: ignore[misc]
                    lambda error: None,
                    lambda: None,
                ),
            )
            qtbot.waitUntil(lambda: len(started) == (1 if wait is first else 2))  # noqa: B023
        warnings.warn("torch's advice", UserWarning, stacklevel=1)
        warnings.warn_explicit("ours", UserWarning, "/x/napari_lumen/slides/slide.py", 1)
        assert heard == ["ours"]
        first.set()
        qtbot.waitUntil(lambda: over == ["first"])
        second.set()
        qtbot.waitUntil(lambda: over == ["first", "second"])
        time.sleep(0.1)
        assert warnings.showwarning is hook
    jobs.close()
