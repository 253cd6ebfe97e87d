"""The Slide panel: joins form, controller and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.plugin.controllers.opening import OpeningController
from napari_lumen.plugin.controllers.slide import SlideController
from napari_lumen.plugin.controllers.slide_state import SlideState
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.opening import PATIENCE
from napari_lumen.plugin.panel import Panel, unproxied
from napari_lumen.plugin.widgets.opening import OpeningForm
from napari_lumen.plugin.widgets.slide import SlideForm

if TYPE_CHECKING:
    from napari import Viewer


class SlidePanel(Panel):
    """Dock widget "Slide".

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari by this name.
    controller : SlideController, optional
        For tests; made here otherwise.
    """

    def __init__(self, napari_viewer: Viewer, controller: SlideController | None = None) -> None:
        viewer = unproxied(napari_viewer)
        self.controller = controller or SlideController(viewer, Jobs(PATIENCE))
        self.opening = OpeningController(viewer, Jobs(PATIENCE))
        self.form = SlideForm()
        self.places = OpeningForm()
        super().__init__((self.controller, self.opening), self.places, self.form)
        self._connect()
        self._on_state(self.controller.state)
        self.form.show_pictures(self.controller.pictures)

    def _connect(self) -> None:
        form, controller = self.form, self.controller
        form.slide_chosen.connect(controller.choose_slide)
        form.moved.connect(controller.look_at)
        form.picture_asked.connect(controller.show_picture)
        form.pixel_size_given.connect(controller.give_pixel_size)
        self.places.place_chosen.connect(self.opening.open)
        self.places.cancelled.connect(self.opening.cancel)
        self.opening.changed.connect(self.places.show_state)
        controller.changed.connect(self._on_state)
        controller.view_changed.connect(form.show_view)
        controller.pictures_changed.connect(form.show_pictures)

    def _on_state(self, state: SlideState) -> None:
        self.form.show_state(state)
        self.form.show_view(self.controller.view)
