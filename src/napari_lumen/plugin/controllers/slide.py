"""The Slide panel without its widgets: which slide, what is known of it, what is in view, its pictures."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.errors import LumenError
from napari_lumen.geometry import Pair, level0_to_world, world_to_level0
from napari_lumen.plugin import notices
from napari_lumen.plugin.controllers.browsing import COLOR
from napari_lumen.plugin.controllers.slide_state import AssociatedPicture, InView, Pictures, SlideState
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.jobs import Callbacks, Job, JobRunner
from napari_lumen.plugin.layers import KEY
from napari_lumen.plugin.overview import Picture, overview
from napari_lumen.plugin.placing import origin_of, step_of
from napari_lumen.plugin.regions import view_region
from napari_lumen.plugin.slide_layers import SMALL
from napari_lumen.plugin.wording import slide_facts_in_words

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_UM_AT_1X = 10.0  # µm per pixel of the screen: 0.25 µm at 40x, 0.5 µm at 20x
_PRIVATE = ("label", "macro", "overview")  # a macro photograph shows the label as well, on most scanners


class SlideController:
    """State and rules of the Slide panel.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
        Reads pictures; nothing is decoded on the GUI thread.
    """

    changed = Signal(SlideState)
    view_changed = Signal(InView)
    pictures_changed = Signal(Pictures)

    def __init__(self, viewer: ViewerModel, jobs: JobRunner) -> None:
        self._viewer = viewer
        self._jobs = jobs
        self._slides = SlideLayers(viewer)
        self._layer: Layer | None = None
        self._reading: list[Job] = []
        self._overview: Job | None = None  # of those
        self.state = SlideState()
        self.view = InView()
        self.pictures = Pictures()
        self._slides.changed.connect(self._on_layers)
        camera = viewer.scene.camera
        self._views = (camera.events.center, camera.events.zoom, viewer.canvas.events.size)
        for event in self._views:
            event.connect(self._on_view)
        self._on_layers()

    # what the user does

    def choose_slide(self, name: str) -> None:
        """Choose the slide to show, by its layer's name."""
        self._slides.choose(name)

    def look_at(self, point: Pair) -> None:
        """Move the camera to a point (y, x) of the slide in level-0 pixels; the zoom stays."""
        if self._layer is not None:
            y, x = level0_to_world(point, step_of(self._layer))
            top, left = origin_of(self._layer)
            self._viewer.scene.camera.center = (0.0, y + top, x + left)

    def show_picture(self, name: str, shown: bool) -> None:
        """Show an associated picture, which is read then, or hide it."""
        picture = next((item for item in self.pictures.associated if item.name == name), None)
        if picture is not None:
            self._put(replace(picture, shown=shown))
            if shown and picture.image is None:
                self._read_picture(name)

    def give_pixel_size(self, size: float) -> None:
        """Give the pixel size in µm of a slide whose file does not state it."""
        if self._layer is not None and self.state.asks_pixel_size:
            self._slides.give_pixel_size(self._layer, size)
            self._on_layers()

    def close(self) -> None:
        """Stop everything and wait for it."""
        for event in self._views:
            event.disconnect(self._on_view)
        self._watch(None)
        self._slides.close()
        self._jobs.close()

    # what happens

    def _on_layers(self) -> None:
        before = self._slides.standing_for(self._layer)
        chosen = self._slides.chosen(None if before is None else self._slides.name(before))
        self._show(self._slides.named(chosen))

    def _show(self, layer: Layer | None) -> None:
        moved = layer is not self._layer
        if moved:
            self._watch(layer)
        self._update()
        if moved:
            self._read_pictures()
        self._on_view()

    def _watch(self, layer: Layer | None) -> None:
        """Listen to the layer that is shown now instead of the last."""
        if self._layer is not None:
            self._layer.events.translate.disconnect(self._on_view)
            self._layer.events.data.disconnect(self._on_data)
        self._layer = layer
        if layer is not None:
            layer.events.translate.connect(self._on_view)
            layer.events.data.connect(self._on_data)

    def _update(self) -> None:
        layer, names = self._layer, self._slides.names()
        if layer is None:
            state = SlideState(slides=names)
        else:
            slide = self._slides.slide(layer)
            state = SlideState(
                names,
                self._slides.name(layer),
                slide.shape,
                slide_facts_in_words(slide),
                tuple(sorted(slide.properties.items())),
                self._slides.asks_pixel_size(layer),
                slide.mpp[1] if slide.mpp_given and slide.mpp else None,
            )
        if state != self.state:
            self.state = state
            self.changed.emit(state)

    def _on_view(self, event: Any = None) -> None:
        view = InView()
        if self._layer is not None:
            slide = self._slides.slide(self._layer)
            camera, step, origin = self._viewer.scene.camera, step_of(self._layer), origin_of(self._layer)
            centre = (camera.center[-2] - origin[0], camera.center[-1] - origin[1])
            view = InView(
                view_region(self._viewer, step, slide.shape, origin),
                world_to_level0(centre, step),
                None if slide.mpp is None else _UM_AT_1X * camera.zoom,
            )
        if view != self.view:
            self.view = view
            self.view_changed.emit(view)

    # pictures

    def _read_pictures(self) -> None:
        for job in self._reading:
            job.cancel.set()
        self._reading = []
        layer = self._layer
        if layer is None:
            self._put_all(Pictures())
            return
        names = sorted(self._slides.slide(layer).associated)
        self._put_all(
            Pictures(None, tuple(AssociatedPicture(name, name.lower() in _PRIVATE) for name in names))
        )
        self._read_overview(layer)

    def _on_data(self, event: Any = None) -> None:
        """Show the slide in other colours: that is what its data are changed for."""
        if self._layer is not None:
            self._read_overview(self._layer)

    def _read_overview(self, layer: Layer) -> None:
        slide, facts = self._slides.slide(layer), layer.metadata[KEY]
        small, color = facts[SMALL], facts.get(COLOR)
        if self._overview is not None:
            self._overview.cancel.set()
        self._overview = self._start(partial(overview, slide, small, color), self._on_overview, notices.show)

    def _read_picture(self, name: str) -> None:
        assert self._layer is not None
        associated = self._slides.slide(self._layer).associated
        self._start(
            lambda: associated[name],
            partial(self._on_picture, name),
            partial(self._on_picture_failed, name),
        )

    def _start(self, read: Any, done: Any, failed: Any) -> Job:
        """Read in a worker; what arrives after the user went to another slide is dropped."""
        callbacks: Callbacks[Picture] = Callbacks(lambda event: None, done, failed, lambda: None)
        job = self._jobs.start(lambda emit, cancel: read(), callbacks)
        self._reading.append(job)
        return job

    def _on_overview(self, image: Picture) -> None:
        self._put_all(replace(self.pictures, overview=image))

    def _on_picture(self, name: str, image: Picture) -> None:
        self._change(name, image=image)

    def _on_picture_failed(self, name: str, error: BaseException) -> None:
        if isinstance(error, LumenError):
            self._change(name, problem=str(error))
        else:
            notices.show(error)

    def _change(self, name: str, **changes: Any) -> None:
        for picture in self.pictures.associated:
            if picture.name == name:
                self._put(replace(picture, **changes))

    def _put(self, picture: AssociatedPicture) -> None:
        associated = tuple(
            picture if item.name == picture.name else item for item in self.pictures.associated
        )
        self._put_all(replace(self.pictures, associated=associated))

    def _put_all(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self.pictures_changed.emit(pictures)
