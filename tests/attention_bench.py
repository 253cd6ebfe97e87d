"""A window without a screen, a slide that is dark in one place, and the Attention panel's controller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer

from fakes import ArraySlide
from napari_lumen.explain import Explainer
from napari_lumen.geometry import Region
from napari_lumen.inference import Run
from napari_lumen.models import Model
from napari_lumen.plugin.catalogue import Catalogue, ModelChoice
from napari_lumen.plugin.controllers.attention import AttentionController
from napari_lumen.plugin.explainers import Asker, Explainers
from napari_lumen.plugin.jobs import Job
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.results import add_result
from napari_lumen.plugin.slide_layers import slide_layer
from test_plugin_correct import AtOnce

MARKER = ModelChoice(Path("marker"), "Marker", "Marks what is dark.", "")


class OneModel(Explainers):
    """Explains with a model that lies in no folder."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.explainer = Explainer(model, "cpu")
        self.asked: list[Asker] = []

    @contextmanager
    def use(self, asker: Asker) -> Iterator[Explainer]:
        self.asked.append(asker)
        yield self.explainer


class Soon(AtOnce):
    """Does work where it is started, but for what is started while a run's layers come into the window."""

    def __init__(self) -> None:
        self._late: list[tuple[Any, Any]] | None = None

    def start(self, work: Any, callbacks: Any) -> Job:
        if self._late is None:
            return super().start(work, callbacks)
        self._late.append((work, callbacks))
        return Job()

    @contextmanager
    def later(self) -> Iterator[None]:
        self._late = []
        yield
        late, self._late = self._late, None
        for work, callbacks in late:
            self.start(work, callbacks)


class Bench:
    """A viewer with a slide and the controller; `show_run` shows a run over the slide."""

    def __init__(self, slide: ArraySlide, model: Model | None = None, jobs: Any = None) -> None:
        self.viewer = ViewerModel()
        self.viewer.canvas.size = (400, 400)
        self.jobs = jobs or Soon()
        self.slide = slide
        self.layer = self.viewer.add_layer(Layer.create(*slide_layer(slide)))
        self.controller = AttentionController(
            self.viewer, self.jobs, lambda: Catalogue((MARKER,), (("cpu", "CPU"),))
        )
        if model is not None:
            self.controller.explainers = OneModel(model)

    def show_run(self, run: Run) -> None:
        with self.jobs.later():
            add_result(self.viewer, self.layer, run_layers(run, "case"))

    def look_at(self, region: Region) -> None:
        """Put the view on a region, level-0 px: as large as the canvas shows it."""
        mpp = self.slide.mpp or (1.0, 1.0)
        self.viewer.scene.camera.center = (
            (region.y + region.height / 2 - 0.5) * mpp[0],
            (region.x + region.width / 2 - 0.5) * mpp[1],
        )
        self.viewer.scene.camera.zoom = 400 / (region.height * mpp[0])

    @property
    def map(self) -> Any:
        """The layer of the shown map."""
        current = self.controller.current
        assert current is not None
        return current.layer
