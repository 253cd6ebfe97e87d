"""Closing a window over work: one question for all panels, and what becomes of each answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_lumen.annotations.formats import read_annotations
from napari_lumen.plugin.annotation_writer import write_geojson
from napari_lumen.plugin.controllers.annotations import AnnotationsController
from plugin_fakes import StepJobs

SQUARE = np.array([(10, 10), (10, 40), (40, 40), (40, 10)], float)


class Kept:
    """What a panel may lose; `done` says what became of it."""

    def __init__(self, what: str, *, droppable: bool, works: bool = True) -> None:
        self.what, self.droppable, self.works, self.done = what, droppable, works, ""

    def save(self) -> bool:
        self.done = "kept"
        return self.works

    def drop(self) -> None:
        self.done = "dropped"

    def close(self) -> None:
        self.closed = True


def window_with(qtbot: Any, *kept: Kept) -> Any:
    """Return a window with a panel for each."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QDockWidget, QMainWindow

    from napari_lumen.plugin.closing import AtStake
    from napari_lumen.plugin.panel import Panel

    class Losing(Panel):
        def __init__(self, one: Kept) -> None:
            super().__init__((one,))
            self._one = one

        def at_stake(self) -> tuple[AtStake, ...]:
            one = self._one
            drop = one.drop if one.droppable else None
            return () if one.done else (AtStake(one.what, "Keep and close", one.save, drop),)

    window = QMainWindow()
    qtbot.addWidget(window)
    for one in kept:
        dock = QDockWidget()
        dock.setWidget(Losing(one))
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    window.show()
    qtbot.waitExposed(window)
    return window


def close(window: Any, answer: str) -> list[str]:
    """Close a window, give an answer, and return what was asked."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QMessageBox

    asked: list[str] = []

    def reply() -> None:
        box = QApplication.activeModalWidget()
        assert isinstance(box, QMessageBox)
        asked.append(box.text())
        next(button for button in box.buttons() if button.text().replace("&", "") == answer).click()

    QTimer.singleShot(100, reply)
    window.close()
    return asked


def test_all_panels_ask_together_and_the_window_stays_where_the_user_says_so(qtbot: Any) -> None:
    edits, training = Kept("Edits.", droppable=True), Kept("A training.", droppable=False)
    window = window_with(qtbot, edits, training)
    assert close(window, "Stay") == ["Edits.\nA training."]
    assert window.isVisible()
    assert (edits.done, training.done) == ("", "")
    close(window, "Keep all and close")
    assert not window.isVisible()
    assert (edits.done, training.done) == ("kept", "kept")
    qtbot.waitUntil(lambda: hasattr(edits, "closed") and hasattr(training, "closed"))


def test_only_what_can_be_dropped_is_dropped(qtbot: Any) -> None:
    edits, training = Kept("Edits.", droppable=True), Kept("A training.", droppable=False)
    window = window_with(qtbot, edits, training)
    close(window, "Close without saving")
    assert not window.isVisible()
    assert (edits.done, training.done) == ("dropped", "kept")


def test_what_cannot_be_kept_keeps_the_window_open(qtbot: Any) -> None:
    edits = Kept("Edits.", droppable=True, works=False)
    window = window_with(qtbot, edits)
    assert close(window, "Keep and close") == ["Edits."]
    assert window.isVisible()


def test_nothing_is_asked_where_nothing_is_at_stake(qtbot: Any) -> None:
    edits = Kept("Edits.", droppable=True)
    edits.done = "kept"
    window = window_with(qtbot, edits)
    window.close()
    assert not window.isVisible()


def test_no_thread_of_a_panel_is_left_when_its_jobs_are_closed(qtbot: Any) -> None:
    from qtpy.QtCore import QThreadPool

    from napari_lumen.plugin.jobs import Callbacks, Jobs

    begun: list[int] = []
    jobs = Jobs()
    for number in range(12):  # more than there are threads

        def work(emit: Any, cancel: Any, number: int = number) -> None:
            begun.append(number)
            cancel.wait(20)

        jobs.start(work, Callbacks(lambda event: None, lambda done: None, lambda error: None, lambda: None))
    qtbot.waitUntil(lambda: bool(begun))
    jobs.close()
    assert QThreadPool.globalInstance().activeThreadCount() == 0
    before = len(begun)
    qtbot.wait(100)
    assert len(begun) == before < 12  # the others will never begin


@pytest.fixture
def drawing() -> Any:
    """A viewer with a layer of the Annotations panel, its controller and its jobs."""
    viewer, jobs = ViewerModel(), StepJobs(first_at_once=False)
    controller = AnnotationsController(viewer, jobs, author="Ada")
    controller.add_class("tumour")
    yield viewer, controller, jobs
    controller.close()


def test_what_is_drawn_is_at_stake_until_it_is_in_a_file(drawing: Any, tmp_path: Path) -> None:
    viewer, controller, jobs = drawing
    shapes = next(layer for layer in viewer.layers if hasattr(layer, "add_polygons"))
    assert controller.unkept() == ()  # nothing is drawn yet
    shapes.add_polygons(SQUARE)
    assert controller.unkept() == (shapes,)
    controller.save_file(tmp_path / "one.geojson")
    shapes.add_polygons(SQUARE + 100)  # while it is written
    jobs.let_run()
    assert controller.unkept() == (shapes,)
    assert controller.keep_now(shapes, tmp_path / "two.geojson")
    assert controller.unkept() == ()
    assert len(read_annotations(tmp_path / "two.geojson")) == 2
    shapes.add_polygons(SQUARE + 200)
    assert not controller.keep_now(shapes, tmp_path / "nowhere" / "three.geojson")
    assert controller.unkept() == (shapes,)


def test_what_napari_has_saved_is_not_at_stake(
    drawing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, controller, _ = drawing
    shapes = next(layer for layer in viewer.layers if hasattr(layer, "add_polygons"))
    shapes.add_polygons(SQUARE)
    monkeypatch.setattr("napari_lumen.plugin.annotation_writer.current_window", lambda: viewer)
    write_geojson(str(tmp_path / "saved.geojson"), [shapes.as_layer_data_tuple()])
    assert controller.unkept() == ()
