"""The Correct panel in a real window: strokes of the mouse, keys, and closing.

napari registers our commands once: the tests that do so themselves, without a window, come before these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.measure import label

from fakes import ArraySlide
from napari_lumen.corrections import CorrectionStore, abandoned_drafts
from napari_lumen.geometry import Region, Window
from napari_lumen.plugin.controllers.correct import CorrectController
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.results import add_result
from napari_lumen.plugin.slide_layers import slide_layer
from plugin_fakes import write_run
from test_plugin_correct import AtOnce


def correcting(viewer: Any, qtbot: Any, folder: Path, image: np.ndarray | None = None) -> Any:
    """Show a slide of 600 px with a run over it, and the panel, with a part of it in view."""
    from napari.layers import Layer

    from napari_lumen.plugin.correct_panel import CorrectPanel

    slide = ArraySlide(np.full((600, 600, 3), 200, np.uint8) if image is None else image)
    slide.location = slide.path = folder / "case.tif"
    layer = viewer.add_layer(Layer.create(*slide_layer(slide)))
    run = write_run(folder / "run", slide, Window(32, 32, 16, 16), step=1.0)
    add_result(viewer, layer, run_layers(run, "case"))
    panel = CorrectPanel(viewer, CorrectController(viewer, AtOnce(), folder / "drafts"))
    viewer.window.add_dock_widget(panel, name="Correct", area="right")
    qtbot.waitUntil(panel.isVisible)
    qtbot.wait(100)  # the canvas has its size once all docks have theirs
    viewer.scene.camera.center = (0.0, 50.0, 50.0)
    viewer.scene.camera.zoom = min(viewer.canvas.size) / 60
    return panel


def drag(viewer: Any, qtbot: Any, *places: tuple[float, float]) -> None:
    """Draw with the left button from place to place of the canvas, (x, y) in its pixels."""
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    native, left, none = (
        viewer.window._qt_viewer.canvas.native, Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton,
    )  # fmt: skip
    kinds = QEvent.Type
    steps = [(kinds.MouseMove, places[0], none, none), (kinds.MouseButtonPress, places[0], left, left)]
    steps += [(kinds.MouseMove, place, none, left) for place in places[1:]]
    steps.append((kinds.MouseButtonRelease, places[-1], left, none))
    for kind, place, button, buttons in steps:
        point = QPointF(*place)
        where = native.mapToGlobal(point)
        event = QMouseEvent(kind, point, where, button, buttons, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(native, event)
        qtbot.wait(15)  # the canvas takes moves one by one


def test_a_stroke_of_the_brush_is_accepted_by_a_key_and_shown(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    from qtpy.QtCore import Qt

    viewer = make_napari_viewer(show=True)
    panel = correcting(viewer, qtbot, tmp_path)
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, Qt.Key.Key_W)
    assert panel.controller.state.open
    assert (panel.form.accept.isHidden(), panel.form.open.isHidden()) == (False, True)
    assert panel.classes.buttons[1].isChecked()
    edit = viewer.layers.selection.active
    before = edit.data.copy()
    qtbot.keyClick(canvas, Qt.Key.Key_2)
    assert panel.classes.buttons[2].isChecked()
    height, width = viewer.canvas.size
    drag(viewer, qtbot, *((width * share, height * 0.3) for share in (0.3, 0.4, 0.5)))
    painted = edit.data == 2
    rows, columns = np.nonzero(painted)
    assert np.ptp(columns) > 4 * np.ptp(rows) > 0
    middle = edit.data_to_world((rows.mean(), columns.mean()))
    assert middle[0] == pytest.approx(50 + (0.3 - 0.5) * height / viewer.scene.camera.zoom, abs=1)
    assert middle[1] == pytest.approx(50 + (0.4 - 0.5) * width / viewer.scene.camera.zoom, abs=1)
    drag(viewer, qtbot, (width * 0.3, height * 0.6), (width * 0.4, height * 0.6))
    qtbot.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(edit.data == 2, painted)
    qtbot.keyClick(canvas, Qt.Key.Key_A)
    assert not panel.controller.state.open
    (window,) = CorrectionStore(tmp_path / "run").windows
    assert window.changed is not None
    assert sum(kind.pixels for kind in window.changed.kinds) == painted.sum()
    shown = np.asarray(viewer.layers[-1].data[0])
    place = window.grid(before.shape).window_of(Region(0, 0, 600, 600))
    assert (place.height, place.width) == before.shape
    assert int((shown == 2).sum()) == painted.sum()
    assert panel.windows.list.count() == 1
    panel.controller.close()


def test_tools_change_whole_objects_by_clicks_and_strokes(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    from qtpy.QtCore import Qt

    image = np.full((600, 600, 3), (220, 170, 200), np.uint8)
    rows, columns = np.indices((600, 600))
    missed = (rows - 120) ** 2 + (columns - 100) ** 2 <= 49
    image[missed] = (90, 60, 130)
    viewer = make_napari_viewer(show=True)
    panel = correcting(viewer, qtbot, tmp_path, image)
    viewer.scene.camera.zoom = min(viewer.canvas.size) / 90
    canvas, state = viewer.window._qt_viewer.canvas.native, panel.controller.board
    height, width = viewer.canvas.size
    zoom = viewer.scene.camera.zoom

    def at(row: float, column: float) -> tuple[float, float]:
        """Return where on the canvas the middle of a pixel of the slide lies, (x, y)."""
        return width / 2 + (column * 0.5 - 50) * zoom, height / 2 + (row * 0.5 - 50) * zoom

    qtbot.keyClick(canvas, Qt.Key.Key_C)  # opens a window for it
    edit = viewer.layers.selection.active
    assert (state.state.open, state.state.tool) == (True, "split")
    assert panel.tools.buttons["split"].isChecked()
    origin = np.round(np.asarray(edit.translate) / 0.5).astype(int)

    def found(value: int) -> np.ndarray:
        """Return where a class is, on the slide."""
        mask = np.zeros((600, 600), bool)
        top, left = origin
        mask[top : top + edit.data.shape[0], left : left + edit.data.shape[1]] = edit.data == value
        return mask

    nucleus = found(1)
    assert nucleus[32:48, 32:48].all()
    drag(viewer, qtbot, at(26, 40), at(40, 40), at(54, 40))
    assert label(found(1)).max() == 2
    assert state.state.message == "Split 1 object. Ctrl+Z undoes it."
    panel.controller.tick()
    assert state.state.counts[0].objects == 1235
    qtbot.keyClick(canvas, Qt.Key.Key_J)
    drag(viewer, qtbot, at(36, 36), at(40, 40), at(44, 44))
    assert np.array_equal(found(1), nucleus)
    qtbot.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert label(found(1)).max() == 2
    qtbot.keyClick(canvas, Qt.Key.Key_D)
    drag(viewer, qtbot, at(44, 44))
    assert (found(1)[:, :40] == nucleus[:, :40]).all()
    assert not found(1)[:, 40:].any()
    qtbot.keyClick(canvas, Qt.Key.Key_R)
    qtbot.keyClick(canvas, Qt.Key.Key_2)  # for the object under the mouse, if there is one: there is none now
    assert state.state.selected == 2
    drag(viewer, qtbot, at(28, 28), at(28, 44), at(52, 44), at(52, 28), at(30, 28))
    assert found(2).sum() == 16 * 8
    qtbot.keyClick(canvas, Qt.Key.Key_I)
    drag(viewer, qtbot, at(121, 101))
    grown = found(2)[100:140, 80:120]
    assert (grown & missed[100:140, 80:120]).sum() / (grown | missed[100:140, 80:120]).sum() > 0.85
    assert [layer.name for layer in viewer.layers if layer.name == "Stroke"] == []
    qtbot.keyClick(canvas, Qt.Key.Key_P)
    assert (state.state.tool, str(edit.mode)) == ("", "paint")
    qtbot.keyClick(canvas, Qt.Key.Key_A)
    assert [count.objects for count in state.state.counts] == [1233, 2]
    panel.controller.revert("0001")
    panel.queue.propose.click()
    assert panel.queue.list.item(0).text().startswith("1.  The model is unsure: entropy ")
    place = panel.queue.list.visualItemRect(panel.queue.list.item(0)).center()
    qtbot.mouseClick(panel.queue.list.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert panel.form.accept.isVisible()
    assert viewer.layers.selection.active.data.shape == (256, 256)
    panel.queue.clear.click()
    assert not panel.queue.list.isVisible()
    panel.controller.close()


def test_closing_over_edits_asks(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    from qtpy.QtCore import QTimer
    from qtpy.QtGui import QCloseEvent
    from qtpy.QtWidgets import QApplication, QMessageBox

    viewer = make_napari_viewer(show=True)
    panel = correcting(viewer, qtbot, tmp_path)
    asked: list[str] = []

    def close(answer: str) -> bool:
        """Answer the question; return whether the window stays, which the fixture could not take down."""

        def reply() -> None:
            box = next(item for item in QApplication.topLevelWidgets() if isinstance(item, QMessageBox))
            asked.append(box.text())
            next(button for button in box.buttons() if button.text().replace("&", "") == answer).click()
            box.deleteLater()

        QTimer.singleShot(100, reply)
        event = QCloseEvent()
        stays: bool = panel.eventFilter(viewer.window._qt_window, event)
        assert stays == (not event.isAccepted())
        return stays

    def edit() -> None:
        panel.controller.open()
        viewer.layers.selection.active.data[:4] = 2
        panel.controller.desk.autosave()

    store = CorrectionStore(tmp_path / "run")
    edit()
    assert close("Stay")
    assert panel.controller.desk.unsaved
    assert len(abandoned_drafts(tmp_path / "drafts")) == len(store.windows) == 0
    assert not close("Close without it")
    assert not panel.controller.desk.unsaved
    edit()
    assert not close("Accept and close")
    assert len(store.windows) == 1
    assert asked == ["What you have painted in the edit window is not accepted yet."] * 3
    assert not list((tmp_path / "drafts").iterdir())
    panel.controller.close()
