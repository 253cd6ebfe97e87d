"""Opening a picture or a file of any name as a slide, or an OME-Zarr image by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QInputDialog,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.plugin.widgets.controls import TextLabel

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.opening import Opening


class OpeningForm(QWidget):
    """Asks for a file or a URL; while it is being opened, says how far that is and takes a Cancel."""

    place_chosen = Signal(str)
    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.file = QPushButton("Open as slide …")
        self.file.setToolTip(
            "Open any slide or picture (PNG, JPEG, TIFF too) so that models and panels work on it."
        )
        self.url = QPushButton("From URL …")
        self.url.setToolTip("Open an OME-Zarr image from a server, without downloading it whole.")
        self.text = TextLabel()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.cancel = QPushButton("Cancel")
        self._asking, self._waiting = QWidget(), QWidget()
        self._lay_out()
        self._waiting.hide()
        self.file.clicked.connect(self._on_file)
        self.url.clicked.connect(self._on_url)
        self.cancel.clicked.connect(self._on_cancel)

    def show_state(self, state: Opening) -> None:
        """Show what is being opened; while something is, no further place is taken."""
        self.text.setText(state.text)
        self.bar.setRange(0, state.total)
        self.bar.setValue(state.done)
        self._asking.setVisible(not state.text)
        self._waiting.setVisible(bool(state.text))

    def _lay_out(self) -> None:
        buttons = QHBoxLayout(self._asking)
        buttons.addWidget(self.file)
        buttons.addWidget(self.url)
        waiting = QGridLayout(self._waiting)
        waiting.addWidget(self.text, 0, 0, 1, 2)
        waiting.addWidget(self.bar, 1, 0)
        waiting.addWidget(self.cancel, 1, 1)
        layout = QVBoxLayout(self)
        for part, inside in ((self._asking, buttons), (self._waiting, waiting), (None, layout)):
            inside.setContentsMargins(0, 0, 0, 0)
            if part is not None:
                layout.addWidget(part)

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open as slide")
        if path:
            self.place_chosen.emit(path)

    def _on_url(self) -> None:
        url, accepted = QInputDialog.getText(self, "Open OME-Zarr", "URL of an OME-Zarr image:")
        if accepted and url.strip():
            self.place_chosen.emit(url.strip())

    def _on_cancel(self) -> None:
        self.cancelled.emit()
