"""Models of others in the window: they run when the user trusts them, and not before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from fakes import ArraySlide
from napari_lumen.inference import Run
from napari_lumen.plugin.catalogue import ModelChoice, look_up
from napari_lumen.plugin.controllers.run_model import RunModelController
from napari_lumen.plugin.slide_layers import slide_layer
from plugin_fakes import StepJobs
from test_models_foreign import WSINFER, Tile, write_json, write_program


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A WSInfer model in the user's folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "data" / "napari-lumen" / "models" / "theirs"
    write_program(folder / "torchscript_model.pt", Tile(2), 22)
    write_json(folder / "config.json", WSINFER)
    return folder


def open_slide(viewer: Any) -> None:
    slide = ArraySlide(np.full((280, 210, 3), 120, np.uint8), mpp=(0.25, 0.25))
    slide.path = Path("case.svs")
    viewer.layers.append(Layer.create(*slide_layer(slide)))


def test_a_foreign_model_runs_once_it_is_trusted(installed: Path, tmp_path: Path) -> None:
    viewer, jobs = ViewerModel(), StepJobs()
    controller = RunModelController(viewer, jobs, out=tmp_path / "run")
    jobs.let_run()  # a model of ours is loaded ahead
    open_slide(viewer)
    theirs = next(choice for choice in controller.state.models if choice.path == installed)
    assert theirs.title.endswith("(WSInfer)")
    controller.choose_model(installed)
    controller.choose_device("cpu")
    viewer.scene.camera.center = (0, 35, 26)
    viewer.scene.camera.zoom = 5.0
    controller.choose_where("view")
    asked: list[ModelChoice] = []
    controller.trust_asked.connect(asked.append)

    controller.run()
    assert asked == [theirs]
    assert not controller.state.running
    assert not jobs.held

    controller.trust(theirs)
    controller.run()
    jobs.let_run()
    assert controller.state.message.startswith("Done"), controller.state.message
    assert Run.open(tmp_path / "run").record.tiles > 1
    assert any(layer.name == "case · notumor, tumor" for layer in viewer.layers)
    assert asked == [theirs]


def test_models_of_ours_are_not_asked_about(installed: Path) -> None:
    dangers = [bool(choice.danger) for choice in look_up().models]
    assert dangers == [False] * (len(dangers) - 1) + [True]
    assert len(dangers) > 1
