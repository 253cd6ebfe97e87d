"""What happens when a slide or a result comes into a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import notification_manager

from fakes import ArraySlide
from napari_lumen.geometry import Window
from napari_lumen.plugin.controllers.arrivals import Arrivals
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.slide_layers import slide_layers
from plugin_fakes import channel_slide, write_run


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def panel_opened() -> list[bool]:
    return []


@pytest.fixture
def arrivals(viewer: ViewerModel, panel_opened: list[bool]) -> Iterator[Arrivals]:
    made = Arrivals(viewer, lambda: panel_opened.append(True))
    yield made
    made.close()


@pytest.fixture
def told() -> Iterator[list[Any]]:
    notes: list[Any] = []
    notification_manager.notification_ready.connect(notes.append)
    yield notes
    notification_manager.notification_ready.disconnect(notes.append)


def slide_of(mpp: tuple[float, float] | None = (0.5, 0.5), name: str = "case.svs") -> ArraySlide:
    slide = ArraySlide(np.full((300, 200, 3), 200, np.uint8), mpp=mpp)
    slide.path = Path(name)
    return slide


def added(viewer: ViewerModel, layers: Any) -> list[Any]:
    made = [Layer.create(*data) for data in layers]
    viewer.layers.extend(made)
    return made


def test_a_missing_pixel_size_is_asked_for_once(
    arrivals: Arrivals, viewer: ViewerModel, told: list[Any], panel_opened: list[bool]
) -> None:
    added(viewer, slide_layers(slide_of()))
    assert not told
    added(viewer, slide_layers(channel_slide(np.zeros((64, 64, 2), np.uint8), mpp=None)))
    (note,) = told
    assert note.message.startswith(
        "Give the pixel size in the Slide panel: it is not known of cells.ome.tif,"
    )
    assert "for the other slides" in note.message  # napari shows units only where all layers have the same
    ((button, then),) = note.actions
    assert button == "Open it"
    then(None)
    assert panel_opened == [True]


def test_the_scale_bar_comes_with_the_first_slide_in_micrometres(
    arrivals: Arrivals, viewer: ViewerModel, told: list[Any]
) -> None:
    bar = viewer.canvas.overlays.scale_bar
    (layer,) = added(viewer, slide_layers(slide_of(mpp=None)))
    assert not bar.visible
    SlideLayers(viewer).give_pixel_size(layer, 0.25)
    assert bar.visible
    bar.visible = False  # the user does not want it
    added(viewer, slide_layers(slide_of()))
    assert not bar.visible
    viewer.layers.clear()
    added(viewer, slide_layers(slide_of()))
    assert bar.visible


@pytest.mark.parametrize("slide_first", [True, False])
@pytest.mark.parametrize("mpp", [(0.25, 0.25), None])
def test_a_run_that_is_dropped_lies_on_its_slide(
    arrivals: Arrivals,
    viewer: ViewerModel,
    told: list[Any],
    tmp_path: Path,
    slide_first: bool,
    mpp: tuple[float, float] | None,
) -> None:
    slide = slide_of()
    run = write_run(tmp_path, slide, Window(8, 8, 8, 8), step=2.0)
    slide.mpp = mpp  # corrected, or lost, since
    parts = [slide_layers(slide), run_layers(run, "case").layers]
    made = [added(viewer, part) for part in (parts if slide_first else parts[::-1])]
    (layer,), results = made if slide_first else made[::-1]
    labels = results[-1]
    corner = layer.world_to_data(labels.data_to_world((8 - 0.5, 8 - 0.5)))
    np.testing.assert_allclose(corner, (15.5, 15.5), atol=1e-9)
    assert {tuple(map(str, item.units)) for item in viewer.layers} == {
        ("pixel", "pixel") if mpp is None else ("micrometer", "micrometer")
    }


def test_a_run_of_another_slide_stays_where_it_is(
    arrivals: Arrivals, viewer: ViewerModel, tmp_path: Path
) -> None:
    results = added(viewer, run_layers(write_run(tmp_path, slide_of(), Window(8, 8, 8, 8)), "case").layers)
    before = [tuple(layer.scale) for layer in results]
    slide = slide_of(mpp=(0.1, 0.1))
    data, settings, kind = slide_layers(slide)[0]
    settings["metadata"]["napari_lumen"]["fingerprint"] = "another"
    added(viewer, [(data, settings, kind)])
    assert [tuple(layer.scale) for layer in results] == before


def test_the_slider_of_a_channel_reaches_beyond_what_is_shown(
    arrivals: Arrivals, viewer: ViewerModel
) -> None:
    pixels = np.random.default_rng(0).integers(100, 900, (300, 200, 2), np.uint16)
    first, _ = added(viewer, slide_layers(channel_slide(pixels)))
    assert first.contrast_limits[1] < 1000
    assert list(first.contrast_limits_range) == [0, 1023]
