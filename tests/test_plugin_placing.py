"""Correcting a pixel size moves a slide with all that lies on it, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from fakes import ArraySlide
from napari_lumen.geometry import Window
from napari_lumen.plugin import notices
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.results import add_result
from napari_lumen.plugin.slide_layers import slide_layer
from napari_lumen.slides.pixel_size import remembered_mpp
from plugin_fakes import write_run

UM, PIXELS = ["micrometer"] * 2, ["pixel"] * 2


class Case(ArraySlide):
    """A slide of its own fingerprint."""

    def __init__(self, name: str, mpp: tuple[float, float] | None = None, side: int = 400) -> None:
        super().__init__(np.full((side, side, 3), 200, np.uint8), mpp=mpp)
        self.path = Path(name)

    def fingerprint_now(self) -> str:
        return self.path.name


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def slides(viewer: ViewerModel) -> SlideLayers:
    return SlideLayers(viewer)


def opened(viewer: ViewerModel, slide: ArraySlide) -> Any:
    layer = Layer.create(*slide_layer(slide))
    viewer.layers.append(layer)
    return layer


def units(layer: Any) -> list[str]:
    return [str(unit) for unit in layer.units]


def on_slide(slide: Any, layer: Any, point: tuple[float, float] = (10.0, 20.0)) -> np.ndarray:
    """Return where a point of a layer lies on the slide, in level-0 pixels."""
    return np.asarray(slide.world_to_data(layer.data_to_world(point)))


def test_a_slide_cannot_be_turned_by_hand_and_is_put_back_when_it_is(
    viewer: ViewerModel, slides: SlideLayers, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(notices, "warn", told.append)
    layer = opened(viewer, Case("case.svs", mpp=(0.5, 0.5)))
    other = SlideLayers(viewer)  # of another panel
    assert not layer.editable
    before = layer.data_to_world((30, 40))
    for name, value in (("rotate", 20), ("shear", [0.5]), ("affine", np.diag([1, 2, 1]))):
        setattr(layer, name, value)
        np.testing.assert_allclose(layer.data_to_world((30, 40)), before)
    assert len(told) == 3
    assert "case.svs was put back" in told[0]
    other.close()


def test_results_follow_a_slide_that_is_moved(
    viewer: ViewerModel, slides: SlideLayers, tmp_path: Path
) -> None:
    slide = Case("case.svs", mpp=(0.5, 0.5))
    layer = opened(viewer, slide)
    results = add_result(viewer, layer, run_layers(write_run(tmp_path, slide, Window(8, 8, 8, 8)), "case"))
    before = [on_slide(layer, item) for item in results]
    layer.translate = (100, 57)
    for item, place in zip(results, before, strict=True):
        np.testing.assert_allclose(on_slide(layer, item), place, atol=1e-6)


def test_results_and_drawings_stay_on_the_tissue(
    viewer: ViewerModel, slides: SlideLayers, tmp_path: Path
) -> None:
    slide = Case("case.svs")
    layer = opened(viewer, slide)
    assert slides.give_pixel_size(layer, 0.25)
    results = add_result(viewer, layer, run_layers(write_run(tmp_path, slide, Window(8, 8, 8, 8)), "case"))
    points = viewer.add_points([(10, 20)], scale=(0.25, 0.25), units=("um", "um"))
    shapes = viewer.add_shapes([np.array([(0, 0), (0, 9), (9, 9), (9, 0)])], translate=(30, 40), rotate=30)
    things = [*results, points, shapes]
    before = [on_slide(layer, thing) for thing in things]
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 40, 30), 2.0
    assert slides.give_pixel_size(layer, 0.5)
    assert tuple(layer.scale) == (0.5, 0.5)
    np.testing.assert_allclose([on_slide(layer, thing) for thing in things], before, atol=1e-9)
    assert all(units(thing) == UM for thing in things)
    assert (viewer.scene.camera.center, viewer.scene.camera.zoom) == ((0, 80, 60), 1.0)


def test_a_refused_pixel_size_changes_nothing(viewer: ViewerModel, slides: SlideLayers) -> None:
    slide = Case("case.svs")
    layer = opened(viewer, slide)
    slides.give_pixel_size(layer, 0.5)
    viewer.scene.camera.zoom = 3.0
    for absurd in (0.005, 1000.0, float("nan")):
        assert not slides.give_pixel_size(layer, absurd)
        assert slide.mpp == layer.metadata["napari_lumen"]["mpp"] == (0.5, 0.5)
        assert tuple(layer.scale) == (0.5, 0.5)
        assert viewer.scene.camera.zoom == 3.0
    assert remembered_mpp("case.svs") == (0.5, 0.5)


def test_the_pixel_size_of_one_slide_is_not_that_of_another(viewer: ViewerModel, slides: SlideLayers) -> None:
    first, other = opened(viewer, Case("first.svs")), opened(viewer, Case("other.svs"))
    slides.give_pixel_size(first, 0.25)
    assert (units(first), tuple(first.scale)) == (UM, (0.25, 0.25))
    assert (units(other), tuple(other.scale)) == (PIXELS, (1, 1))
    assert slides.slide(other).mpp is None
    assert remembered_mpp("other.svs") is None


def test_all_open_copies_of_a_slide_get_the_answer(viewer: ViewerModel, slides: SlideLayers) -> None:
    copies = [opened(viewer, Case("case.svs")) for _ in range(2)]
    slides.give_pixel_size(copies[0], 0.3)
    for layer in copies:
        assert slides.slide(layer).mpp == layer.metadata["napari_lumen"]["mpp"] == (0.3, 0.3)
        assert (units(layer), tuple(layer.scale)) == (UM, (0.3, 0.3))


def test_of_several_slides_a_drawing_belongs_to_the_topmost_below_it(
    viewer: ViewerModel, slides: SlideLayers
) -> None:
    wide, small = opened(viewer, Case("wide.svs", side=400)), opened(viewer, Case("small.svs", side=100))
    both, beside, nothing = (viewer.add_points(points) for points in ([(50, 50)], [(300, 300)], None))
    slides.give_pixel_size(small, 0.5)
    assert [tuple(item.scale) for item in (both, beside, nothing)] == [(0.5, 0.5), (1, 1), (1, 1)]
    slides.give_pixel_size(wide, 2.0)
    assert [tuple(item.scale) for item in (both, beside, nothing)] == [(0.5, 0.5), (2, 2), (1, 1)]
    small.visible = False
    slides.give_pixel_size(wide, 4.0)
    assert tuple(both.scale) == (1, 1)


def test_layers_of_more_axes_are_stretched_along_the_slides(viewer: ViewerModel, slides: SlideLayers) -> None:
    layer = opened(viewer, Case("case.svs"))
    points = viewer.add_points([(3, 10, 20)], scale=(5, 1, 1))
    slides.give_pixel_size(layer, 0.5)
    assert tuple(points.scale) == (5, 0.5, 0.5)
