"""What two people have drawn differently on a slide of a project: comparing, its layer, going there."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING

from napari_lumen.geometry import Region
from napari_lumen.plugin.controllers.correct_view import SlideView
from napari_lumen.plugin.controllers.project_board import ProjectBoard
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.jobs import Emit
from napari_lumen.plugin.project_layers import show_differences

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.project import Agreement
    from napari_lumen.project.differences import Differences

_AROUND = 0.5  # of a place's side, shown on either side of it


class ProjectDifferences:
    """Compares what two people have drawn on the selected slide.

    Parameters
    ----------
    viewer : ViewerModel
    board : ProjectBoard
    layer_of : callable
        Returns the layer of the open slide of a fingerprint, or None.
    """

    def __init__(
        self, viewer: ViewerModel, board: ProjectBoard, layer_of: Callable[[str], Layer | None]
    ) -> None:
        self._viewer = viewer
        self._board = board
        self._layer_of = layer_of
        self._view = SlideView(viewer)

    def compare(self, first: str, second: str) -> None:
        """Compare two people; with the slide open, also show where they differ."""
        project, standing = self._board.project, self._board.state.standing
        if project is None or standing is None:
            return
        name = standing.entry.name
        layer = self._layer_of(standing.entry.fingerprint)
        compared = name, first, second
        if layer is None or (mpp := SlideLayers.slide(layer).mpp) is None:

            def numbers(found: Agreement) -> None:
                said = f"Open {name} (double click) and compare again to see where they differ."
                self._board.update(agreement=found, compared=compared, differences=None, message=said)

            self._board.run("Comparing …", lambda emit, cancel: project.compare(*compared), numbers)
            return

        def work(emit: Emit, cancel: Event) -> Differences:
            return project.differences(*compared, mpp=mpp, on_progress=emit, cancel=cancel)

        def done(found: Differences) -> None:
            self._board.update(agreement=found.agreement, compared=compared, differences=found)
            if layer in self._viewer.layers:
                show_differences(self._viewer, found, layer)

        self._board.run("Comparing …", work, done)

    def go_to(self, index: int) -> None:
        """Move the view to one of the places where most differs."""
        state = self._board.state
        if state.differences is None or state.compared is None or self._board.project is None:
            return
        layer = self._layer_of(self._board.project.slide(state.compared[0]).fingerprint)
        if layer is not None and 0 <= index < len(state.differences.places):
            place = state.differences.places[index].region
            down, across = place.height * _AROUND, place.width * _AROUND
            around = Region(
                place.y - down, place.x - across, place.height + 2 * down, place.width + 2 * across
            )
            self._view.move_to(layer, around, fit=True)
