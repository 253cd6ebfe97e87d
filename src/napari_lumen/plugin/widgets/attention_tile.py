"""The Tile tool of the Attention panel: crop, probabilities, maps and alike tiles of the explained field."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QLabel, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout

from napari_lumen.plugin.controllers.attention_tile import TileController, TileShown
from napari_lumen.plugin.widgets.attention_channels import GateStrip, scrolled
from napari_lumen.plugin.widgets.attention_tools import Tool
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.panel import Closable

_ICON, _CELL, _LIST = 72, 88, 236  # px
_NAME = Qt.ItemDataRole.UserRole


class TileTool(Tool):
    """All that was said of one field."""

    title: ClassVar[str] = "Tile"
    tip: ClassVar[str] = "The field that was explained last: right-click on tissue explains the tile there."

    def __init__(self, controller: AttentionController) -> None:
        super().__init__(controller)
        self.controller = TileController(controller)
        self.said = TextLabel()
        self.crop = QLabel()
        self.crop.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.jump = QPushButton("Go there")
        self.classes = TextLabel()
        self.maps, self.nearest = _pictures(), _pictures()
        self.gate = choice_box("Which channel gates of the network; Channels shows their maps.")
        self.strip = GateStrip()
        self.bars = scrolled(self.strip)
        self.nearest_said = TextLabel()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        for widget in (
            self.said,
            self.crop,
            self.jump,
            self.classes,
            self.maps,
            self.gate,
            self.bars,
            self.nearest_said,
            self.nearest,
        ):
            layout.addWidget(widget)
        self.jump.clicked.connect(self._on_jump)
        self.maps.itemClicked.connect(self._on_map)
        self.gate.activated.connect(self._on_gate)
        self.nearest.itemClicked.connect(self._on_nearest)
        self.controller.changed.connect(self._show)
        self._show(self.controller.shown)

    def closables(self) -> tuple[Closable, ...]:
        """Return the controller of the tile."""
        return (self.controller,)

    def _show(self, shown: TileShown) -> None:
        self.said.setText(f"{shown.title}\n{shown.said}" if shown.title else shown.said)
        self.crop.setVisible(shown.crop is not None)
        if shown.crop is not None:
            self.crop.setPixmap(_pixmap(shown.crop))
        self.jump.setVisible(shown.region is not None)
        classes = sorted(shown.probabilities.items(), key=lambda pair: -pair[1])
        lines = [f"{name} {value:.3f}" for name, value in classes]
        self.classes.setText("\n".join([*lines, f"Entropy {shown.entropy:.3f} bit"]))
        self.classes.setVisible(bool(lines))
        self.maps.clear()
        for name, title, picture in shown.maps:
            item = _item(title, picture)
            item.setData(_NAME, name)
            item.setToolTip(f"{title}. Click to see it on the slide.")
            self.maps.addItem(item)
        self.maps.setVisible(bool(shown.maps))
        titles: list[tuple[str, object]] = [(title, title) for title, _ in shown.gates]
        fill(self.gate, titles, self.gate.currentData(), "")
        self.gate.setVisible(bool(titles))
        self.bars.setVisible(bool(titles))
        self._on_gate()
        self.nearest_said.setText(shown.nearest_said)
        self.nearest_said.setVisible(bool(shown.nearest_said))
        self.nearest.clear()
        for entry, thumbnail in shown.nearest:
            self.nearest.addItem(_item(f"{entry.value:.3f}", thumbnail))
        self.nearest.setVisible(bool(shown.nearest))

    def _on_jump(self) -> None:
        self.controller.go_to_field()

    def _on_map(self, item: QListWidgetItem) -> None:
        self.controller.show_map(item.data(_NAME))

    def _on_gate(self, index: int = 0) -> None:
        gates = dict(self.controller.shown.gates)
        self.strip.show_gates(gates.get(self.gate.currentData()), None, ordered=False)

    def _on_nearest(self, item: QListWidgetItem) -> None:
        self.controller.go_to(self.nearest.row(item))


def _pictures() -> QListWidget:
    pictures = QListWidget()
    pictures.setViewMode(QListWidget.ViewMode.IconMode)
    pictures.setMovement(QListWidget.Movement.Static)
    pictures.setResizeMode(QListWidget.ResizeMode.Adjust)
    pictures.setIconSize(QSize(_ICON, _ICON))
    pictures.setGridSize(QSize(_CELL, _ICON + 2 * pictures.fontMetrics().height() + 8))
    pictures.setWordWrap(True)
    pictures.setTextElideMode(Qt.TextElideMode.ElideRight)
    pictures.setFixedHeight(_LIST)
    return pictures


def _item(text: str, picture: npt.NDArray[np.uint8] | None) -> QListWidgetItem:
    item = QListWidgetItem(text)
    if picture is not None:
        item.setIcon(QIcon(_pixmap(picture)))
    return item


def _pixmap(picture: npt.NDArray[np.uint8]) -> QPixmap:
    height, width = picture.shape[:2]
    kept = np.ascontiguousarray(picture[..., :3])
    return QPixmap.fromImage(QImage(kept.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888))
