"""A panel in the narrowest dock that it takes: nothing is cut, and nothing scrolls sideways."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from superqt import QCollapsible

from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.geometry import Window
from napari_lumen.plugin.controllers.correct import CorrectController
from napari_lumen.plugin.controllers.train import TrainController
from napari_lumen.plugin.controllers.train_state import TrainState
from napari_lumen.plugin.correct_panel import CorrectPanel
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.live_training import LiveTraining
from napari_lumen.plugin.panel import Panel
from napari_lumen.plugin.recipe_fields import recipe_choice
from napari_lumen.plugin.results import add_result
from napari_lumen.plugin.slide_layers import slide_layer
from napari_lumen.plugin.train_panel import TrainPanel
from napari_lumen.plugin.training_data import DataFound
from napari_lumen.plugin.widgets.associated import FittedPicture
from napari_lumen.training.contents import ClassAmount, Contents, PartContents
from napari_lumen.training.recipes import RECIPES
from napari_lumen.training.samples import Sample
from plugin_fakes import StepJobs, write_run
from test_plugin_correct import AtOnce
from test_plugin_train import CATALOGUE

NARROWEST = 230  # px: what `Panel` asks for in a small window
NARROW = 268  # px: in one of 1220
LONG = "tumour-infiltrating lymphocytes and plasma cells"


def cut_off(panel: Panel, qtbot: Any, width: int = NARROWEST) -> list[str]:
    """Return what is too wide for a panel in a narrow dock, which scrolls up and down."""
    from napari._qt.qt_resources import get_stylesheet
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtWidgets import QScrollArea, QWidget

    qtbot.addWidget(panel)
    panel.setStyleSheet(get_stylesheet("dark"))  # its margins and arrows are wider than Qt's own
    panel.resize(width, 600)
    (scroll,) = panel.findChildren(QScrollArea)
    scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
    panel.show()
    qtbot.wait(20)  # what wraps takes its height
    inside = scroll.widget()
    assert inside is not None
    assert panel.width() == width
    widest = scroll.viewport().width()
    shown = [child for child in inside.findChildren(QWidget) if child.isVisible()]
    assert shown
    return [
        f"{type(child).__name__} {getattr(child, 'text', str)()}: {right} of {widest} px"
        for child in shown
        if (right := child.mapTo(inside, QPoint(child.width(), 0)).x()) > widest
    ]


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_the_train_panel_fits_with_every_number_unfolded(recipe: str, qtbot: Any) -> None:
    controller = TrainController(ViewerModel(), StepJobs(), lambda: CATALOGUE)
    panel = TrainPanel(ViewerModel(), controller)
    choice = recipe_choice(RECIPES[recipe])
    panel.form.show_state(TrainState(recipes=(choice,), recipe=choice))
    panel.form.numbers.findChild(QCollapsible).expand(animate=False)
    assert cut_off(panel, qtbot) == []
    controller.close()


@pytest.mark.parametrize("said", ["", f"{LONG}, and it is {LONG}"])
def test_the_train_panel_fits_while_it_shows_curves_pictures_and_data(said: str, qtbot: Any) -> None:
    controller = TrainController(ViewerModel(), StepJobs(), lambda: CATALOGUE)
    panel = TrainPanel(ViewerModel(), controller)
    amounts = (ClassAmount(LONG, 1_234_567, 9), ClassAmount("background", 123, 9))
    parts = tuple(PartContents(name, 1234, amounts) for name in ("train", "validation"))
    found = DataFound({}, {}, ClassTable.named([LONG]), Contents("pixels", parts), LONG)
    picture, labels = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), np.uint8)
    sample = Sample("a", picture, said=said) if said else Sample("a", picture, labels, labels)
    curve = [1, 2], [0.5, 0.25]
    live = LiveTraining(
        "training", 1, 8, 2, 4, {"loss": curve}, {f"dice of {LONG}": curve}, {f"dice of {LONG}": 0.1},
        samples=[sample],
    )  # fmt: skip
    state = TrainState(
        data="folder", folder=Path(LONG), found=found, live=live, unfinished=(LONG,), result=LONG * 4
    )
    panel.form.show_state(state)
    assert cut_off(panel, qtbot) == []
    pictures = panel.form.samples.findChildren(FittedPicture)
    assert [shown.width() >= 80 for shown in pictures] == [True] * (1 if said else 2)
    controller.close()


def test_the_correct_panel_fits_with_counts_and_corrected_windows(qtbot: Any, tmp_path: Path) -> None:
    viewer = ViewerModel()
    slide = ArraySlide(np.full((600, 600, 3), 200, np.uint8))
    slide.location = slide.path = tmp_path / "case.tif"
    layer = Layer.create(*slide_layer(slide))
    viewer.layers.append(layer)
    run = write_run(tmp_path / "run", slide, Window(32, 32, 16, 16), step=1.0)
    add_result(viewer, layer, run_layers(run, LONG))
    panel = CorrectPanel(viewer, CorrectController(viewer, AtOnce(), tmp_path / "drafts"))
    panel.controller.open()
    panel.controller.accept()
    assert panel.windows.list.count() == 1
    assert panel.classes.buttons
    assert cut_off(panel, qtbot, NARROW) == []
    panel.controller.close()


@pytest.mark.parametrize("name", ["annotations", "project", "evaluate"])
def test_a_dock_is_no_narrower_than_what_its_panel_needs(name: str, qtbot: Any) -> None:
    from napari._qt.qt_resources import get_stylesheet

    module = import_module(f"napari_lumen.plugin.{name}_panel")
    panel = getattr(module, f"{name.capitalize()}Panel")(ViewerModel())
    qtbot.addWidget(panel)
    panel.setStyleSheet(get_stylesheet("dark"))
    panel.show()
    qtbot.wait(20)
    assert cut_off(panel, qtbot, panel.minimumSizeHint().width()) == []
    panel.controller.close()
