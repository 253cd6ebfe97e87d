"""The legend of the errors, and the list of the worst places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.evaluation.errors import ERRORS
from napari_lumen.plugin.widgets.places import PlacesList

if TYPE_CHECKING:
    from napari_lumen.comparison import SlideEvaluation
    from napari_lumen.comparison.error_map import Mistake


class EvaluationPlaces(PlacesList):
    """What each colour of the error map stands for, and where most is wrong; hidden until there is any."""

    def __init__(self) -> None:
        super().__init__("Errors", "Worst places", "Nothing is wrong.")
        self._shown: SlideEvaluation | None = None

    def show_result(self, found: SlideEvaluation | None) -> None:
        """Show the errors of an evaluation, or nothing."""
        self.setVisible(found is not None)
        if found is not None and found is not self._shown:
            self._shown = found
            self.show_map(ERRORS, found.errors, found.places, found.run.record.mpp, _words)


def _words(mistake: Mistake) -> str:
    if not mistake.predicted:
        return f"{mistake.truth} missed"
    if not mistake.truth:
        return f"false {mistake.predicted}"
    return f"{mistake.truth} taken for {mistake.predicted}"
