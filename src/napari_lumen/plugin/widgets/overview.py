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
        self._centre: Pair = (0.0, 0.0)
        self._held: QPointF | None = None  # from the middle of the view to the mouse
        self._dragged = False
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Click where to look, or drag the box.")
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

    def show_view(self, seen: Region, centre: Pair) -> None:
        """Show what of the slide is in view, and the middle of the view, in level-0 pixels."""
        self._seen, self._centre = seen, centre
        self.update()

    @property
    def box(self) -> QRectF:
        """The view box on this widget, px; empty when nothing of the slide is in view."""
        if self._seen.empty:
            return QRectF()
        seen = self._seen
        box = QRectF(self._spot((seen.y, seen.x)), self._spot((seen.bottom, seen.right)))
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
        """Take hold of the view by its box, or call it here."""
        if event is None or event.button() != Qt.MouseButton.LeftButton or self._pixmap is None:
            return
        self._dragged = False
        if self.box.contains(event.position()):
            # the middle of the view, not of the box: at the slide's edge a part of the view lies beyond it
            self._held = event.position() - self._spot(self._centre)
        else:
            self._held = QPointF()
            self._move_to(event.position())

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """Drag the view."""
        if event is not None and self._held is not None:
            self._dragged = True
            self._move_to(event.position() - self._held)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """Let go; without a drag it was a click, which calls the view here from inside the box as well."""
        if event is not None and self._held is not None and not self._dragged:
            self._move_to(event.position())
        self._held = None

    def _spot(self, point: Pair) -> QPointF:
        """Return where on this widget a point (y, x) of level 0 lies."""
        place = self._place()
        scale = place.width() / self._shape[1]
        return QPointF(place.left() + point[1] * scale, place.top() + point[0] * scale)

    def _move_to(self, spot: QPointF) -> None:
        """Ask for the view at a spot of this widget; no further from the slide than it is already."""
        place = self._place()
        scale = self._shape[1] / place.width()
        y, x = (spot.y() - place.top()) * scale, (spot.x() - place.left()) * scale
        wanted: Pair = (
            _held_in(y, self._centre[0], self._shape[0]),
            _held_in(x, self._centre[1], self._shape[1]),
        )
        self.moved.emit(wanted)


def _held_in(value: float, now: float, side: int) -> float:
    """Return a coordinate that is on the slide, or beyond it no further than now."""
    return min(max(value, min(0.0, now)), max(float(side), now))


def pixmap_of(picture: Picture) -> QPixmap:
    """Return uint8 (h, w, 3) as a pixmap."""
    height, width = picture.shape[:2]
    image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image)
