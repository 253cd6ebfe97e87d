"""What our dock panels have in common: they scroll, ask before a close, and stop what they started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_lumen.plugin.closing import AtStake, may_close

if TYPE_CHECKING:
    from napari import Viewer

_WIDEST, _NARROWEST = 340, 230  # px
_EDGES = 2  # px around what scrolls, by napari's theme
_SHARE = 0.22  # of a window: a small one keeps room for the slide


class Closable(Protocol):
    """A controller."""

    def close(self) -> None:
        """Stop everything and wait for it; may be called twice."""
        ...


def unproxied(viewer: Viewer) -> Viewer:
    """Return the viewer itself: napari hands plugins a proxy, and another proxy of a layer each time.

    Nothing can be tied to such a layer, and it is never the one that it stands for.
    """
    itself: Viewer = getattr(viewer, "__wrapped__", viewer)
    return itself


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
        self._closes = False  # with its window, which may still stay
        self._inside = inside = QWidget()
        inside.installEventFilter(self)
        layout = QVBoxLayout(inside)
        for widget in widgets:
            layout.addWidget(widget)
        layout.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        # always there: one that comes later takes its width from what lies beside it
        scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self._bar = scroll.verticalScrollBar()
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

    def minimumSizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Ask for as much width as nothing is cut at, as far as that is not too much."""
        bar = 0 if self._bar is None else self._bar.sizeHint().width()
        needed = self._inside.minimumSizeHint().width() + bar + _EDGES
        return QSize(max(_NARROWEST, min(_WIDEST, needed)), super().minimumSizeHint().height())

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802  # Qt's name
        """Watch the window that the panel has come to lie in: its close must stop everything."""
        super().showEvent(event)
        window = self.window()
        if window is not None:
            window.installEventFilter(self)

    def at_stake(self) -> tuple[AtStake, ...]:
        """Return what a close of the window would stop or lose."""
        return ()

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802  # Qt's name
        """Stop when napari takes the panel out of its dock: the widget lives on, unseen."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._close()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Ask before the window closes; stop when it was really closed: napari may ask, too."""
        window = self.window()
        if event is not None and watched is self._inside and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()  # what is shown now may need another width
        if event is None or window is None or watched is not window:
            return False
        if event.type() == QEvent.Type.Close and window.isVisible() and not self._lets_close(window):
            event.ignore()
            return True
        if event.type() == QEvent.Type.Hide and self._closes and not event.spontaneous():
            self._close()
        return False

    def _lets_close(self, window: QWidget) -> bool:
        """Ask for all panels of the window, if this is the first of them: one question, not one a panel."""
        panels = [panel for panel in window.findChildren(Panel) if panel.window() is window]
        if next(iter(panels), None) is not self:
            return True
        stakes = [stake for panel in panels for stake in panel.at_stake()]
        closes = _closed_by_program(window) or may_close(window, stakes)
        for panel in panels:
            panel._closes = closes
        return closes

    def _close(self) -> None:
        for controller in self._controllers:
            controller.close()


def _closed_by_program(window: QWidget) -> bool:
    """Whether `viewer.close()` closes the window: it has let go of the layers and the canvas before."""
    canvas = getattr(window, "_qt_viewer", None)
    return canvas is not None and not canvas.isVisible()
