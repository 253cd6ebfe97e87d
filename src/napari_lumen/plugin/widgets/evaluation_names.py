"""As which class of a run each class of the truth counts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_lumen.plugin.controllers.evaluate_state import BACKGROUND
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lumen.plugin.controllers.evaluate_state import EvaluateState


class EvaluationNames(QWidget):
    """A row a class of the truth; hidden where the run has all of them."""

    counted = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.boxes: dict[str, QComboBox] = {}
        self._of_values = False
        self._rows = QWidget()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(QLabel("<b>Classes of the truth count as</b>"))
        self._layout.addWidget(self._rows)
        self.setVisible(False)

    def show_state(self, state: EvaluateState) -> None:
        """Show the classes; emits nothing."""
        names = dict(state.names)
        self.setVisible(bool(names))
        if (tuple(names), bool(state.values)) != (tuple(self.boxes), self._of_values):
            self._of_values = bool(state.values)
            self._make_rows(tuple(names))
        for name, target in names.items():
            choices: list[tuple[str, object]] = [(item, item) for item in state.known]
            choices += [(BACKGROUND.lower(), BACKGROUND), ("does not count", "")]
            if target is None:
                choices.insert(0, ("choose …", None))
            fill(self.boxes[name], choices, target, "")
            self.boxes[name].setEnabled(not state.busy)

    def _make_rows(self, names: Sequence[str]) -> None:
        old, self._rows = self._rows, QWidget()
        self._layout.replaceWidget(old, self._rows)
        old.deleteLater()
        grid = QGridLayout(self._rows)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        self.boxes = {}
        for row, name in enumerate(names):
            box = choice_box("The class of the run that it is compared with; several may be the same.")
            box.activated.connect(partial(self._on_chosen, name))
            title = f"Value {name}" if self._of_values else name or "no class"
            grid.addWidget(TextLabel(title), row, 0)
            grid.addWidget(box, row, 1)
            self.boxes[name] = box

    def _on_chosen(self, name: str, index: int) -> None:
        target = self.boxes[name].itemData(index)
        if target is not None:
            self.counted.emit(name, target)
