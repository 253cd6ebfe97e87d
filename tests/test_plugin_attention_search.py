"""An architecture search in the window: live weights, the cells that were found, and what is half written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from psygnal import Signal

from napari_lumen.models.genotype import Genotype
from napari_lumen.plugin.controllers.attention_search import MODEL, SearchController
from test_explain_architecture import searched
from test_plugin_correct import AtOnce


class Looked:
    """What of an AttentionController the search hears."""

    chosen = Signal(object)

    def look_at(self, title: str, **arguments: Any) -> None:
        card = SimpleNamespace(title=title, network_arguments=arguments)
        self.chosen.emit(SimpleNamespace(source=SimpleNamespace(card=card)))


@pytest.fixture
def attention() -> Any:
    return Looked()


@pytest.fixture
def search(attention: Any) -> SearchController:
    return SearchController(attention, AtOnce())


def test_a_search_that_goes_on_is_shown_as_it_grows_and_read_only_when_it_has_written(
    search: SearchController, tmp_path: Path
) -> None:
    folder = tmp_path / "trial"
    searched(folder / "search", 1)
    search.open_folder(folder)
    assert search.state.said == "Going on: 1 epoch so far."
    assert search.state.watched
    before = search.state
    search.look()
    assert search.state.history is before.history  # nothing new, nothing read
    networks = searched(folder / "search", 4)
    search.look()
    history = search.state.history
    assert history is not None
    assert len(history.of("U4", "sam").epochs) == 4
    assert search.state.genotype == networks[-1].genotype()
    (folder / "search" / "genotype.json").write_text(networks[1].genotype().model_dump_json())
    search.look()
    assert search.state.genotype == networks[1].genotype()
    assert search.state.said == "Finished after 4 epochs."
    assert not search.state.watched


def test_a_half_written_table_leaves_what_was_read_and_is_read_again(
    search: SearchController, tmp_path: Path
) -> None:
    searched(tmp_path, 2)
    search.open_folder(tmp_path)
    shown = search.state.history
    assert shown is not None
    table = tmp_path / "alphas.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    search.look()
    assert search.state.history is shown
    assert "is damaged" in search.state.message
    table.write_bytes(whole)
    search.look()
    assert search.state.message == ""
    assert search.state.history is not shown


def test_a_folder_without_a_search_says_what_to_choose(search: SearchController, tmp_path: Path) -> None:
    search.open_folder(tmp_path / "nothing")
    assert "appears with its first epoch" in search.state.message
    assert search.state.genotype is None
    assert search.state.watched  # the first epoch may come
    searched(tmp_path / "nothing", 1)
    search.look()
    assert search.state.genotype is not None
    assert search.state.message == ""


def test_the_genotype_of_the_model_that_is_looked_at_is_shown_without_weights(
    search: SearchController, attention: Any, tmp_path: Path
) -> None:
    attention.look_at("U-Net", width=4)
    assert search.state.choices == ()
    found = Genotype.uniform("conv3", "conv9")
    attention.look_at("NAS-SCAM", genotype=found.model_dump(mode="json"))
    assert (search.state.choice, search.state.genotype) == (MODEL, found)
    assert "open the folder of its search" in search.state.message
    searched(tmp_path)
    search.open_folder(tmp_path)
    attention.look_at("Other NAS-SCAM", genotype=Genotype.uniform("conv1", "conv1"))
    assert search.state.choice == str(tmp_path)  # what the user has opened stays
    assert search.state.choices[0] == (MODEL, "Other NAS-SCAM")


def test_the_tool_says_weights_under_the_mouse_and_shows_the_position_that_is_clicked(
    qtbot: Any, search: SearchController, attention: Any, tmp_path: Path
) -> None:
    from qtpy.QtCore import QPointF, Qt

    from napari_lumen.plugin.widgets.attention_search import SearchTool

    searched(tmp_path, 3)
    tool = SearchTool(attention, search)
    qtbot.addWidget(tool)
    tool.resize(360, 1000)
    tool.show()
    assert tool.winners.isHidden()
    search.open_folder(tmp_path)
    history = search.state.history
    assert history is not None
    assert not tool.winners.isHidden()
    assert tool.minimumSizeHint().width() <= 360
    qtbot.mouseClick(
        tool.winners,
        Qt.MouseButton.LeftButton,
        pos=tool.winners.column_box("D2").center().toPoint(),
    )
    assert search.state.position == "D2"
    weights = history.of("D2", "sam")
    said = {tool.weights.weight_at(QPointF(x, y)) for x in range(360) for y in range(0, 700, 4)}
    expected = {
        f"Edge {edge}, {operation}, epoch {epoch + 1}: {weights.values[epoch, row, column]:.3f}"
        for epoch in range(3)
        for row, edge in enumerate(weights.edges)
        for column, operation in enumerate(weights.operations)
    }
    assert said - {""} == expected
    tool.all.click()
    assert tool.cells is not None
    assert tool.cells.isVisible()
    tool.hide()  # another tool is looked at
    tool.cells.setParent(None)
    tool.cells.show()
    searched(tmp_path, 4)
    qtbot.waitUntil(lambda: len(search.state.history.weights[0].values) == 4, timeout=20_000)
    tool.cells.hide()
    qtbot.waitUntil(lambda: not tool._timer.isActive(), timeout=20_000)
    search.choose_cell("cam")
    assert "D2" in tool.weights_heading.text()
    search.close()
