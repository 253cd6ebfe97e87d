"""Showing what is corrected: the labels of a run with the corrections over them, and their counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.plugin.controllers.correct_layers import colour_classes, corrections_layer, layers_of
from napari_lumen.plugin.layers import COUNTS, KEY
from napari_lumen.plugin.placing import facts_of, fingerprint_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.geometry import Region
    from napari_lumen.inference.run import ClassCount
    from napari_lumen.plugin.controllers.correct_board import CorrectBoard
    from napari_lumen.plugin.controllers.correct_choice import CorrectChoice
    from napari_lumen.plugin.controllers.correct_target import Standing, Target

_MAPS = ("attention", "probability")


class CorrectShown:
    """Keeps the layers and counts of what is corrected as they are in the store.

    Parameters
    ----------
    viewer : ViewerModel
    board : CorrectBoard
    choice : CorrectChoice
    """

    def __init__(self, viewer: ViewerModel, board: CorrectBoard, choice: CorrectChoice) -> None:
        self._viewer = viewer
        self._board = board
        self._choice = choice
        self.standing: tuple[ClassCount, ...] = ()
        self._maps: list[Layer] = []  # that were in view before a window was opened
        choice.loaded.connect(self._on_loaded)

    def stand(self, standing: Standing) -> None:
        """Show how the corrections stand."""
        self.standing = standing.counts
        self._board.update(windows=standing.windows)
        self.count(standing.counts)

    def count(self, counts: tuple[ClassCount, ...]) -> None:
        """Show counts, in the layers of the run too: who shows them there hears of it by `metadata`."""
        self._board.update(counts=counts)
        target = self._choice.target
        if target is not None and counts:
            for layer in layers_of(target, self._viewer.layers):
                if facts_of(layer).get(COUNTS) != counts:
                    layer.metadata = {**layer.metadata, KEY: {**facts_of(layer), COUNTS: counts}}

    def show(self, target: Target, *, hidden: Region | None = None, select: bool = False) -> None:
        """Show the labels with their corrections wherever they are shown.

        Parameters
        ----------
        target : Target
        hidden : Region, optional
            Where an edit window shows them instead, level-0 px.
        select : bool
            Whether to select the topmost of their layers.
        """
        target.labels.hidden = hidden
        layers = layers_of(target, self._viewer.layers)
        slide = self._choice.layer
        if not layers and target.run is None and target.labels.changes and slide is not None:
            layers = [corrections_layer(target, slide)]
            self._viewer.layers.insert(self._viewer.layers.index(slide) + 1, layers[0])
        for layer in layers:
            levels = target.labels.levels
            layer.data = levels if layer.multiscale else levels[0]
            if target.run is None:
                colour_classes(layer, target.store.classes)
            if select:
                self._viewer.layers.selection.active = layer

    def hide_maps(self, target: Target) -> None:
        """Hide attention and probability: what is painted is judged by the stain."""
        fingerprint = target.slide.fingerprint
        self._maps = [
            layer
            for layer in self._viewer.layers
            if layer.visible and facts_of(layer).get("kind") in _MAPS and fingerprint_of(layer) == fingerprint
        ]
        for layer in self._maps:
            layer.visible = False

    def show_maps(self) -> None:
        """Show those again that `hide_maps` has hidden."""
        for layer in self._maps:
            layer.visible = True
        self._maps = []

    def _on_loaded(self, target: Target) -> None:
        if target.labels.changes:
            self.show(target)
        self.standing = self._board.state.counts
        self.count(self.standing)
