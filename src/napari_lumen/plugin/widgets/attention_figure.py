"""The buttons that copy and save a figure of the shown map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QMimeData
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_lumen.plugin.controllers.attention_figure import FigureController
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.widgets.controls import TextLabel

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.controllers.attention_figure import Copied, FigureState

_TIP = "Tissue, map, colour bar with numbers, scale bar and legend, of what is in view."
_FILES = "Picture, 300 dpi (*.png);;Vector picture (*.svg)"


class FigureBar(QWidget):
    """Shows a `FigureState`.

    Parameters
    ----------
    attention : AttentionController
    controller : FigureController, optional
        For tests; made here otherwise.
    """

    def __init__(self, attention: AttentionController, controller: FigureController | None = None) -> None:
        super().__init__()
        self.controller = controller or FigureController(attention, Jobs())
        self.copy = QPushButton("Copy figure")
        self.save = QPushButton("Save figure …")
        self.status = TextLabel()
        row = QHBoxLayout()
        row.addWidget(self.copy)
        row.addWidget(self.save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.status)
        self.copy.clicked.connect(self._on_copy)
        self.save.clicked.connect(self._on_save)
        self.controller.changed.connect(self.show_state)
        self.controller.drawn.connect(self._on_drawn)
        self.show_state(self.controller.state)

    def show_state(self, state: FigureState) -> None:
        """Show a state; emits nothing."""
        for button, what in ((self.copy, "to the clipboard."), (self.save, "as PNG or SVG.")):
            button.setEnabled(state.blocked is None and not state.busy)
            button.setToolTip(state.blocked or f"{_TIP[:-1]}, {what}")
        said = state.busy or state.message
        self.status.setText(said)
        self.status.setVisible(bool(said))

    def _on_copy(self) -> None:
        self.controller.copy()

    def _on_save(self) -> None:
        path, kind = QFileDialog.getSaveFileName(self, "Save figure", "figure.png", _FILES)
        if path:
            suffix = ".svg" if "svg" in kind and not path.lower().endswith(".png") else ".png"
            known = path.lower().endswith((".png", ".svg"))
            self.controller.save(Path(path if known else path + suffix))

    def _on_drawn(self, copied: Copied) -> None:
        """Offer pixels to all programs, and the vector picture to those that take it."""
        clipboard = QApplication.clipboard()
        if clipboard is None:
            return
        pixels = copied.pixels
        height, width = pixels.shape[:2]
        image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        mime = QMimeData()
        mime.setImageData(image)
        mime.setData("image/svg+xml", copied.svg.encode())
        clipboard.setMimeData(mime)
