"""The windows that were corrected: who, when and what; going there, and taking one back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.plugin.widgets.controls import short_list
from napari_lumen.plugin.wording import corrected

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.corrections import CorrectedWindow

_NAME = Qt.ItemDataRole.UserRole


class CorrectedList(QWidget):
    """A list, newest first."""

    go_clicked = Signal(str)
    revert_clicked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = QLabel()
        self.list = short_list()
        self.go = QPushButton("Go to")
        self.revert = QPushButton("Revert")
        self.revert.setToolTip("What this window has changed no longer counts. Its files stay.")
        buttons = QHBoxLayout()
        buttons.addWidget(self.go)
        buttons.addWidget(self.revert)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addWidget(self.list)
        layout.addLayout(buttons)
        self._shown: tuple[CorrectedWindow, ...] | None = None
        self._busy = False
        self.list.itemSelectionChanged.connect(self._enable)
        self.list.itemDoubleClicked.connect(self._on_go)
        self.go.clicked.connect(self._on_go)
        self.revert.clicked.connect(self._on_revert)

    def show_windows(
        self, windows: tuple[CorrectedWindow, ...], classes: ClassTable | None, *, busy: bool
    ) -> None:
        """Show the windows that count."""
        self._busy = busy
        if windows != self._shown and classes is not None:
            self._shown = windows
            self.list.clear()
            for window in reversed(windows):
                item = QListWidgetItem(f"{window.name}   {wall_time(window.time)}   {window.author or ''}")
                item.setData(_NAME, window.name)
                item.setToolTip(corrected(window, classes))
                self.list.addItem(item)
            self.title.setText(f"Corrected windows: {len(windows)}")
        self.setVisible(bool(windows) and classes is not None)
        self._enable()

    def _enable(self) -> None:
        chosen = bool(self.list.selectedItems())
        self.go.setEnabled(chosen)
        self.revert.setEnabled(chosen and not self._busy)

    def _name(self) -> str | None:
        items = self.list.selectedItems()
        return items[0].data(_NAME) if items else None

    def _on_go(self, item: object = None) -> None:
        name = self._name()
        if name is not None:
            self.go_clicked.emit(name)

    def _on_revert(self) -> None:
        name = self._name()
        if name is not None:
            self.revert_clicked.emit(name)


def wall_time(text: str | None) -> str:
    """Return a time of the index as a clock on the wall shows it."""
    try:
        return datetime.fromisoformat(text or "").astimezone().strftime("%d %b %H:%M")
    except ValueError:
        return ""
