"""Edits that were not accepted before napari ended: offered back."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_lumen.plugin.widgets.controls import TextLabel
from napari_lumen.plugin.widgets.correct_windows import wall_time

if TYPE_CHECKING:
    from napari_lumen.corrections import DraftRecord


class DraftOffers(QWidget):
    """A sentence and two buttons for each."""

    restore_clicked = Signal(Path)
    forget_clicked = Signal(Path)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._shown: tuple[tuple[Path, DraftRecord], ...] = ()
        self.restore: list[QPushButton] = []
        self.forget: list[QPushButton] = []

    def show_drafts(self, drafts: tuple[tuple[Path, DraftRecord], ...]) -> None:
        """Show what there is."""
        self.setVisible(bool(drafts))
        if drafts == self._shown:
            return
        self._shown = drafts
        while (item := self._layout.takeAt(0)) is not None:
            before = item.widget()
            if before is not None:
                before.hide()
                before.deleteLater()
        self.restore, self.forget = [], []
        for folder, record in drafts:
            self._layout.addWidget(self._offer(folder, record))

    def _offer(self, folder: Path, record: DraftRecord) -> QWidget:
        offer = QWidget()
        restore, forget = QPushButton("Restore"), QPushButton("Delete")
        restore.clicked.connect(partial(self._on_restore, folder))
        forget.clicked.connect(partial(self._on_forget, folder))
        self.restore.append(restore)
        self.forget.append(forget)
        buttons = QHBoxLayout()
        buttons.addWidget(restore)
        buttons.addWidget(forget)
        layout = QVBoxLayout(offer)
        layout.setContentsMargins(0, 0, 0, 6)
        layout.addWidget(
            TextLabel(
                f"Edits on {PurePath(record.slide).name} were not accepted: {record.author}, "
                f"{wall_time(record.begun)}."
            )
        )
        layout.addLayout(buttons)
        return offer

    def _on_restore(self, folder: Path) -> None:
        self.restore_clicked.emit(folder)

    def _on_forget(self, folder: Path) -> None:
        self.forget_clicked.emit(folder)
