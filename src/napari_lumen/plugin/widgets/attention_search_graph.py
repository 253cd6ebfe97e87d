"""A cell of a genotype as a drawn graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_lumen.plugin.widgets.attention_search_colors import ink_on, operation_color

if TYPE_CHECKING:
    from napari_lumen.explain.cell_graph import CellGraph, Edge

_TOP, _BOTTOM = 1.1, -0.55  # of a graph, see `CellGraph`
_SPAN = 3.0  # of a graph, in x
_MARGIN, _TITLE = 26.0, 22.0  # px
_RADIUS = 11.0  # px, of a node
_HEIGHT, _NARROWEST = 190, 230  # px
_UNUSED = QColor(140, 140, 140)
_ARROW = 8.0  # px
_BESIDE = 19.0  # px, from a line to its label


class CellGraphView(QWidget):
    """Draws one cell: nodes, operations, their weights, and dashed what has no part in the gate."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._graph: CellGraph | None = None
        self.setMinimumSize(_NARROWEST, _HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Node 1 is the cell's input. Dashed operations have no part in the map or gate: they are zero, "
            "or lead nowhere. Numbers are the weights of the last epoch."
        )

    def show_graph(self, graph: CellGraph | None) -> None:
        """Show a cell; nothing of None."""
        self._graph = graph
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Ask for a height at which no labels meet."""
        return QSize(_NARROWEST, _HEIGHT)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draw it."""
        if self._graph is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().text().color()
        painter.setPen(text)
        painter.drawText(QRectF(0, 0, self.width(), _TITLE), Qt.AlignmentFlag.AlignCenter, self._graph.title)
        for edge in sorted(self._graph.edges, key=lambda item: item.used):
            self._draw_line(painter, edge)
        for edge in self._graph.edges:
            self._draw_label(painter, edge)
        for node in self._graph.nodes:
            at = self._spot(node.x, node.y)
            painter.setPen(QPen(text, 1.5))
            painter.setBrush(self.palette().window())
            painter.drawEllipse(at, _RADIUS, _RADIUS)
            box = QRectF(at.x() - _RADIUS, at.y() - _RADIUS, 2 * _RADIUS, 2 * _RADIUS)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(node.number))
            below = QRectF(at.x() - 40, at.y() + _RADIUS, 80, 18)
            painter.drawText(below, Qt.AlignmentFlag.AlignCenter, node.label)

    def _spot(self, x: float, y: float) -> QPointF:
        wide, high = self.width() - 2 * _MARGIN, self.height() - _TITLE - _MARGIN
        return QPointF(
            _MARGIN + x / _SPAN * wide,
            _TITLE + 8 + (_TOP - y) / (_TOP - _BOTTOM) * high,
        )

    def _draw_line(self, painter: QPainter, edge: Edge) -> None:
        color = operation_color(edge.operation) if edge.used else _UNUSED
        style = Qt.PenStyle.SolidLine if edge.used else Qt.PenStyle.DashLine
        painter.setPen(QPen(color, 2.5 if edge.used else 1.2, style))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        spots = [self._spot(x, y) for x, y in edge.points]
        painter.drawPolyline(QPolygonF(spots))
        if edge.used:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(color)
            painter.drawPolygon(_arrow(spots))

    def _draw_label(self, painter: QPainter, edge: Edge) -> None:
        said = edge.operation if edge.weight is None else f"{edge.operation} {edge.weight:.2f}"
        metrics = QFontMetricsF(painter.font())
        box = QRectF(0, 0, metrics.horizontalAdvance(said) + 8, metrics.height() + 2)
        along = edge.target - edge.source == 1
        at = self._spot(*edge.label)
        if along:  # between two nodes there is no room on the line: above it, and below it by turns
            at += QPointF(0, -_BESIDE if edge.source != 2 else _BESIDE)
        box.moveCenter(at)
        box.moveLeft(min(max(box.left(), 1.0), self.width() - box.width() - 1))
        color = operation_color(edge.operation)
        if edge.used:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(color)
            painter.drawRoundedRect(box, 3, 3)
            painter.setPen(ink_on(color))
        else:
            painter.fillRect(box, self.palette().window())
            painter.setPen(_UNUSED)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, said)


def _arrow(spots: list[QPointF]) -> QPolygonF:
    """Return the head of an arrow that ends at the rim of the node at the last spot."""
    end, before = spots[-1], spots[-3]
    way = end - before
    length = max(1e-6, (way.x() ** 2 + way.y() ** 2) ** 0.5)
    along = way / length
    tip = end - along * _RADIUS
    base, aside = tip - along * _ARROW, QPointF(-along.y(), along.x()) * (_ARROW / 2)
    return QPolygonF([tip, base + aside, base - aside])
