"""A window with the cells of all positions side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QDialog, QFileDialog, QGridLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_lumen.plugin.widgets.attention_search_graph import CellGraphView

if TYPE_CHECKING:
    from napari_lumen.explain.search_history import SearchHistory
    from napari_lumen.models.genotype import Genotype

_SIZE = QSize(1320, 900)
_COLUMNS = 4  # positions on the way down, below them those on the way up


class AllCells(QDialog):
    """Shows the graphs of a genotype: spatial cells above channel cells, D1 to D4 above U1 to U4."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Cells of all positions")
        self._views = [CellGraphView() for _ in range(4 * _COLUMNS)]
        self._inside = QWidget()
        grid = QGridLayout(self._inside)
        for number, view in enumerate(self._views):  # in pairs of spatial and channel, by position
            position, cell = divmod(number, 2)
            down, column = divmod(position, _COLUMNS)
            grid.addWidget(view, 2 * down + cell, column)
        scroll = QScrollArea()
        scroll.setWidget(self._inside)
        scroll.setWidgetResizable(True)
        self.save = QPushButton("Save picture …")
        self.save.clicked.connect(self._on_save)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll)
        layout.addWidget(self.save, 0, Qt.AlignmentFlag.AlignRight)
        screen = self.screen()
        self.resize(_SIZE if screen is None else _SIZE.boundedTo(screen.availableSize()))

    def show_found(self, genotype: Genotype, history: SearchHistory | None) -> None:
        """Show the cells, with the weights of the last epoch where they are known."""
        from napari_lumen.explain.cell_graph import cell_graphs

        for view, graph in zip(self._views, cell_graphs(genotype, history), strict=True):
            view.show_graph(graph)

    def _on_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Picture of the cells", "cells.png", "PNG (*.png)")
        if path:
            self._inside.grab().save(path if path.endswith(".png") else f"{path}.png")
