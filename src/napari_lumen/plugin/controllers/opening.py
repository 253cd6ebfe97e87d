"""Opening as a slide what napari itself would open otherwise or not at all: pictures, and OME-Zarr by URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.plugin import notices
from napari_lumen.plugin.jobs import Callbacks, JobRunner
from napari_lumen.plugin.reader import layers_of_slide, readable_slide

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_lumen.slides import Slide


class OpeningController:
    """Opens a slide in a worker and puts its layers into the viewer.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    """

    busy_changed = Signal(bool)

    def __init__(self, viewer: ViewerModel, jobs: JobRunner) -> None:
        self._viewer = viewer
        self._jobs = jobs
        self.busy = False

    def open(self, place: str) -> None:
        """Open a file, a folder or a URL as a slide; what cannot be opened is told in one sentence."""
        if self.busy or not place.strip():
            return
        self._set_busy(True)
        callbacks: Callbacks[Slide] = Callbacks(
            lambda event: None, self._on_opened, self._on_failed, lambda: self._set_busy(False)
        )
        self._jobs.start(lambda emit, cancel: readable_slide(place.strip()), callbacks)

    def close(self) -> None:
        """Stop and wait."""
        self._jobs.close()

    def _on_opened(self, slide: Slide) -> None:
        from napari.layers import Layer

        self._set_busy(False)
        for data, arguments, kind in layers_of_slide(slide):
            self._viewer.add_layer(Layer.create(data, arguments, kind))

    def _on_failed(self, error: BaseException) -> None:
        self._set_busy(False)
        notices.show(error)

    def _set_busy(self, busy: Any) -> None:
        self.busy = busy
        self.busy_changed.emit(busy)
