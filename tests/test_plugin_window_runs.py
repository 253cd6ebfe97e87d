"""Runs and foreign models in a real window.

napari registers our commands once: the tests that do so themselves, without a window, come before these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_lumen.plugin.catalogue import Catalogue, ModelChoice
from napari_lumen.plugin.controllers.run_model import RunModelController
from napari_lumen.plugin.controllers.slides import SlideLayers
from plugin_fakes import CATALOGUE, MODEL, StepJobs
from test_plugin_arrivals import assert_aligned, opened, run_of, slide_file, slides_in
from test_plugin_foreign import open_slide

THEIRS = ModelChoice(
    Path("theirs"), "<p>Ours: it runs no code.</p><!--", "Finds tumour.", "None.", "its TorchScript"
)


@pytest.mark.parametrize("slide_first", [True, False])
def test_a_slide_that_the_window_shows_is_not_opened_twice(
    make_napari_viewer: Any, tmp_path: Path, slide_first: bool
) -> None:
    viewer = make_napari_viewer()
    path = slide_file(tmp_path / "case.tif", sized=False)
    run = run_of(path, tmp_path / "run", mpp=0.5)
    (slide, *_) = opened(viewer, path if slide_first else run)
    moved = path.rename(tmp_path / "renamed.tif")  # known again by its content
    *_, labels = opened(viewer, run)
    assert slides_in(viewer) == [slide]
    assert viewer.layers[0] is slide
    assert_aligned(slide, labels)
    assert moved.exists()
    SlideLayers(viewer).give_pixel_size(slide, 0.25)
    assert_aligned(slide, labels)


def test_a_run_that_is_dropped_on_the_window_brings_its_slide(
    make_napari_viewer: Any, qtbot: Any, told: list[Any], tmp_path: Path
) -> None:
    from qtpy.QtCore import QTimer

    viewer = make_napari_viewer(show=True)
    run = run_of(slide_file(tmp_path / "case.tif"), tmp_path / "run")
    drop = lambda: viewer.window._qt_viewer._qt_open([str(run)], stack=False, plugin="napari-lumen")  # noqa: E731
    QTimer.singleShot(0, drop)
    qtbot.waitUntil(lambda: len(viewer.layers) == 5, timeout=30_000)
    (slide,) = slides_in(viewer)
    assert viewer.layers[0] is slide
    assert_aligned(slide, viewer.layers[-1])
    assert viewer.canvas.overlays.scale_bar.visible
    QTimer.singleShot(0, drop)
    qtbot.waitUntil(lambda: len(viewer.layers) == 9, timeout=30_000)
    assert slides_in(viewer) == [slide]
    assert not told


@pytest.mark.parametrize("answer", ["Trust and run", "Cancel"])
def test_the_panel_asks_and_does_what_it_is_told(make_napari_viewer: Any, qtbot: Any, answer: str) -> None:
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QMessageBox

    from napari_lumen.plugin.run_model_panel import RunModelPanel

    viewer = make_napari_viewer()
    jobs = StepJobs()
    catalogue = Catalogue((THEIRS, MODEL), CATALOGUE.devices)
    panel = RunModelPanel(viewer, RunModelController(viewer, jobs, catalogue=lambda: catalogue))
    qtbot.addWidget(panel)
    open_slide(viewer)
    shown: list[str] = []

    def reply() -> None:
        box = next(item for item in QApplication.topLevelWidgets() if isinstance(item, QMessageBox))
        shown.append(f"{box.text()} {box.informativeText()}")
        next(button for button in box.buttons() if button.text().replace("&", "") == answer).click()

    QTimer.singleShot(100, reply)
    panel.form.run.click()
    (text,) = shown
    assert "its TorchScript can run any code" in text
    assert "&lt;p&gt;Ours: it runs no code.&lt;/p&gt;&lt;!--" in text  # its title hides nothing
    assert panel.controller.state.running == (answer == "Trust and run")
    panel.controller.close()
