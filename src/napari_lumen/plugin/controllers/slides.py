"""The slides among a viewer's layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair
from napari_lumen.plugin import notices
from napari_lumen.plugin.layers import KEY, MICROMETRES, PLACED
from napari_lumen.plugin.placing import (
    drawn_on,
    facts_of,
    fingerprint_of,
    is_slide,
    lay_on,
    put_straight,
    step_of,
    stretch,
)
from napari_lumen.plugin.slide_layers import size_facts
from napari_lumen.slides.pixel_size import given_mpp, remember_mpp

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.slides import Slide


class SlideLayers:
    """Finds the slides that a viewer shows and tells when something about them, or a selection, changed.

    The open slide lies in the metadata of each of its layers, put there by the reader: one handle for
    viewing and running. Of a slide in channels, the lowest layer that is left stands for it.
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
        """Return the layers that stand for the slides, bottom to top."""
        standing: dict[int, Layer] = {}
        for layer in self._viewer.layers:
            if is_slide(layer):
                standing.setdefault(id(self.slide(layer)), layer)
        return list(standing.values())

    def standing_for(self, layer: Layer | None) -> Layer | None:
        """Return the layer that stands for the slide of a layer, which itself may be gone, or None."""
        if layer is None or not is_slide(layer):
            return None
        slide = self.slide(layer)
        return next((item for item in self.layers() if self.slide(item) is slide), None)

    def planes(self, layer: Layer) -> list[Layer]:
        """Return all layers of the slide that a layer shows, bottom to top: one, or one a channel."""
        slide = self.slide(layer)
        return [item for item in self._viewer.layers if is_slide(item) and self.slide(item) is slide]

    def names(self) -> tuple[str, ...]:
        """Return the names of the slides, topmost first."""
        return tuple(reversed(self._by_name()))

    def name(self, layer: Layer) -> str:
        """Return the name of the slide that a layer stands for: the layer's, or the file's with channels."""
        return next((name for name, item in self._by_name().items() if item is layer), layer.name)

    def named(self, name: str | None) -> Layer | None:
        """Return the layer that stands for the slide of a name, or None."""
        return None if name is None else self._by_name().get(name)

    def selected(self) -> Layer | None:
        """Return the layer that stands for the slide of the selected layer: one of its own, or a result."""
        active = self._viewer.layers.selection.active
        if active is None or not fingerprint_of(active):
            return None
        alike = (item for item in self.layers() if fingerprint_of(item) == fingerprint_of(active))
        return self.standing_for(active) or next(alike, None)

    def chosen(self, before: str | None) -> str | None:
        """Return the name of the slide that a panel is about: the one rule of all panels.

        It is the slide of the selected layer; while no layer of a slide is selected that which it was, as
        long as it is open; else the topmost.

        Parameters
        ----------
        before : str or None
            The name of the slide that it was.
        """
        selected = self.selected()
        if selected is not None:
            return self.name(selected)
        names = self.names()
        return before if before in names else next(iter(names), None)

    def choose(self, name: str) -> None:
        """Choose the slide of a name for all panels, by selecting its layer; does nothing without one."""
        layer = self.named(name)
        if layer is not None:
            self._viewer.layers.selection.active = layer

    @staticmethod
    def slide(layer: Layer) -> Slide:
        """Return the open slide that a layer shows."""
        slide: Slide = layer.metadata[KEY]["slide"]
        return slide

    def asks_pixel_size(self, layer: Layer) -> bool:
        """Whether the slide's file does not state its pixel size."""
        slide = self.slide(layer)
        return slide.mpp is None or slide.mpp_given

    def give_pixel_size(self, layer: Layer, size: float) -> bool:
        """Set the pixel size (µm) of a slide whose file states none, wherever it is open.

        The view of it stays: its results and what is drawn on it move with it. The answer is kept, so that
        the user is asked once a slide.

        Returns
        -------
        bool
            False, and nothing has changed, when that is no pixel size; the user is told.
        """
        try:
            mpp = given_mpp(size)
        except SlideError as error:
            notices.warn(str(error))
            return False
        fingerprint, before = fingerprint_of(layer), step_of(layer)
        ratio = (mpp[0] / before[0], mpp[1] / before[1])
        moving = drawn_on(layer, self._viewer.layers)
        for item in self._viewer.layers:
            if fingerprint_of(item) == fingerprint:
                if is_slide(item):
                    _set_size(item, mpp)
                else:
                    moving.append(item)
        for item in moving:
            if PLACED in facts_of(item):
                lay_on(item, layer)
            else:
                stretch(item, ratio)
            item.units = (MICROMETRES[0],) * item.ndim
        self._keep_view(ratio)
        try:
            remember_mpp(self.slide(layer).fingerprint, mpp)
        except SlideError as error:
            notices.warn(str(error))
        return True

    def _keep_view(self, ratio: Pair) -> None:
        camera = self._viewer.scene.camera
        *depth, y, x = camera.center
        camera.center = (*depth, y * ratio[0], x * ratio[1])
        camera.zoom = camera.zoom / ratio[1]

    def close(self) -> None:
        """Let go of the viewer."""
        for event in self._events:
            event.disconnect(self._on_event)
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        for layer in self._viewer.layers:
            for event, follow in self._followed(layer):
                event.disconnect(follow)

    def _by_name(self) -> dict[str, Layer]:
        """Return the slides by their names, bottom to top; one that is taken gets a number."""
        found: dict[str, Layer] = {}
        for layer in self.layers():
            slide = self.slide(layer)
            wanted = name = layer.name if slide.is_rgb else slide.path.name
            number = 1
            while name in found:
                name, number = f"{wanted} [{number}]", number + 1
            found[name] = layer
        return found

    def _on_event(self, event: Any = None) -> None:
        self.changed.emit()

    def _on_inserted(self, event: Any) -> None:
        self._watch(event.value)

    def _followed(self, layer: Layer) -> Iterator[tuple[Any, Callable[[Any], None]]]:
        """Yield the events of a layer that count, and what hears of each."""
        events = layer.events
        yield events.name, self._on_event
        yield events.scale, self._on_event  # a pixel size was given
        yield events.visible, self._on_event
        yield events.metadata, self._on_event  # a run has ended, or was corrected
        if hasattr(events, "highlight"):  # of Shapes and Points: fires when a shape is selected
            yield events.highlight, self._on_event
        if is_slide(layer):
            yield events.translate, self._on_moved
            for turned in (events.rotate, events.shear, events.affine):
                yield turned, self._on_turned

    def _on_moved(self, event: Any) -> None:
        """Lay what a slide carries on it anew."""
        slide = event.source
        for layer in self._viewer.layers:
            if PLACED in facts_of(layer) and fingerprint_of(layer) == fingerprint_of(slide):
                lay_on(layer, slide)

    def _on_turned(self, event: Any) -> None:
        """Put a slide back that was turned or sheared, since nothing that lies on it could follow."""
        slide = event.source
        if put_straight(slide):
            notices.warn(
                f"{slide.name} was put back: maps, outlines and regions lie on a slide by its pixel size and "
                "position, so it cannot be turned or sheared."
            )

    def _watch(self, layer: Layer) -> None:
        for event, follow in self._followed(layer):
            event.connect(follow)
        if is_slide(layer):
            layer.editable = False  # else napari offers to turn and move it by hand


def _set_size(layer: Layer, mpp: Pair) -> None:
    """Lay a slide's layer out in µm; its slide may be another copy of the same file."""
    slide = SlideLayers.slide(layer)
    slide.mpp, slide.mpp_given = mpp, True
    layer.metadata[KEY] = {**facts_of(layer), **size_facts(slide)}
    before = step_of(layer)
    layer.translate = layer.translate * (mpp[0] / before[0], mpp[1] / before[1])
    layer.units = MICROMETRES
    layer.scale = mpp  # last: this is what the panels hear
