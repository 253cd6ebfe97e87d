"""The tools for whole objects: a button each."""

from __future__ import annotations

from functools import partial

from psygnal import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QWidget

from napari_lumen.plugin.controllers.correct_objects import TOOLS

_COLUMNS = 2


class ObjectToolRow(QWidget):
    """A button a tool; the one in hand is down."""

    toggled = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(QLabel("Objects"), 0, 0, 1, -1)
        self.buttons: dict[str, QPushButton] = {}
        for index, tool in enumerate(TOOLS, start=_COLUMNS):
            button = QPushButton(f"{tool.title} ({tool.key})")
            button.setToolTip(tool.hint)
            button.setCheckable(True)
            button.clicked.connect(partial(self._on_clicked, tool.name))
            layout.addWidget(button, index // _COLUMNS, index % _COLUMNS)
            self.buttons[tool.name] = button

    def show_tool(self, name: str, *, ready: bool) -> None:
        """Show which tool is in hand, "" for none, and whether one can be taken."""
        for of, button in self.buttons.items():
            button.setChecked(of == name)
            button.setEnabled(ready)

    def _on_clicked(self, name: str) -> None:
        self.toggled.emit(name)
