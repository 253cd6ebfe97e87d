"""Opening as a slide: pictures that napari would open itself, and what cannot be opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager

from napari_lumen.plugin.controllers.opening import OpeningController
from napari_lumen.plugin.controllers.slides import SlideLayers
from plugin_fakes import StepJobs, damaged_slide


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def jobs() -> StepJobs:
    return StepJobs(first_at_once=False)


def test_a_png_becomes_a_slide_that_the_panels_know(
    viewer: ViewerModel, jobs: StepJobs, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "field.png")
    opening = OpeningController(viewer, jobs)
    opening.open(str(tmp_path / "field.png"))
    assert opening.state.text == "Opening field.png …"
    assert not viewer.layers
    jobs.let_run()
    assert not opening.state.text
    assert SlideLayers(viewer).names() == ("field.png",)
    np.testing.assert_array_equal(np.asarray(viewer.layers[0].data[0]), pixels)


def test_what_cannot_be_opened_is_told_once_and_the_next_can_be(
    viewer: ViewerModel, jobs: StepJobs, tmp_path: Path
) -> None:
    opening = OpeningController(viewer, jobs)
    missing = tmp_path / "missing.png"
    told: list[Any] = []
    notification_manager.notification_ready.connect(told.append)
    try:
        opening.open(str(missing))
        jobs.let_run()
    finally:
        notification_manager.notification_ready.disconnect(told.append)
    assert [notice.message for notice in told] == [
        f"There is no file {tmp_path / 'missing.png'}. Check the path."
    ]
    assert not viewer.layers
    assert not opening.state.text


def test_one_place_is_opened_at_a_time(viewer: ViewerModel, jobs: StepJobs, tmp_path: Path) -> None:
    opening = OpeningController(viewer, jobs)
    for _ in range(2):
        opening.open(str(tmp_path / "missing.png"))
    assert len(jobs.held) == 1


def test_opening_tells_how_far_it_is_and_can_be_cancelled(
    viewer: ViewerModel, jobs: StepJobs, tmp_path: Path
) -> None:
    path = damaged_slide(tmp_path / "flat.tif", side=4096, bad=set())
    opening = OpeningController(viewer, jobs)
    states: list[Any] = []
    opening.changed.connect(states.append)
    opening.open(str(path))
    jobs.let_run()
    assert states[0].text == "Opening flat.tif …"
    reading = [state for state in states if state.text.startswith("Reading an overview of flat.tif")]
    assert reading[0].total > 0
    assert states[-1].text == ""
    assert len(viewer.layers) == 1
    opening.open(str(path))
    opening.cancel()
    jobs.let_run()
    assert len(viewer.layers) == 1
    assert not opening.state.text
