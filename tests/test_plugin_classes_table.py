"""The table of classes: what the user types and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_lumen.plugin.annotation_reader import annotation_layers
from napari_lumen.plugin.controllers.annotations import AnnotationsController
from napari_lumen.plugin.widgets.annotation_classes import COUNT, KEY, NAME, ClassesTable
from plugin_fakes import StepJobs
from test_plugin_annotations_panel import FOUND, FRAME


@pytest.fixture
def table(qtbot: Any) -> ClassesTable:
    viewer = ViewerModel()
    controller = AnnotationsController(viewer, StepJobs(first_at_once=False), author="Ada")
    for data in annotation_layers(FOUND, FRAME, "demo"):
        viewer.add_layer(Layer.create(*data))
    table = ClassesTable()
    qtbot.addWidget(table)
    table.renamed.connect(controller.rename)
    table.keyed.connect(controller.give_key)
    table.shown.connect(controller.show_class)
    table.chosen.connect(controller.choose_class)
    controller.changed.connect(lambda state: table.show_rows(state.rows, state.chosen))
    table.show_rows(controller.state.rows, controller.state.chosen)
    return table


def texts(table: ClassesTable, column: int) -> list[str]:
    items = [table.item(row, column) for row in range(table.rowCount())]
    return [item.text() for item in items if item is not None]


@pytest.mark.parametrize(("column", "typed"), [(NAME, "tumour"), (NAME, " "), (KEY, "11"), (KEY, "x")])
def test_a_refused_name_or_key_leaves_the_table_as_it_was(
    table: ClassesTable, told: list[Any], column: int, typed: str
) -> None:
    before = [texts(table, each) for each in (NAME, KEY, COUNT)]
    item = table.item(1, column)
    assert item is not None
    item.setText(typed)
    assert told
    assert [texts(table, each) for each in (NAME, KEY, COUNT)] == before
    table.selectRow(1)
    assert table.selected() == "stroma"
    item = table.item(1, NAME)
    assert item is not None
    item.setText("connective")
    assert texts(table, NAME) == ["tumour", "connective"]
