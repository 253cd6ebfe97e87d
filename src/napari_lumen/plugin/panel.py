"""What our dock panels have in common: they scroll, and they stop what they started when they go."""

from __future__ import annotations

from typing import Protocol

from qtpy.QtCore import QEvent, QObject, QSize, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QFrame, QScrollArea, QVBoxLayout, QWidget

_WIDEST, _NARROWEST = 340, 230  # px
_SHARE = 0.22  # of a window: a small one keeps room for the slide


class Closable(Protocol):
    """A controller."""

    def close(self) -> None:
        """Stop everything and wait for it; may be called twice."""
        ...


class Panel(QWidget):
    """A dock widget over controllers, which it closes with its window, or when it leaves its dock.

    Parameters
    ----------
    controllers : tuple of Closable
    *widgets : QWidget
        Top to bottom.
    """

    def __init__(self, controllers: tuple[Closable, ...], *widgets: QWidget) -> None:
        super().__init__()
        self._controllers = controllers
        self.setMinimumWidth(_NARROWEST)
        inside = QWidget()
        layout = QVBoxLayout(inside)
        for widget in widgets:
            layout.addWidget(widget)
        layout.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        application = QApplication.instance()
        for controller in controllers:
            self.destroyed.connect(controller.close)
            if application is not None:
                application.aboutToQuit.connect(controller.close)

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Ask for a width at which nothing wraps, in a small window for less."""
        window = self.window()
        share = _SHARE * (self.width() if window is None else window.width())
        return QSize(round(max(_NARROWEST, min(_WIDEST, share))), super().sizeHint().height())

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802  # Qt's name
        """Watch the window that the panel has come to lie in: its close must stop everything."""
        super().showEvent(event)
        window = self.window()
        if window is not None:
            window.installEventFilter(self)

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802  # Qt's name
        """Stop when napari takes the panel out of its dock: the widget lives on, unseen."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._close()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Stop when the window was really closed: the user may still be asked, and say no."""
        if event is not None and event.type() == QEvent.Type.Close and watched is self.window():
            QTimer.singleShot(0, self._close_with_window)
        return False

    def _close(self) -> None:
        for controller in self._controllers:
            controller.close()

    def _close_with_window(self) -> None:
        window = self.window()
        if window is None or not window.isVisible():
            self._close()
