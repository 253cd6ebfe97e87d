"""A click with the right mouse button on the canvas, told from a drag, with which napari zooms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel

_RIGHT = 2
_SLACK = 4.0  # canvas px that a hand moves while it clicks


class RightClick:
    """Calls a function where the right button was pressed and let go in one place.

    Not while the active layer is being drawn on: its tools mean something else by it.

    Parameters
    ----------
    viewer : ViewerModel
    then : callable
        Takes the place in world coordinates.
    """

    def __init__(self, viewer: ViewerModel, then: Callable[[tuple[float, ...]], None]) -> None:
        self._viewer = viewer
        self._then = then
        viewer.mouse_drag_callbacks.append(self._on_press)

    def close(self) -> None:
        """Let go of the viewer; may be called twice."""
        if self._on_press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_press)

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        start = tuple(event.position)
        active = self._viewer.layers.selection.active
        if event.button != _RIGHT or getattr(active, "mode", "pan_zoom") != "pan_zoom":
            return
        yield
        while event.type == "mouse_move":
            slack = _SLACK / self._viewer.scene.camera.zoom
            if any(abs(at - begun) > slack for at, begun in zip(event.position, start, strict=True)):
                return
            yield
        self._then(start)
