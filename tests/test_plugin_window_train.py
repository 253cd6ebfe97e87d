"""A training in a real window: its thread, its curves, the Run panel, and closing over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_lumen.models import available
from napari_lumen.plugin.controllers.train import TrainController
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.training_work import trainings_folder
from plugin_fakes import StepJobs
from test_plugin_train import CATALOGUE, SMALL, on_discs
from training_pictures import write_discs


def test_a_training_shows_its_curves_and_gives_the_run_panel_a_model(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    from qtpy.QtWidgets import QLineEdit, QSpinBox

    from napari_lumen.plugin.run_model_panel import RunModelPanel
    from napari_lumen.plugin.train_panel import TrainPanel

    viewer = make_napari_viewer()
    run = RunModelPanel(viewer)
    panel = TrainPanel(viewer, TrainController(viewer, Jobs(), lambda: CATALOGUE))
    for dock in (run, panel):
        viewer.window.add_dock_widget(dock)
    controller, form = panel.controller, panel.form
    qtbot.waitUntil(lambda: controller.state.recipe is not None, timeout=30_000)
    qtbot.waitUntil(lambda: bool(run.controller.state.models), timeout=30_000)
    form.data.data_chosen.emit("folder")
    form.data.folder_chosen.emit(write_discs(tmp_path / "discs"))
    for name, value in SMALL.items():
        form.numbers.number_set.emit(name, value)
    epochs, rates = form.numbers.control("epochs"), form.numbers.control("rates")
    assert isinstance(epochs, QSpinBox)
    assert isinstance(rates, QLineEdit)
    assert (epochs.value(), rates.text()) == (3, "[[0, 0.01]]")
    epochs.setValue(2)
    assert controller.state.numbers["epochs"] == 2
    assert "Adam's learning rate" in rates.toolTip()
    form.name.setText("discs")
    form.name.textEdited.emit("discs")
    controller.choose_device("cpu")
    qtbot.waitUntil(form.train.isEnabled, timeout=30_000)
    form.train.click()
    assert form.pause.isEnabled()
    qtbot.waitUntil(lambda: not controller.state.busy, timeout=60_000)
    assert "discs is in the Run model panel now" in form.status.text()
    qtbot.waitUntil(lambda: "discs" in [model.title for model in run.controller.state.models], timeout=30_000)
    (curve,) = form.curves.scores.listDataItems()
    assert list(curve.getData()[0]) == [4, 8]
    assert form.curves.score.currentData() == "dice"
    assert form.samples.isVisibleTo(form)
    assert available()["discs"].is_dir()


@pytest.mark.parametrize("answer", ["Stay", "Pause and close"])
def test_closing_the_window_over_a_training_asks(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path, answer: str
) -> None:
    from qtpy.QtCore import QTimer
    from qtpy.QtGui import QCloseEvent
    from qtpy.QtWidgets import QApplication, QMessageBox

    from napari_lumen.plugin.train_panel import TrainPanel

    viewer = make_napari_viewer(show=True)
    jobs = StepJobs()
    panel = TrainPanel(viewer, TrainController(viewer, jobs, lambda: CATALOGUE))
    viewer.window.add_dock_widget(panel)
    qtbot.waitUntil(panel.isVisible)
    on_discs(panel.controller, jobs, tmp_path / "discs")
    panel.controller.start()
    asked: list[str] = []

    def reply() -> None:
        box = next(item for item in QApplication.topLevelWidgets() if isinstance(item, QMessageBox))
        asked.append(box.text())
        next(button for button in box.buttons() if button.text().replace("&", "") == answer).click()

    QTimer.singleShot(100, reply)
    event = QCloseEvent()
    stays = panel.eventFilter(panel.window(), event)
    assert asked == ["The training discs has not finished."]
    assert stays == (answer == "Stay")
    assert (panel.controller.state.stage == "training") == stays
    assert event.isAccepted() != stays
    panel.controller.cancel()
    jobs.let_run()
    assert panel.controller.state.stage == "idle"
    assert [folder.name for folder in trainings_folder().iterdir()] == ([] if stays else ["discs"])
