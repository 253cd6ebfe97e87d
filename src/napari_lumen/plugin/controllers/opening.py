"""Opening as a slide what napari itself would open otherwise or not at all: pictures, and OME-Zarr by URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_lumen.plugin import notices
from napari_lumen.plugin.jobs import Callbacks, Job, JobRunner
from napari_lumen.plugin.opening import open_ready, opening_text
from napari_lumen.plugin.reader import layers_of_slide

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_lumen.plugin.ready import Ready
    from napari_lumen.plugin.small_levels import Step
    from napari_lumen.slides import Slide


@dataclass(frozen=True, slots=True)
class Opening:
    """What is being opened.

    Attributes
    ----------
    text : str
        What is going on; empty when nothing is.
    done, total : int
        How much of it; a total of 0 is not known.
    """

    text: str = ""
    done: int = 0
    total: int = 0


class OpeningController:
    """Opens a slide in a worker and puts its layers into the viewer.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    """

    changed = Signal(Opening)

    def __init__(self, viewer: ViewerModel, jobs: JobRunner) -> None:
        self._viewer = viewer
        self._jobs = jobs
        self._job: Job | None = None
        self.state = Opening()

    def open(self, place: str) -> None:
        """Open a file, a folder or a URL as a slide; what cannot be opened is told in one sentence."""
        place = place.strip()
        if self.state.text or not place:
            return
        self._put(Opening(opening_text(place)))
        callbacks: Callbacks[tuple[Slide, Ready]] = Callbacks(
            self._on_step, self._on_opened, self._on_failed, lambda: self._put(Opening())
        )
        self._job = self._jobs.start(lambda emit, cancel: open_ready(place, emit, cancel), callbacks)

    def cancel(self) -> None:
        """Open nothing after all."""
        if self._job is not None:
            self._job.cancel.set()

    def close(self) -> None:
        """Stop and wait a moment."""
        self._jobs.close()

    def _on_step(self, step: Step) -> None:
        done, total, text = step
        self._put(Opening(text, done, total))

    def _on_opened(self, opened: tuple[Slide, Ready]) -> None:
        from napari.layers import Layer

        self._put(Opening())
        for data, arguments, kind in layers_of_slide(*opened):
            self._viewer.add_layer(Layer.create(data, arguments, kind))

    def _on_failed(self, error: BaseException) -> None:
        self._put(Opening())
        notices.show(error)

    def _put(self, state: Opening) -> None:
        self.state = state
        self.changed.emit(state)
