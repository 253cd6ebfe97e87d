"""The weights of a cell's operations over the epochs of a search, as a heat table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QHelpEvent, QImage, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_lumen.plugin.widgets.attention_search_colors import operation_color

if TYPE_CHECKING:
    from qtpy.QtCore import QEvent

    from napari_lumen.explain.search_history import Weights

_ROW, _GAP = 13, 6  # px: an operation, and between two edges
_LEFT, _RIGHT = 108, 42  # px: names, and the last weights
_NAMES = 36  # px: where names of operations begin
_BAR, _FOOT = 10, 50  # px: the colours with their numbers, and the axis of epochs
_MIDDLE = Qt.AlignmentFlag.AlignVCenter
_SMALL = 9  # points of text
_WIDEST = 24.0  # px of an epoch, or the first ones would look like bars


class WeightsTable(QWidget):
    """Rows are operations, six blocks of them a cell's edges, columns epochs; hover for a weight."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._weights: Weights | None = None
        self._limits = (0.0, 1.0)
        self._image: QImage | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_weights(self, weights: Weights | None) -> None:
        """Show those of one cell; nothing of None."""
        if weights is self._weights:
            return
        self._weights = weights
        self._image = None
        if weights is not None and weights.values.size:
            low, high = float(weights.values.min()), float(weights.values.max())
            self._limits = (low, high) if high - low > 1e-6 else (low - 0.01, high + 0.01)
            self._image = _image(weights.values, self._limits)
        self.setFixedHeight(self._height())
        self.update()

    @property
    def limits(self) -> tuple[float, float]:
        """Weights at the two ends of the colours."""
        return self._limits

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Ask for the height of all rows."""
        return QSize(_LEFT + _RIGHT + 100, self._height())

    def weight_at(self, spot: QPointF) -> str:
        """Return what is said of the weight at a place of this widget; "" beside the table."""
        weights = self._weights
        if weights is None:
            return ""
        across = spot.x() - _LEFT
        column = int(across // self._step())
        block, inside = divmod(spot.y(), self._block())
        row = int(inside // _ROW)
        known = across >= 0 and column < len(weights.epochs) and 0 <= block < len(weights.edges)
        if not known or row >= len(weights.operations):
            return ""
        value = weights.values[column, int(block), row]
        return (
            f"Edge {weights.edges[int(block)]}, {weights.operations[row]}, epoch "
            f"{int(weights.epochs[column]) + 1}: {value:.3f}"
        )

    def event(self, event: QEvent | None) -> bool:
        """Say the weight under the mouse."""
        if isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.weight_at(QPointF(event.pos())), self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draw it."""
        weights, image = self._weights, self._image
        if weights is None or image is None:
            return
        painter = QPainter(self)
        font = painter.font()
        font.setPointSize(min(_SMALL, font.pointSize()))
        painter.setFont(font)
        text = self.palette().text().color()
        wide = self._step() * len(weights.epochs)
        for index in range(len(weights.edges)):
            self._draw_edge(painter, text, index, wide)
        self._draw_foot(painter, text, wide)

    def _draw_edge(self, painter: QPainter, text: QColor, index: int, wide: float) -> None:
        """Draw the block of one edge: names, weights, and those of the last epoch as numbers."""
        weights, image = self._weights, self._image
        assert weights is not None
        assert image is not None
        top, count = index * self._block(), len(weights.operations)
        source = QRectF(0, index * count, len(weights.epochs), count)
        painter.drawImage(QRectF(_LEFT, top, wide, count * _ROW), image, source)
        painter.setPen(text)
        edge = weights.edges[index].replace("-", "→")
        painter.drawText(QRectF(2, top, 30, count * _ROW), _MIDDLE, edge)
        last = weights.values[-1, index]
        for row, operation in enumerate(weights.operations):
            y = top + row * _ROW
            font = painter.font()
            font.setBold(row == int(last.argmax()))
            painter.setFont(font)
            painter.fillRect(QRectF(_NAMES, y + 3, 6, _ROW - 6), operation_color(operation))
            painter.drawText(QRectF(_NAMES + 9, y, _LEFT - _NAMES - 10, _ROW), _MIDDLE, operation)
            painter.drawText(QRectF(_LEFT + wide + 4, y, _RIGHT - 4, _ROW), _MIDDLE, f"{last[row]:.3f}")
            font.setBold(False)
            painter.setFont(font)

    def _draw_foot(self, painter: QPainter, text: QColor, wide: float) -> None:
        """Draw the axis of epochs, and the colours with their numbers."""
        weights = self._weights
        assert weights is not None
        top = len(weights.edges) * self._block() - _GAP + 2
        painter.setPen(QPen(text))
        first, last = int(weights.epochs[0]) + 1, int(weights.epochs[-1]) + 1
        axis = QRectF(_LEFT, top, max(wide, 60.0), 14)
        painter.drawText(QRectF(_NAMES, top, _LEFT - _NAMES, 14), _MIDDLE, "epoch")
        painter.drawText(axis, Qt.AlignmentFlag.AlignLeft, f"{first}")
        if last > first and wide > 30:
            painter.drawText(QRectF(_LEFT, top, wide, 14), Qt.AlignmentFlag.AlignRight, f"{last}")
        low, high = self._limits
        bar = QRectF(_LEFT, top + 20, self.width() - _LEFT - _RIGHT, _BAR)
        painter.drawImage(bar, _ramp(), QRectF(0, 0, 256, 1))
        painter.drawText(QRectF(_NAMES, top + 17, _LEFT - _NAMES, 14), _MIDDLE, "weight")
        numbers = QRectF(bar.left(), bar.bottom() + 1, bar.width(), 14)
        painter.drawText(numbers, Qt.AlignmentFlag.AlignLeft, f"{low:.3f}")
        painter.drawText(numbers, Qt.AlignmentFlag.AlignRight, f"{high:.3f}")

    def _block(self) -> int:
        return 0 if self._weights is None else len(self._weights.operations) * _ROW + _GAP

    def _height(self) -> int:
        return 0 if self._weights is None else len(self._weights.edges) * self._block() + _FOOT

    def _step(self) -> float:
        count = 1 if self._weights is None else max(1, len(self._weights.epochs))
        return min(_WIDEST, max(1.0, self.width() - _LEFT - _RIGHT) / count)


def _image(values: npt.NDArray[np.float64], limits: tuple[float, float]) -> QImage:
    """Return weights (epochs, edges, operations) as a picture: a row an operation, a column an epoch."""
    table = values.reshape(len(values), -1).T
    return _coloured((table - limits[0]) / (limits[1] - limits[0]))


def _ramp() -> QImage:
    return _coloured(np.linspace(0, 1, 256)[None])


def _coloured(share: npt.NDArray[np.float64]) -> QImage:
    from napari_lumen.explain.colours import VIRIDIS

    rgba = np.ascontiguousarray(np.rint(VIRIDIS.at(share.clip(0, 1)) * 255).astype(np.uint8))
    height, width = rgba.shape[:2]
    return QImage(rgba.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
