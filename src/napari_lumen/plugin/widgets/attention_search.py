"""The Search tool: weights of an architecture search over epochs, and the cells that it found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from napari_lumen.plugin.controllers.attention_search import SearchController
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.widgets.attention_search_cells import AllCells
from napari_lumen.plugin.widgets.attention_search_graph import CellGraphView
from napari_lumen.plugin.widgets.attention_search_table import WeightsTable
from napari_lumen.plugin.widgets.attention_search_winners import WinnersTable
from napari_lumen.plugin.widgets.attention_tools import Tool
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.controllers.attention_search import SearchState
    from napari_lumen.plugin.panel import Closable

_LOOK = 2000  # ms between two looks at a search that goes on
_CELLS = (("sam", "Spatial cell"), ("cam", "Channel cell"))


class SearchTool(Tool):
    """Shows a `SearchState`.

    Parameters
    ----------
    attention : AttentionController
    controller : SearchController, optional
        For tests; made here otherwise.
    """

    title: ClassVar[str] = "Search"
    tip: ClassVar[str] = "What an architecture search (NAS-SCAM) has tried and found, live while it goes on."

    def __init__(self, attention: AttentionController, controller: SearchController | None = None) -> None:
        super().__init__(attention)
        self.controller = controller or SearchController(attention, Jobs(patience=1.0))
        self.choice = choice_box("A search, or the NAS-SCAM model whose map is looked at.")
        self.folder = QPushButton("Folder …")
        self.folder.setToolTip("Open the folder of an architecture search, finished or going on.")
        self.status = TextLabel()
        self.cell = choice_box("Every position has a cell for the spatial map and one for the channel gates.")
        self.winners_heading = QLabel("Found on each edge (c: convolution, d: dilated)")
        self.winners = WinnersTable()
        self.graph = CellGraphView()
        self.weights_heading = QLabel()
        self.weights = WeightsTable()
        self.all = QPushButton("All positions side by side …")
        self.all.setToolTip("Open a window with the graphs of all positions.")
        self.cells: AllCells | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK)
        self._lay_out()
        self._connect()
        self.show_state(self.controller.state)

    def closables(self) -> tuple[Closable, ...]:
        """Return the controller, which must be closed with the panel."""
        return (self.controller,)

    def show_state(self, state: SearchState) -> None:
        """Show a state; emits nothing."""
        fill(self.choice, [(title, key) for key, title in state.choices], state.choice, "No search is open")
        fill(self.cell, [(text, value) for value, text in _CELLS], state.cell, "")
        said = "\n".join(part for part in (state.said, state.message) if part)
        self.status.setText(said)
        self.status.setVisible(bool(said))
        found = state.genotype is not None
        for part in (self.cell, self.winners_heading, self.winners, self.graph, self.all):
            part.setVisible(found)
        self.winners.show_genotype(state.genotype, state.cell, state.position)
        self._show_graph(state)
        self._show_weights(state)
        if self.cells is not None and state.genotype is not None:
            self.cells.show_found(state.genotype, state.history)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802  # Qt's name
        """Look for what a search has noted, as long as the tab is seen."""
        super().showEvent(event)
        self._timer.start()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802  # Qt's name
        """Leave a search alone that nobody looks at, here or in the window of all positions."""
        super().hideEvent(event)
        if self.cells is None or not self.cells.isVisible():
            self._timer.stop()

    def _show_graph(self, state: SearchState) -> None:
        if state.genotype is None:
            self.graph.show_graph(None)
            return
        from napari_lumen.explain.cell_graph import cell_graph

        history = state.history
        weights = None if history is None else history.of(state.position, state.cell)
        self.graph.show_graph(cell_graph(state.genotype, state.position, state.cell, weights))

    def _show_weights(self, state: SearchState) -> None:
        history = state.history
        known = history is not None and bool(history.weights)
        self.weights.setVisible(known)
        self.weights_heading.setVisible(known)
        if history is None or not known:
            self.weights.show_weights(None)
            return
        weights = history.of(state.position, state.cell)
        self.weights_heading.setText(f"Weights over epochs, {weights.position}; at the right, the last")
        self.weights.show_weights(weights)

    def _lay_out(self) -> None:
        first = QHBoxLayout()
        first.setContentsMargins(0, 0, 0, 0)
        first.addWidget(self.choice, 1)
        first.addWidget(self.folder)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addLayout(first)
        for part in (
            self.status,
            self.cell,
            self.winners_heading,
            self.winners,
            self.graph,
            self.weights_heading,
            self.weights,
            self.all,
        ):
            layout.addWidget(part)
        layout.addStretch(1)

    def _connect(self) -> None:
        controller = self.controller
        self.choice.activated.connect(self._on_choice)
        self.folder.clicked.connect(self._on_folder)
        self.cell.activated.connect(self._on_cell)
        self.all.clicked.connect(self._on_all)
        self.winners.position_clicked.connect(controller.choose_position)
        self._timer.timeout.connect(self._on_tick)
        controller.changed.connect(self.show_state)

    def _on_choice(self, index: int) -> None:
        if self.choice.itemData(index) is not None:
            self.controller.choose(self.choice.itemData(index))

    def _on_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of an architecture search")
        if folder:
            self.controller.open_folder(Path(folder))

    def _on_cell(self, index: int) -> None:
        self.controller.choose_cell(self.cell.itemData(index))

    def _on_tick(self) -> None:
        if not self.isVisible() and (self.cells is None or not self.cells.isVisible()):
            self._timer.stop()
        elif self.controller.state.watched:
            self.controller.look()

    def _on_all(self) -> None:
        if self.cells is None:
            self.cells = AllCells(self)
        state = self.controller.state
        if state.genotype is not None:
            self.cells.show_found(state.genotype, state.history)
            self.cells.show()
            self.cells.raise_()
