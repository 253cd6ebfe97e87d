"""The queue of fields that are worth correcting next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.plugin.widgets.controls import choice_box, fill, short_list

if TYPE_CHECKING:
    from napari_lumen.corrections.proposals import Proposal

_INDEX = Qt.ItemDataRole.UserRole


class ProposalQueue(QWidget):
    """What makes a field worth it, and a list, the best first; a click goes there."""

    proposed = Signal(str)
    chosen = Signal(int)
    cleared = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.way: QComboBox = choice_box("What makes a field worth correcting.")
        self.propose = QPushButton("Propose")
        self.propose.setToolTip("Find the fields that teach the model most, and box them on the slide.")
        self.clear = QPushButton("Clear")
        self.list = short_list()
        self.list.setToolTip("A click opens an edit window there; N takes the next.")
        self._shown: tuple[Proposal, ...] = ()
        row = QHBoxLayout()
        row.addWidget(self.propose)
        row.addWidget(self.clear)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("What to correct next: where …"))
        layout.addWidget(self.way)
        layout.addLayout(row)
        layout.addWidget(self.list)
        self.propose.clicked.connect(self._on_propose)
        self.clear.clicked.connect(self._on_clear)
        self.list.itemClicked.connect(self._on_item)

    def show_queue(
        self,
        ways: tuple[tuple[str, str], ...],
        proposals: tuple[Proposal, ...],
        *,
        ready: bool,
        looking: bool,
    ) -> None:
        """Show how fields can be found, and what was found; emits nothing."""
        self.setVisible(bool(ways))
        fill(self.way, [(text, way) for way, text in ways], self.way.currentData(), "–")
        self.propose.setEnabled(ready)
        self.clear.setText("Stop" if looking else "Clear")
        self.clear.setVisible(bool(proposals) or looking)
        self.list.setVisible(bool(proposals))
        if proposals == self._shown:
            return
        self._shown = proposals
        self.list.clear()
        for index, proposal in enumerate(proposals):
            item = QListWidgetItem(f"{index + 1}.  {proposal.reason}")
            item.setData(_INDEX, index)
            item.setToolTip(proposal.reason)
            self.list.addItem(item)

    def _on_propose(self) -> None:
        way = self.way.currentData()
        if way is not None:
            self.proposed.emit(way)

    def _on_clear(self) -> None:
        self.cleared.emit()

    def _on_item(self, item: QListWidgetItem) -> None:
        self.chosen.emit(item.data(_INDEX))
