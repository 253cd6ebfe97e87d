"""Two buttons: open a picture or a file of any name as a slide, or an OME-Zarr image by its URL."""

from __future__ import annotations

from psygnal import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QInputDialog, QPushButton, QWidget


class OpeningButtons(QWidget):
    """Asks for a file or a URL."""

    place_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.file = QPushButton("Open as slide …")
        self.file.setToolTip(
            "Open any slide or picture (PNG, JPEG, TIFF too) so that models and panels work on it."
        )
        self.url = QPushButton("From URL …")
        self.url.setToolTip("Open an OME-Zarr image from a server, without downloading it whole.")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.file)
        layout.addWidget(self.url)
        self.file.clicked.connect(self._on_file)
        self.url.clicked.connect(self._on_url)

    def show_busy(self, busy: bool) -> None:
        """Take no further place while one is being opened."""
        for button in (self.file, self.url):
            button.setEnabled(not busy)

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open as slide")
        if path:
            self.place_chosen.emit(path)

    def _on_url(self) -> None:
        url, accepted = QInputDialog.getText(self, "Open OME-Zarr", "URL of an OME-Zarr image:")
        if accepted and url.strip():
            self.place_chosen.emit(url.strip())
