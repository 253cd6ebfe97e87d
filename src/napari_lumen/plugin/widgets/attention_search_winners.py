"""The operations that won on each edge, of all positions side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_lumen.plugin.widgets.attention_search_colors import ink_on, operation_color, short_name

if TYPE_CHECKING:
    from qtpy.QtCore import QEvent

    from napari_lumen.explain.search_history import CellKind
    from napari_lumen.models.genotype import Genotype

_ROW, _HEAD, _LEFT = 20, 20, 34  # px


class WinnersTable(QWidget):
    """A column a position, a row an edge; a click chooses the position."""

    position_clicked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._genotype: Genotype | None = None
        self._cell: CellKind = "sam"
        self._position = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_genotype(self, genotype: Genotype | None, cell: CellKind, position: str) -> None:
        """Show the winners of a kind of cell, and which position is looked at."""
        self._genotype, self._cell, self._position = genotype, cell, position
        self.setFixedHeight(self.sizeHint().height())
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Ask for the height of six edges and a heading."""
        return QSize(_LEFT + 160, 0 if self._genotype is None else _HEAD + 6 * _ROW + 1)

    def column_box(self, position: str) -> QRectF:
        """Return where a position stands on this widget, px."""
        from napari_lumen.models.genotype import POSITIONS

        wide = (self.width() - _LEFT) / len(POSITIONS)
        return QRectF(_LEFT + POSITIONS.index(position) * wide, 0, wide, _HEAD + 6 * _ROW)

    def event(self, event: QEvent | None) -> bool:
        """Say the whole name of the operation under the mouse."""
        if isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self._said(QPointF(event.pos())), self)
            return True
        return super().event(event)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """Choose the position that was clicked."""
        if event is not None and self._genotype is not None:
            position = self._position_at(event.position())
            if position is not None:
                self.position_clicked.emit(position)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draw it."""
        if self._genotype is None:
            return
        from napari_lumen.models.genotype import EDGES, POSITIONS

        painter = QPainter(self)
        text = self.palette().text().color()
        for row, edge in enumerate(EDGES):
            painter.setPen(text)
            box = QRectF(3, _HEAD + row * _ROW, _LEFT, _ROW)
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, edge.replace("-", "→"))
        for position in POSITIONS:
            column = self.column_box(position)
            head = QRectF(column.left(), 0, column.width(), _HEAD)
            painter.setPen(text)
            painter.drawText(head, Qt.AlignmentFlag.AlignCenter, position)
            for row, operation in enumerate(getattr(self._genotype[position], self._cell)):
                box = QRectF(column.left() + 1, _HEAD + row * _ROW + 1, column.width() - 2, _ROW - 2)
                color = operation_color(operation)
                painter.fillRect(box, color)
                painter.setPen(ink_on(color))
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, short_name(operation))
        painter.setPen(QPen(text, 2))
        if self._position in POSITIONS:
            painter.drawRect(self.column_box(self._position).adjusted(1, 1, -1, 0))

    def _position_at(self, spot: QPointF) -> str | None:
        from napari_lumen.models.genotype import POSITIONS

        return next((name for name in POSITIONS if self.column_box(name).contains(spot)), None)

    def _said(self, spot: QPointF) -> str:
        from napari_lumen.models.genotype import EDGES

        position, row = self._position_at(spot), int((spot.y() - _HEAD) // _ROW)
        if self._genotype is None or position is None or not 0 <= row < len(EDGES):
            return ""
        operation = getattr(self._genotype[position], self._cell)[row]
        return f"{position}, edge {EDGES[row]}: {operation}"
