"""The Attention form: whose maps, the tree of them, and what the colours of the shown one mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.plugin.widgets.attention_legend import MapLegend
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    from napari_lumen.plugin.attention_tree import Node
    from napari_lumen.plugin.controllers.attention_reading import Reading
    from napari_lumen.plugin.controllers.attention_state import AttentionState

_ROWS = 9
_NAME = Qt.ItemDataRole.UserRole


class AttentionForm(QWidget):
    """Slide, source, model, the tree and the legend."""

    slide_chosen = Signal(str)
    source_chosen = Signal(str)
    model_chosen = Signal(object)  # Path
    map_chosen = Signal(str)
    explain_clicked = Signal()
    cancel_clicked = Signal()
    slide_found = Signal(object)  # Path

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slide = choice_box("The slide. It is chosen by itself when one is open.")
        self.source = choice_box("Whose maps: a run that is shown, or the field that was explained last.")
        self.model = choice_box("The model that explains the current view; no run is needed.")
        self.explain = QPushButton("Explain this view")
        self.cancel = QPushButton("Cancel")
        self.finder = QPushButton("Find the slide …")
        self.finder.setToolTip("Open the run's slide from where it lies now; it is found there from then on.")
        self.status = TextLabel()
        self.tree = QTreeWidget()
        self.legend = MapLegend()
        self.card = TextLabel()
        self._shown: tuple[Node, ...] | None = None
        self._lay_out()
        self._connect()

    def show_state(self, state: AttentionState) -> None:
        """Show a state; emits nothing."""
        idle = not state.busy
        fill(self.slide, [(name, name) for name in state.slides], state.slide, "No slide is open")
        sources: list[tuple[str, object]] = [(item.title, item.key) for item in state.sources]
        fill(self.source, sources, state.source, "No run is shown, no field explained")
        models: list[tuple[str, object]] = [(item.title, item.path) for item in state.models]
        chosen = None if state.model is None else state.model.path
        fill(self.model, models, chosen, "Looking for models …")
        self.source.setToolTip(self.source.currentText())  # it is often too long for the box
        for control in (self.slide, self.source, self.model):
            control.setEnabled(idle)
        self.explain.setEnabled(idle and state.blocked is None)
        self.explain.setToolTip(
            state.blocked or "Send what is in view through the model, and record all that it looks at."
        )
        self.cancel.setEnabled(not idle and not state.cancelling)
        said = "Cancelling …" if state.cancelling else state.busy or state.message or state.blocked or ""
        said = "\n".join(text for text in (said or state.hint, "" if state.busy else state.wanted) if text)
        self.status.setText(said)
        self.status.setVisible(bool(said))
        self.finder.setVisible(state.missing is not None)
        self.finder.setEnabled(idle)
        self._show_tree(state)
        self.legend.show_legend(state.legend)

    def show_reading(self, reading: Reading | None) -> None:
        """Show what lies under the cursor."""
        lines = () if reading is None else reading.said
        self.card.setText("\n".join(lines))
        self.card.setVisible(bool(lines))

    def _show_tree(self, state: AttentionState) -> None:
        with QSignalBlocker(self.tree):
            if state.tree is not self._shown:
                self._shown = state.tree
                self.tree.clear()
                for node in state.tree:
                    self.tree.addTopLevelItem(_item(node))
                self.tree.expandAll()
            self.tree.setVisible(bool(state.tree))
            for item in _walk(self.tree.invisibleRootItem()):
                if item.data(0, _NAME) is not None and item.data(0, _NAME) == state.chosen:
                    self.tree.setCurrentItem(item)
                    return
            self.tree.setCurrentItem(None)

    def _lay_out(self) -> None:
        self.tree.setHeaderHidden(True)
        self.tree.setIndentation(14)
        self.tree.setFixedHeight(_ROWS * (self.tree.fontMetrics().height() + 6))
        self.tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.addRow("Slide", self.slide)
        form.addRow("Model", self.model)
        buttons = QHBoxLayout()
        buttons.addWidget(self.explain, 2)
        buttons.addWidget(self.cancel, 1)
        maps = QFormLayout()
        maps.setContentsMargins(0, 0, 0, 0)
        maps.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        maps.addRow("Maps of", self.source)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addLayout(maps)
        layout.addWidget(self.status)
        layout.addWidget(self.finder)
        layout.addWidget(self.tree)
        layout.addWidget(self.legend)
        layout.addWidget(self.card)

    def _connect(self) -> None:
        self.slide.activated.connect(self._on_slide)
        self.source.activated.connect(self._on_source)
        self.model.activated.connect(self._on_model)
        self.tree.currentItemChanged.connect(self._on_item)
        self.explain.clicked.connect(self._on_explain)
        self.cancel.clicked.connect(self._on_cancel)
        self.finder.clicked.connect(self._on_find)
        self.legend.raw_clicked.connect(self.map_chosen)

    def _on_slide(self, index: int) -> None:
        if self.slide.itemData(index) is not None:
            self.slide_chosen.emit(self.slide.itemData(index))

    def _on_source(self, index: int) -> None:
        if self.source.itemData(index) is not None:
            self.source_chosen.emit(self.source.itemData(index))

    def _on_model(self, index: int) -> None:
        if self.model.itemData(index) is not None:
            self.model_chosen.emit(self.model.itemData(index))

    def _on_item(self, item: QTreeWidgetItem | None, before: QTreeWidgetItem | None) -> None:
        name = None if item is None else item.data(0, _NAME)
        if name is not None:
            self.map_chosen.emit(name)

    def _on_explain(self) -> None:
        self.explain_clicked.emit()

    def _on_find(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Slide of the run")
        if path:
            self.slide_found.emit(Path(path))

    def _on_cancel(self) -> None:
        self.cancel_clicked.emit()


def _item(node: Node) -> QTreeWidgetItem:
    item = QTreeWidgetItem([node.title])
    tip = node.description
    if not node.comparable:
        tip += " Normalised in each tile: values of two tiles cannot be compared."
    item.setToolTip(0, tip)
    if node.kind == "part":
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
    else:
        item.setData(0, _NAME, node.name)
    for child in node.children:
        item.addChild(_item(child))
    return item


def _walk(item: QTreeWidgetItem | None) -> list[QTreeWidgetItem]:
    if item is None:
        return []
    children = [child for index in range(item.childCount()) if (child := item.child(index)) is not None]
    return [found for child in children for found in (child, *_walk(child))]
