"""A line over the canvas that can be dragged: one map is drawn at its left, the other at its right.

napari's clipping planes reach points and shapes but no image of two dimensions (0.9), so the two layers get
a filter of vispy's that leaves out what lies beyond the line on the screen. Nothing is uploaded anew while
the line moves, and it ends at the pixel where it is drawn, at every zoom.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari._qt.qt_viewer import QtViewer
from qtpy.QtCore import QEvent, QObject, QRectF, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QLabel, QWidget
from vispy.visuals.filters import Filter  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

_WIDE, _LINE, _GRIP = 17, 3, 34  # px
_MARGIN = 8  # px, of the names and from the canvas' edges
_LEAST = 80  # px that a name needs
_LABEL = "background: rgba(0, 0, 0, 160); color: white; padding: 2px 6px; border-radius: 3px;"


class Curtain(Filter):
    """Draws of a visual what lies at one side of an upright line of the screen.

    Parameters
    ----------
    left : bool
        Whether the left side is drawn.
    """

    _CODE = """
    void curtain() {
        if ((gl_FragCoord.x - $line) * $side < 0.0) discard;
    }
    """

    def __init__(self, *, left: bool) -> None:
        super().__init__(fcode=self._CODE, fhook="pre", fpos=1)
        self.fshader["side"] = -1.0 if left else 1.0
        self.move_to(0.0)

    def move_to(self, line: float) -> None:
        """Put the line at a distance from the canvas' left edge, device px."""
        self.fshader["line"] = float(line)


class Swipe(QWidget):
    """The line; hidden until two layers are swiped.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        window: QWidget = viewer.window._qt_window
        self._canvas: Any = window.findChild(QtViewer).canvas  # napari has no public name for it
        super().__init__(self._canvas.native)
        self._names = tuple(QLabel(self._canvas.native) for _ in range(2))
        for name in self._names:
            name.setStyleSheet(_LABEL)
            name.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            name.hide()
        self._titles = ("", "")
        self._share = 0.5  # of the canvas' width
        self._layers: tuple[Layer, ...] = ()
        self._held: list[tuple[Any, Curtain]] = []
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setToolTip("Drag: the first map is at the left, the second at the right.")
        self.hide()
        self._canvas.native.installEventFilter(self)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def line(self) -> float:
        """Distance of the line from the canvas' left edge, px."""
        return round(self._share * self._canvas.native.width())

    def start(self, first: Layer, second: Layer, titles: tuple[str, str]) -> None:
        """Show one layer at the left of the line and the other at its right."""
        if self._layers == (first, second):
            return
        self.stop()
        self._layers = (first, second)
        for layer, left in ((first, True), (second, False)):
            node = self._canvas.layer_to_visual[layer].node
            curtain = Curtain(left=left)
            node.attach(curtain)
            self._held.append((node, curtain))
        self._titles = (f"◀ {titles[0]}", f"{titles[1]} ▶")
        for label in self._names:
            label.show()
            label.raise_()
        self.show()
        self.raise_()
        self._place()

    def stop(self) -> None:
        """Show both layers whole again."""
        held, self._held, self._layers = self._held, [], ()
        for node, curtain in held:
            with suppress(ValueError, AttributeError):  # its layer is gone
                node.detach(curtain)
        self.hide()
        for label in self._names:
            label.hide()
        self._canvas._scene_canvas.update()

    def move_to(self, share: float) -> None:
        """Put the line at a share of the canvas' width, 0 to 1."""
        self._share = min(1.0, max(0.0, share))
        self._place()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Follow the size of the canvas."""
        if event is not None and event.type() == QEvent.Type.Resize and self._held:
            self._place()
        return False

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """Follow the mouse."""
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton:
            at = self._canvas.native.mapFromGlobal(event.globalPosition())
            self.move_to(at.x() / max(1, self._canvas.native.width()))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """Keep the click from the canvas."""
        if event is not None:
            event.accept()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draw a white line with a dark rim, which shows on any tissue, and a grip."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = self.width() // 2
        painter.fillRect(middle - _LINE // 2 - 1, 0, _LINE + 2, self.height(), QColor(0, 0, 0, 170))
        painter.fillRect(middle - _LINE // 2, 0, _LINE, self.height(), QColor("white"))
        grip = QRectF(1, (self.height() - _GRIP) / 2, self.width() - 2, _GRIP)
        painter.setPen(QColor(0, 0, 0, 170))
        painter.setBrush(QColor("white"))
        painter.drawRoundedRect(grip, 6, 6)
        for x in (middle - 3, middle + 3):
            painter.drawLine(x, int(grip.top()) + 8, x, int(grip.bottom()) - 8)

    def _on_removed(self, event: Any) -> None:
        """Go with a layer that is swiped; of a window that closes the canvas may be gone first."""
        if event.value in self._layers:
            with suppress(RuntimeError):
                self.stop()

    def _place(self) -> None:
        native = self._canvas.native
        at = int(self.line)
        self.setGeometry(at - _WIDE // 2, 0, _WIDE, native.height())
        room = (at - _WIDE // 2, native.width() - at - _WIDE // 2)
        for label, title, space in zip(self._names, self._titles, room, strict=True):
            label.setVisible(space > _LEAST)
            text = label.fontMetrics().elidedText(title, Qt.TextElideMode.ElideMiddle, space - 4 * _MARGIN)
            label.setText(text)
            label.adjustSize()
        self._names[0].move(at - _WIDE // 2 - self._names[0].width() - _MARGIN, _MARGIN)
        self._names[1].move(at + _WIDE // 2 + _MARGIN, _MARGIN)
        for _, curtain in self._held:
            curtain.move_to(at * native.devicePixelRatioF())
        self._canvas._scene_canvas.update()
