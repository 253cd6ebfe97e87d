"""What the colours of the shown map mean: its title, a bar with numbers or names, and what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_lumen.plugin.layers import ColorScale
from napari_lumen.plugin.widgets.controls import TextLabel
from napari_lumen.plugin.widgets.legend import ScaleBar, Swatch

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.attention_state import Legend


class MapLegend(QWidget):
    """The legend of one map; hidden while none is shown."""

    raw_clicked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar: QWidget | None = None
        self._legend: Legend | None = None
        self.said = TextLabel()
        self.note = TextLabel()
        self.raw = QPushButton("Show the map before its softmax")
        self.raw.setToolTip("Its values can be compared between tiles.")
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        for widget in (self.said, self.note, self.raw):
            self._layout.addWidget(widget)
        self.raw.clicked.connect(self._on_raw)
        self.setVisible(False)

    def show_legend(self, legend: Legend | None) -> None:
        """Show a legend, or hide."""
        if legend == self._legend:
            return
        self._legend = legend
        self.setVisible(legend is not None)
        if self._bar is not None:
            self._layout.removeWidget(self._bar)
            self._bar.hide()  # it is deleted later, and would be seen below the next
            self._bar.deleteLater()
            self._bar = None
        if legend is None:
            return
        scale = ColorScale(legend.title, legend.limits, legend.colors)
        self._bar = _Names(legend) if legend.names else ScaleBar(scale)
        self._layout.insertWidget(0, self._bar)
        self._bar.show()
        self.said.setText(legend.said[:1].upper() + legend.said[1:] + ".")
        self.note.setText(legend.note)
        self.note.setVisible(bool(legend.note))
        self.raw.setVisible(legend.raw is not None)

    def _on_raw(self) -> None:
        if self._legend is not None and self._legend.raw is not None:
            self.raw_clicked.emit(self._legend.raw)


class _Names(QWidget):
    """The colours of a decision, each with what it stands for."""

    def __init__(self, legend: Legend) -> None:
        super().__init__()
        outer, row = QVBoxLayout(self), QHBoxLayout()
        outer.setContentsMargins(0, 4, 0, 0)
        outer.addWidget(TextLabel(legend.title))
        outer.addLayout(row)
        for name, color in zip(legend.names, legend.colors, strict=True):
            red, green, blue = (round(255 * part) for part in color[:3])
            row.addWidget(Swatch((red, green, blue)))
            row.addWidget(QLabel(name))
        row.addStretch(1)
