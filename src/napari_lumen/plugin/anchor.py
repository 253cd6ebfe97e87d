"""Ties things to a window, so that they stop when it closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

from napari_lumen.plugin.controllers.arrivals import Arrivals
from napari_lumen.plugin.controllers.browsing import Browsing
from napari_lumen.plugin.preferences import PLUGIN, NapariPreferences

if TYPE_CHECKING:
    from napari import Viewer

_LOOK_AGAIN = 500  # ms between two looks for what a server was late with


class ClosingWatch(QObject):
    """Calls a function when a window was really closed: the user may still be asked, and say no.

    Parameters
    ----------
    window : QWidget
        Also its parent.
    then : callable
        Called once or more.
    """

    def __init__(self, window: QWidget, then: Callable[[], None]) -> None:
        super().__init__(window)
        self._window = window
        self._then = then
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Look again once the close has been dealt with."""
        if event is not None and event.type() == QEvent.Type.Close and watched is self._window:
            QTimer.singleShot(0, self._look)
        return False

    def _look(self) -> None:
        if not self._window.isVisible():
            self._then()


class _Anchor(ClosingWatch):
    """Keeps what looks after a window's slides as long as there is the window."""

    def __init__(self, window: QWidget, viewer: Viewer) -> None:
        super().__init__(window, self._close)
        self.browsing = Browsing(viewer, NapariPreferences())
        self._clock = QTimer(self)
        self._clock.timeout.connect(self.browsing.look_again)
        self._clock.start(_LOOK_AGAIN)
        self._arrivals = Arrivals(
            viewer, lambda: viewer.window.add_plugin_dock_widget(PLUGIN, "Slide")[0].show()
        )

    def _close(self) -> None:
        self._clock.stop()
        self._arrivals.close()
        self.browsing.close()


def anchored(viewer: Viewer) -> Browsing:
    """Return the `Browsing` of a viewer's window, made at the first call."""
    window = viewer.window._qt_window
    anchor = window.findChild(_Anchor)
    if anchor is None:
        anchor = _Anchor(window, viewer)
    return anchor.browsing
