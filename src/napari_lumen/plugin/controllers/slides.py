"""The slides among a viewer's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.errors import SlideError
from napari_lumen.plugin import notices
from napari_lumen.plugin.layers import KEY, MICROMETRES
from napari_lumen.plugin.slide_layers import size_facts
from napari_lumen.slides.pixel_size import given_mpp, remember_mpp

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.slides import Slide

_PIXEL = "pixel"


class SlideLayers:
    """Finds the slides that a viewer shows and tells when something about them, or a selection, changed.

    The open slide lies in its layer's metadata, put there by the reader: one handle for viewing and running.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._events = (
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
            viewer.layers.selection.events.active,
        )
        for event in self._events:
            event.connect(self._on_event)
        viewer.layers.events.inserted.connect(self._on_inserted)
        for layer in viewer.layers:
            self._watch(layer)

    def layers(self) -> list[Layer]:
        """Return the slides' layers, bottom to top; of a slide in channels, the one that stands for it."""
        return [layer for layer in self._viewer.layers if _is_slide(layer)]

    def names(self) -> tuple[str, ...]:
        """Return the names of the slides' layers, topmost first."""
        return tuple(layer.name for layer in reversed(self.layers()))

    def named(self, name: str | None) -> Layer | None:
        """Return the slide's layer of a name, or None."""
        return next((item for item in self.layers() if item.name == name), None)

    def selected(self) -> Layer | None:
        """Return the slide's layer of the selected layer: itself, or that of a channel or of a result."""
        active = self._viewer.layers.selection.active
        if active is None or _is_slide(active):
            return active
        fingerprint = _fingerprint(active)
        return next(
            (item for item in self.layers() if fingerprint and _fingerprint(item) == fingerprint), None
        )

    @staticmethod
    def slide(layer: Layer) -> Slide:
        """Return the open slide that a layer shows."""
        slide: Slide = layer.metadata[KEY]["slide"]
        return slide

    def asks_pixel_size(self, layer: Layer) -> bool:
        """Whether the slide's file does not state its pixel size."""
        slide = self.slide(layer)
        return slide.mpp is None or slide.mpp_given

    def give_pixel_size(self, layer: Layer, size: float) -> None:
        """Set the pixel size (µm) of a slide whose file states none, and put the viewer into µm.

        The view stays, and what was drawn on the slide in pixels moves with it. The answer is kept: the
        user is asked once a slide.
        """
        slide = self.slide(layer)
        facts = layer.metadata[KEY]
        try:
            slide.mpp, slide.mpp_given = given_mpp(size), True
            remember_mpp(facts["fingerprint"], slide.mpp)
        except SlideError as error:
            notices.warn(str(error))
            if slide.mpp is None:
                return
        ratio = size / float(layer.scale[-1])
        layer.metadata[KEY] = {**facts, **size_facts(slide)}
        own = [item for item in self._viewer.layers if _fingerprint(item) == facts["fingerprint"]]
        planes = [item for item in own if item.metadata[KEY]["kind"] in ("slide", "channel")]
        if ratio != 1 or any(_in_pixels(item) for item in planes):
            self._rescale(planes, size, ratio)

    def _rescale(self, planes: list[Layer], size: float, ratio: float) -> None:
        """Lay a slide's layers out anew, and with them what was drawn in pixels and the camera."""
        for item in [item for item in self._viewer.layers if item in planes or _in_pixels(item)]:
            item.scale, item.translate = item.scale * ratio, item.translate * ratio
            item.units = (MICROMETRES[0],) * item.ndim
        for item in planes:
            item.scale = (size, size)
        camera = self._viewer.scene.camera
        camera.center = tuple(value * ratio for value in camera.center)
        camera.zoom = camera.zoom / ratio

    def close(self) -> None:
        """Let go of the viewer."""
        for event in self._events:
            event.disconnect(self._on_event)
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        for layer in self._viewer.layers:
            layer.events.name.disconnect(self._on_event)
            layer.events.scale.disconnect(self._on_event)
            layer.events.visible.disconnect(self._on_event)
            if hasattr(layer.events, "highlight"):
                layer.events.highlight.disconnect(self._on_event)

    def _on_event(self, event: Any = None) -> None:
        self.changed.emit()

    def _on_inserted(self, event: Any) -> None:
        self._watch(event.value)

    def _watch(self, layer: Layer) -> None:
        layer.events.name.connect(self._on_event)
        layer.events.scale.connect(self._on_event)  # a pixel size was given
        layer.events.visible.connect(self._on_event)
        if hasattr(layer.events, "highlight"):  # of Shapes and Points: fires when a shape is selected
            layer.events.highlight.connect(self._on_event)


def _in_pixels(layer: Layer) -> bool:
    return all(str(unit) == _PIXEL for unit in layer.units)


def _is_slide(layer: Layer) -> bool:
    facts = layer.metadata.get(KEY)
    return isinstance(facts, dict) and facts.get("kind") == "slide" and "slide" in facts


def _fingerprint(layer: Layer) -> str | None:
    facts = layer.metadata.get(KEY)
    return facts.get("fingerprint") if isinstance(facts, dict) else None
