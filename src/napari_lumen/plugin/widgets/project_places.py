"""The legend of what two people have drawn differently, and the list of the places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.plugin.widgets.places import PlacesList

if TYPE_CHECKING:
    from napari_lumen.comparison.error_map import Mistake
    from napari_lumen.plugin.controllers.project_state import ProjectState
    from napari_lumen.project.differences import Differences


class DifferencePlaces(PlacesList):
    """What each colour of the differences stands for, and where most lies; hidden until there is any."""

    def __init__(self) -> None:
        super().__init__("Differences", "Where most differs", "They differ nowhere.")
        self._shown: Differences | None = None

    def show_state(self, state: ProjectState) -> None:
        """Show the differences of a state, or nothing; emits nothing."""
        found = state.differences
        self.setVisible(found is not None)
        if found is None or found is self._shown or state.compared is None:
            return
        self._shown = found
        _, first, second = state.compared

        def words(mistake: Mistake) -> str:
            if not mistake.predicted:
                return f"only {first}: {mistake.truth}"
            if not mistake.truth:
                return f"only {second}: {mistake.predicted}"
            return f"{first}: {mistake.truth}, {second}: {mistake.predicted}"

        self.show_map(found.kinds, found.map, found.places, found.mpp, words)
