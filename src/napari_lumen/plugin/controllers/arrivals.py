"""What happens when a slide or a result comes into a window, whichever way it was opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_lumen.plugin import notices
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.placing import facts_of, fingerprint_of, is_result, is_slide, lay_on
from napari_lumen.plugin.results import outline
from napari_lumen.plugin.slide_layers import SLIDER
from napari_lumen.slides.moved import moved_from, remember_place

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class Arrivals:
    """Lays results on their slides, asks for a missing pixel size, and shows the scale bar.

    Parameters
    ----------
    viewer : ViewerModel
    open_panel : callable
        Opens the Slide panel, where the pixel size is given.
    """

    def __init__(self, viewer: ViewerModel, open_panel: Callable[[], None]) -> None:
        self._viewer = viewer
        self._open_panel = open_panel
        self._slides = SlideLayers(viewer)
        self._in_micrometres = False
        viewer.layers.events.inserted.connect(self._on_inserted)
        self._slides.changed.connect(self._show_scale_bar)

    def close(self) -> None:
        """Let go of the viewer."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._slides.close()

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        if is_slide(layer):
            self._welcome(layer)
        elif is_result(layer):
            if facts_of(layer).get("kind") == "labels":  # not the map of its errors
                outline(layer)
            slide = next(iter(self._open_copies(layer)), None)
            if slide is not None:
                lay_on(layer, slide)
                self._remember(layer, slide)

    def _welcome(self, layer: Layer) -> None:
        if SLIDER in facts_of(layer):
            layer.contrast_limits_range = facts_of(layer)[SLIDER]
        if self._slides.planes(layer) != [layer]:  # another channel of it came before
            return
        if self._open_copies(layer) == [layer]:
            for item in self._viewer.layers:
                if is_result(item) and fingerprint_of(item) == fingerprint_of(layer):
                    lay_on(item, layer)
                    self._remember(item, layer)
        if self._slides.slide(layer).mpp is None:
            self._ask(layer)

    def _remember(self, result: Layer, slide: Layer) -> None:
        """Note where a slide lies now that has moved since a run of it: it is found there from then on."""
        fingerprint, place = fingerprint_of(slide), self._slides.slide(slide).path
        if fingerprint is not None and moved_from(facts_of(result).get("slide", ""), place):
            remember_place(fingerprint, place)

    def _open_copies(self, layer: Layer) -> list[Layer]:
        """Return the layers that stand for the slide which a layer shows or is a result of."""
        return [item for item in self._slides.layers() if fingerprint_of(item) == fingerprint_of(layer)]

    def _ask(self, layer: Layer) -> None:
        message = (  # napari shows its first words; the rest unfolds
            f"Give the pixel size in the Slide panel: it is not known of {self._slides.name(layer)}, "
            "so nothing on it can be measured or analysed."
        )
        if any(self._slides.slide(item).mpp is not None for item in self._slides.layers()):
            message += " Until then the scale bar has no unit, for the other slides either."
        notices.ask(message, "Open it", self._open_panel)

    def _show_scale_bar(self) -> None:
        """Switch the scale bar on with the first slide in µm; the user may switch it off again."""
        before = self._in_micrometres
        self._in_micrometres = any(self._slides.slide(item).mpp is not None for item in self._slides.layers())
        if self._in_micrometres and not before:
            bar = self._viewer.canvas.overlays.scale_bar
            bar.visible, bar.position = True, "bottom_left"  # notifications come up on the right
