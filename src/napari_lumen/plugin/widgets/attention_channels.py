"""The Channels tool of the Attention panel: a bar a channel, and a click shows that channel's map."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from psygnal import Signal
from qtpy.QtCore import QEvent, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QCheckBox, QScrollArea, QToolTip, QVBoxLayout, QWidget

from napari_lumen.plugin.controllers.attention_channels import ChannelsController, Gates
from napari_lumen.plugin.widgets.attention_tools import Tool
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.panel import Closable

_HEIGHT, _NARROWEST = 90, 4  # px: of the strip, and of a bar that can be hit
_BAR, _CHOSEN = QColor(230, 140, 40), QColor(60, 130, 230)


class ChannelsTool(Tool):
    """Gates of channels as a strip of bars."""

    title: ClassVar[str] = "Channels"
    tip: ClassVar[str] = "How strongly each channel was let through; a click shows its map."

    def __init__(self, controller: AttentionController) -> None:
        super().__init__(controller)
        self.controller = ChannelsController(controller)
        self.name = choice_box("Which gates of the network.")
        self.ordered = QCheckBox("Strongest first")
        self.ordered.setToolTip("Sort the channels by their gates; else they stand in the network's order.")
        self.strip = GateStrip()
        self.said = TextLabel()
        self.bars = scrolled(self.strip)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        for widget in (self.name, self.ordered, self.bars, self.said):
            layout.addWidget(widget)
        self.name.activated.connect(self._on_name)
        self.ordered.toggled.connect(self._on_ordered)
        self.strip.clicked.connect(self.controller.show_channel)
        self.controller.changed.connect(self._show)
        self._show(self.controller.gates)

    def closables(self) -> tuple[Closable, ...]:
        """Return the controller of the gates."""
        return (self.controller,)

    def _show(self, gates: Gates) -> None:
        names: list[tuple[str, object]] = [(title, name) for name, title in gates.names]
        fill(self.name, names, gates.name, "No channel gates")
        self.strip.show_gates(gates.values, gates.channel, ordered=self.ordered.isChecked())
        self.bars.setVisible(gates.values is not None)
        self.ordered.setVisible(gates.values is not None)
        click = "" if gates.values is None else " Click a bar to see what its channel holds."
        self.said.setText(gates.said + click)

    def _on_name(self, index: int) -> None:
        if self.name.itemData(index) is not None:
            self.controller.choose(self.name.itemData(index))

    def _on_ordered(self, on: bool) -> None:
        self._show(self.controller.gates)


def scrolled(strip: GateStrip) -> QScrollArea:
    """Return a strip that can be wider than the panel."""
    scroll = QScrollArea()
    scroll.setWidget(strip)
    scroll.setWidgetResizable(True)
    bar = scroll.horizontalScrollBar()
    scroll.setFixedHeight(_HEIGHT + (0 if bar is None else bar.sizeHint().height()) + 4)
    scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return scroll


class GateStrip(QWidget):
    """Bars from 0 to the largest gate, or to 1."""

    clicked = Signal(int)  # the channel

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: npt.NDArray[np.floating] = np.empty(0)
        self._order: npt.NDArray[np.intp] = np.empty(0, np.intp)
        self._chosen: int | None = None
        self.setFixedHeight(_HEIGHT)

    def show_gates(
        self, values: npt.NDArray[np.floating] | None, chosen: int | None, *, ordered: bool
    ) -> None:
        """Show gates (C,), sorted or as they come."""
        self._values = np.empty(0) if values is None else np.asarray(values)
        order = np.argsort(-np.nan_to_num(self._values), kind="stable")
        self._order = order if ordered else np.arange(len(self._values))
        self._chosen = chosen
        self.setMinimumWidth(_NARROWEST * len(self._values))
        self.update()

    def channel_at(self, x: float) -> int | None:
        """Return the channel of a place from the left, px."""
        count = len(self._order)
        index = int(x / max(1, self.width()) * count) if count else -1
        return int(self._order[index]) if 0 <= index < count else None

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Ask for room for every bar."""
        return QSize(max(60, self.minimumWidth()), _HEIGHT)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draw the bars."""
        painter = QPainter(self)
        count = len(self._order)
        if not count:
            return
        top = max(1.0, float(np.nanmax(self._values)) if np.isfinite(self._values).any() else 1.0)
        wide = self.width() / count
        gap = 1 if wide >= _NARROWEST else 0
        for place, channel in enumerate(self._order.tolist()):
            value = float(np.nan_to_num(self._values[channel]))
            high = max(1.0, value / top * (_HEIGHT - 2))
            color = _CHOSEN if channel == self._chosen else _BAR
            painter.fillRect(QRectF(place * wide, _HEIGHT - high, wide - gap, high), color)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """Choose the channel that is clicked."""
        channel = None if event is None else self.channel_at(event.position().x())
        if channel is not None:
            self.clicked.emit(channel)

    def event(self, event: QEvent | None) -> bool:
        """Say which channel it is under the mouse, and its gate."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            channel = self.channel_at(event.pos().x())
            if channel is not None:
                QToolTip.showText(event.globalPos(), f"Channel {channel}: {self._values[channel]:.4g}")
            return True
        return bool(super().event(event))
