"""The layers of a run over its slide: while they grow, when they are finished, and as people correct them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_lumen.geometry import Region
from napari_lumen.plugin.growing import Growing
from napari_lumen.plugin.layers import COUNTS, RunLayers
from napari_lumen.plugin.placing import facts_of
from napari_lumen.plugin.results import add_result

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.inference.live import Live


class RunOverlay:
    """What one viewer shows of the run that goes on, or of the newest one.

    Parameters
    ----------
    viewer : ViewerModel
    counted : callable
        Takes the counts of classes, of the finished layers, whenever a correction changes them.
    """

    def __init__(self, viewer: ViewerModel, counted: Callable[[tuple[Any, ...]], None]) -> None:
        self._viewer = viewer
        self._counted = counted
        self._begun: list[tuple[Live, RunLayers]] = []
        self._growing: Growing | None = None
        self._unfinished: dict[tuple[str, str], Growing] = {}  # by slide and model
        self._shown: list[Layer] = []
        self._labels: Layer | None = None  # whose metadata tells of counts

    def begin(self) -> Callable[[Live, RunLayers], None]:
        """Begin anew; what is returned takes what there is to show of this run, from any thread."""
        begun: list[tuple[Live, RunLayers]] = []
        self._begun = begun
        return lambda live, layers: begun.append((live, layers))

    def refresh(self, slide: Layer, view: Region) -> None:
        """Show what has grown in view (level-0 px)."""
        if self._growing is None and self._begun:
            live, layers = self._begun[0]
            self._growing = Growing(self._viewer, live, add_result(self._viewer, slide, layers))
            before = self._unfinished.pop(_subject(self._growing), None)
            if before is not None:
                before.remove()
        if self._growing is not None:
            self._growing.refresh(view)

    def finish(self, slide: Layer, layers: RunLayers) -> None:
        """Show the finished result in the place of what has grown."""
        self._shown = self._growing.finish(layers, slide) if self._growing is not None else []
        if not self._shown:
            self._shown = add_result(self._viewer, slide, layers)
        self._follow(next((x for x in reversed(self._shown) if facts_of(x).get("kind") == "labels"), None))
        self.end()

    def stop(self) -> None:
        """Say of what has grown that it is not the whole."""
        if self._growing is not None:
            self._growing.stop()
            self._unfinished[_subject(self._growing)] = self._growing
        self.end()

    def end(self) -> None:
        """Nothing grows any more."""
        self._growing = None
        self._begun = []

    def gone(self) -> bool:
        """Whether the last layer of the newest result was removed since this was asked last."""
        if not self._shown or any(layer in self._viewer.layers for layer in self._shown):
            return False
        self._shown = []
        self._follow(None)
        return True

    def close(self) -> None:
        """Let go of the layers."""
        self._follow(None)

    def _follow(self, layer: Layer | None) -> None:
        """Hear of corrections to the labels of a layer, and of no other."""
        if self._labels is not None:
            self._labels.events.metadata.disconnect(self._on_counts)
        self._labels = layer
        if layer is not None:
            layer.events.metadata.connect(self._on_counts)

    def _on_counts(self, event: Any = None) -> None:
        counts = None if self._labels is None else facts_of(self._labels).get(COUNTS)
        if counts:
            self._counted(tuple(counts))


def _subject(growing: Growing) -> tuple[str, str]:
    """Return of which slide a run is, by its fingerprint, and of which model."""
    facts = facts_of(growing.layers[-1])
    return facts["fingerprint"], facts["model"]
