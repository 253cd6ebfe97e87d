"""What goes on while the user looks at slides: colours as preferred, memory in bounds, reading ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_lumen.plugin.colors import Colors
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.layers import KEY
from napari_lumen.plugin.newest import Newest
from napari_lumen.plugin.placing import origin_of, step_of
from napari_lumen.plugin.prefetch import REST, View, read_ring
from napari_lumen.plugin.regions import view_region
from napari_lumen.plugin.slide_layers import SMALL, colour_levels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.plugin.preferences import Preferences, PreferencesSource
    from napari_lumen.slides import Slide
    from napari_lumen.slides.color import Color

_MB = 1_000_000
COLOR = "color"  # in a slide layer's facts: the conversion that it is shown with, or None


class Browsing:
    """Looks after the slides of one viewer.

    Parameters
    ----------
    viewer : ViewerModel
    preferences : PreferencesSource
    rest : float, optional
        Seconds that the camera must rest before the surroundings are read.
    """

    def __init__(self, viewer: ViewerModel, preferences: PreferencesSource, rest: float = REST) -> None:
        self._viewer = viewer
        self._preferences = preferences
        self._colors = Colors()
        self._slides = SlideLayers(viewer)
        self._ahead: Newest[View] = Newest(read_ring, rest)
        self._slides.changed.connect(self._on_view)
        preferences.changed.connect(self._on_preferences)
        camera = viewer.scene.camera
        self._views = (camera.events.center, camera.events.zoom, viewer.canvas.events.size)
        for event in self._views:
            event.connect(self._on_view)
        _bound_caches(preferences.current)

    def color_of(self, slide: Slide) -> Color | None:
        """Return what a slide's colours are to be changed with for display; None for raw ones."""
        return self._colors.of(slide, self._preferences.current)

    def look_again(self) -> None:
        """Draw anew the slides of which something has come, or may be asked for again, that was missing."""
        for layer in self._slides.layers():
            if self._slides.slide(layer).damage.passed():
                for plane in self._slides.planes(layer):
                    plane.refresh(thumbnail=False, highlight=False, extent=False)

    def close(self) -> None:
        """Stop reading ahead and let go of the viewer."""
        self._preferences.changed.disconnect(self._on_preferences)
        self._preferences.close()
        for event in self._views:
            event.disconnect(self._on_view)
        self._slides.close()
        self._ahead.close()

    def _on_preferences(self, preferences: Preferences) -> None:
        _bound_caches(preferences)
        for layer in self._slides.layers():
            self._recolor(layer)
        self._on_view()

    def _recolor(self, layer: Layer) -> None:
        """Show a slide in the preferred colours, in its own layer: the view and all on top of it stay."""
        slide = self._slides.slide(layer)
        color = self.color_of(slide)
        if slide.is_rgb and layer.metadata[KEY].get(COLOR) is not color:
            layer.metadata[KEY][COLOR] = color
            layer.data = colour_levels(slide, layer.metadata[KEY][SMALL], color)

    def _on_view(self, event: Any = None) -> None:
        view = self._view() if self._preferences.current.prefetch else None
        if view is None:
            self._ahead.drop()
        else:
            self._ahead.ask(view)

    def _view(self) -> View | None:
        """Return what is seen of the topmost slide in view, or None."""
        from napari_lumen.slides.cache import process_cache

        for layer in reversed(self._slides.layers()):
            slide = self._slides.slide(layer)
            scale = step_of(layer)
            seen = view_region(self._viewer, scale, slide.shape, origin_of(layer))
            if any(plane.visible for plane in self._slides.planes(layer)) and not seen.empty:
                zoom = self._viewer.scene.camera.zoom
                step = (1 / zoom / scale[0], 1 / zoom / scale[1])
                return View(slide, seen, step, process_cache().limit)
        return None


def _bound_caches(preferences: Preferences) -> None:
    """Share the memory out: half for decoded tiles, half for napari's cache of dask chunks."""
    from napari.utils import resize_dask_cache

    from napari_lumen.slides.cache import process_cache

    half = preferences.cache_mb * _MB // 2
    process_cache().set_limit(half)
    resize_dask_cache(half)
