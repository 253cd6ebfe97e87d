"""The overview: the whole slide, small, with a box around what is in view that can be dragged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QResizeEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_lumen.geometry import Pair, Region

if TYPE_CHECKING:
    from napari_lumen.plugin.overview import Picture

_TALLEST = 300  # px: a narrow biopsy must not push the facts out of the panel
_SHORTEST = 60
_LEAST_BOX = 8.0  # px: a smaller box could not be seen or grabbed
_BOX = QColor(255, 90, 0)


class Overview(QWidget):
    """Shows a slide and the view on it; emits where the user wants to look."""

    moved = Signal(tuple)  # (y, x) in level-0 pixels: the middle of the view to come

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pixmap: QPixmap | None = None
        self._message = ""
        self._shape = (1, 1)
        self._seen = Region(0, 0, 0, 0)
        self._held: QPointF | None = None  # from the middle of the box to the mouse
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Click or drag to move the view.")
        self._fit()

    def show_slide(self, shape: tuple[int, int]) -> None:
        """Show a slide of a height and width, px, without its picture yet."""
        self._shape = shape
        self._fit()
        self.update()

    def show_picture(self, picture: Picture | None, message: str = "") -> None:
        """Show the picture, or a message while there is none."""
        self._message = message
        self._pixmap = None if picture is None else pixmap_of(picture)
        self.setCursor(Qt.CursorShape.ArrowCursor if picture is None else Qt.CursorShape.CrossCursor)
        self.update()

    def show_view(self, seen: Region) -> None:
        """Show what is in view, in level-0 pixels."""
        self._seen = seen
        self.update()

    @property
    def box(self) -> QRectF:
        """The view box on this widget, px; empty when nothing of the slide is in view."""
        if self._seen.empty:
            return QRectF()
        place = self._place()
        scale = place.width() / self._shape[1]
        seen = self._seen
        box = QRectF(
            place.left() + seen.x * scale,
            place.top() + seen.y * scale,
            seen.width * scale,
            seen.height * scale,
        )
        grown = QRectF(0, 0, max(_LEAST_BOX, box.width()), max(_LEAST_BOX, box.height()))
        grown.moveCenter(box.center())
        return grown

    def _place(self) -> QRectF:
        """Return where the slide lies on this widget: in the middle, its sides in proportion."""
        height, width = self._shape
        scale = min(self.width() / width, self.height() / height)
        place = QRectF(0, 0, width * scale, height * scale)
        place.moveCenter(QRectF(self.rect()).center())
        return place

    def _fit(self) -> None:
        height, width = self._shape
        self.setFixedHeight(round(min(_TALLEST, max(_SHORTEST, self.width() * height / width))))

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802  # Qt's name
        """Keep the proportions of the slide."""
        super().resizeEvent(event)
        self._fit()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draw the slide and the box, dark under bright so that it shows on any tissue."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        place = self._place()
        if self._pixmap is None:
            painter.setPen(self.palette().text().color())
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self._message)
            return
        painter.drawPixmap(place, self._pixmap, QRectF(self._pixmap.rect()))
        box = self.box.intersected(place)
        if box.isEmpty():
            return
        for color, width in ((QColor(0, 0, 0, 160), 4.0), (_BOX, 2.0)):
            painter.setPen(QPen(color, width))
            painter.drawRect(box.adjusted(1, 1, -1, -1))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """Take hold of the box, or call it here."""
        if event is None or event.button() != Qt.MouseButton.LeftButton or self._pixmap is None:
            return
        inside = self.box.contains(event.position())
        self._held = event.position() - self.box.center() if inside else QPointF()
        if not inside:
            self._move_to(event.position())

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """Drag the box."""
        if event is not None and self._held is not None:
            self._move_to(event.position() - self._held)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """Let go."""
        self._held = None

    def _move_to(self, point: QPointF) -> None:
        place = self._place()
        scale = self._shape[1] / place.width()
        y, x = (point.y() - place.top()) * scale, (point.x() - place.left()) * scale
        centre: Pair = (min(max(y, 0.0), self._shape[0]), min(max(x, 0.0), self._shape[1]))
        self.moved.emit(centre)


def pixmap_of(picture: Picture) -> QPixmap:
    """Return uint8 (h, w, 3) as a pixmap."""
    height, width = picture.shape[:2]
    image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image)
