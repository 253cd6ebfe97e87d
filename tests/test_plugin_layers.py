"""Results lie exactly on the tissue, in µm, and say what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Shapes

from fakes import ArraySlide
from napari_lumen.geometry import Region, Window, level0_to_world
from napari_lumen.plugin.layers import class_colors, run_layers
from napari_lumen.plugin.reader import napari_get_reader
from napari_lumen.plugin.regions import selected_shapes, view_region
from napari_lumen.plugin.results import add_result
from napari_lumen.plugin.slide_layers import slide_layer
from napari_lumen.plugin.wording import area, duration
from plugin_fakes import NUCLEUS, write_run

MPP = (0.25, 0.26)
MARKED = Window(40, 24, 16, 32)  # px of the run's grid


@pytest.fixture
def slide() -> ArraySlide:
    return ArraySlide(np.full((600, 500, 3), 230, np.uint8), mpp=MPP)


@pytest.fixture
def viewer(slide: ArraySlide) -> ViewerModel:
    model = ViewerModel()
    model.layers.append(Layer.create(*slide_layer(slide)))
    return model


@pytest.fixture
def added(viewer: ViewerModel, slide: ArraySlide, tmp_path: Path) -> list[Layer]:
    return add_result(
        viewer, viewer.layers[0], run_layers(write_run(tmp_path, slide, MARKED), "case.ome.tif")
    )


def edges(layer: Any, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return the world positions of the outer edges of some pixels of the finest level."""
    top_left = layer.data_to_world((window.y - 0.5, window.x - 0.5))
    bottom_right = layer.data_to_world((window.y + window.height - 0.5, window.x + window.width - 0.5))
    return np.asarray(top_left), np.asarray(bottom_right)


def test_every_layer_is_in_micrometres(added: list[Layer], viewer: ViewerModel) -> None:
    assert len(viewer.layers) == 5
    for layer in viewer.layers:
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]


def test_labels_lie_on_the_pixels_that_they_are_about(added: list[Layer], viewer: ViewerModel) -> None:
    labels, slide = added[-1], viewer.layers[0]
    assert isinstance(labels, Labels)
    same = Window(MARKED.y * 2, MARKED.x * 2, MARKED.height * 2, MARKED.width * 2)
    np.testing.assert_allclose(edges(labels, MARKED), edges(slide, same), rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        edges(slide, same)[0], level0_to_world((same.y, same.x), MPP), rtol=0, atol=1e-9
    )


def test_a_value_of_the_attention_map_covers_its_own_pixels(added: list[Layer], viewer: ViewerModel) -> None:
    attention, slide = added[-2], viewer.layers[0]
    same = Window(8 * 3, 8 * 5, 8, 8)
    np.testing.assert_allclose(edges(attention, Window(3, 5, 1, 1)), edges(slide, same), rtol=0, atol=1e-9)


def test_every_level_of_the_labels_starts_at_the_same_edge(added: list[Layer]) -> None:
    labels = added[-1]
    for level, factor in enumerate(labels.downsample_factors):
        np.testing.assert_array_equal(factor, 2**level)


def test_what_is_under_the_mouse_is_named(added: list[Layer]) -> None:
    labels = added[-1]
    inside = labels.data_to_world((MARKED.y + 1, MARKED.x + 1))
    assert "nucleus" in str(labels.get_status(inside, view_direction=None, dims_displayed=[0, 1], world=True))


def test_results_come_above_their_slide_and_cannot_be_edited(added: list[Layer], viewer: ViewerModel) -> None:
    assert list(viewer.layers[1:]) == added
    assert [layer.name for layer in added] == [
        "case · probability of nucleus",
        "case · probability of gland",
        "case · Group attention (d2.0.att0)",
        "case · nucleus, gland",
    ]
    assert [layer.visible for layer in added] == [False, False, True, True]
    assert not any(layer.editable for layer in added)
    assert all(layer.multiscale for layer in added if isinstance(layer, Labels))


def test_a_second_run_hides_the_first(
    added: list[Layer], viewer: ViewerModel, slide: ArraySlide, tmp_path: Path
) -> None:
    again = run_layers(write_run(tmp_path / "again", slide, MARKED), "case.ome.tif")
    newer = add_result(viewer, viewer.layers[0], again)
    assert not any(layer.visible for layer in added)
    assert newer[-1].visible


def test_a_result_is_not_covered_by_another_slide(
    viewer: ViewerModel, slide: ArraySlide, tmp_path: Path
) -> None:
    other = ArraySlide(np.full((600, 500, 3), 90, np.uint8), mpp=MPP)
    data, arguments, kind = slide_layer(other)
    above = viewer.add_layer(Layer.create(data, arguments, kind))
    above.metadata["napari_lumen"]["fingerprint"] = "another"
    result = add_result(
        viewer, viewer.layers[0], run_layers(write_run(tmp_path / "run", slide, MARKED), "case.ome.tif")
    )
    assert viewer.layers.index(result[0]) > viewer.layers.index(above)


def test_attention_is_clear_where_nothing_was_analysed(added: list[Layer]) -> None:
    attention = added[-2]
    assert np.isnan(np.asarray(attention.data)[-1]).all()
    assert attention.colormap.nan_color[3] == 0
    low, high = attention.contrast_limits
    assert 0.19 < low < high < 0.81


def test_colours_come_from_the_class_table(added: list[Layer]) -> None:
    colors = class_colors(NUCLEUS)
    np.testing.assert_allclose(colors[1], (0, 180 / 255, 1, 1))
    assert colors[0][3] == colors[None][3] == 0
    np.testing.assert_allclose(added[-1].colormap.map(2), (1, 120 / 255, 0, 1), atol=1 / 255)


def test_dropping_the_folder_of_a_run_restores_its_layers(slide: ArraySlide, tmp_path: Path) -> None:
    write_run(tmp_path, slide, MARKED)
    reader = napari_get_reader(str(tmp_path))
    assert reader is not None
    kinds = [kind for _, _, kind in reader(str(tmp_path))]
    assert kinds == ["image", "image", "image", "labels"]


def test_a_result_lies_on_its_slide_whatever_pixel_size_its_run_had(tmp_path: Path) -> None:
    slide = ArraySlide(np.full((600, 500, 3), 230, np.uint8), mpp=MPP)
    run = write_run(tmp_path, slide, MARKED)
    slide.mpp = (0.5, 0.5)  # corrected since
    viewer = ViewerModel()
    viewer.layers.append(Layer.create(*slide_layer(slide)))
    viewer.layers[0].translate = (100, 50)  # laid beside another
    labels = add_result(viewer, viewer.layers[0], run_layers(run, "case"))[-1]
    same = Window(MARKED.y * 2, MARKED.x * 2, MARKED.height * 2, MARKED.width * 2)
    np.testing.assert_allclose(edges(labels, MARKED), edges(viewer.layers[0], same), rtol=0, atol=1e-9)


def test_decoded_views_are_kept_once(slide: ArraySlide) -> None:
    _, arguments, _ = slide_layer(slide)
    assert arguments["cache"] is False  # the slide keeps its tiles


def test_the_view_is_what_the_camera_shows_of_the_slide(viewer: ViewerModel) -> None:
    viewer.canvas.size = (200, 400)
    viewer.scene.camera.zoom = 4.0  # 50 x 100 µm
    viewer.scene.camera.center = (0, *level0_to_world((300, 50), MPP))
    region = view_region(viewer, MPP, (600, 500))
    assert region.y == pytest.approx(300 - 25 / 0.25)
    assert region.height == pytest.approx(50 / 0.25)
    assert region.x == 0
    assert region.right == pytest.approx(50 + 50 / 0.26)
    viewer.scene.camera.center = (0, 1e6, 1e6)
    assert view_region(viewer, MPP, (600, 500)).empty


def test_in_a_grid_the_view_is_what_one_part_of_the_canvas_shows(viewer: ViewerModel) -> None:
    viewer.canvas.size = (200, 400)
    viewer.scene.camera.zoom = 4.0
    viewer.scene.camera.center = (0, *level0_to_world((300, 250), MPP))
    for _ in range(2 - len(viewer.layers) + 1):
        viewer.add_image(np.zeros((4, 4)))
    viewer.layers[-1].visible = False  # takes no part
    viewer.canvas.grid.update({"shape": (1, -1), "enabled": True})
    region = view_region(viewer, MPP, (600, 500))
    assert (region.height, region.width) == pytest.approx((200 / 4 / MPP[0], 400 / 2 / 4 / MPP[1]))
    assert region.x + region.width / 2 == pytest.approx(250)


def test_selected_shapes_become_geometry_in_level_0_pixels() -> None:
    corners = [level0_to_world(point, MPP) for point in ((100, 50), (100, 90), (140, 90), (140, 50))]
    layer = Shapes(units=("um", "um"))
    layer.add_rectangles([corners])
    layer.add_ellipses([np.add(corners, 100 * MPP[0])])
    layer.add_lines([corners[:2]])
    layer.selected_data = {0}
    box = selected_shapes(layer, MPP)
    assert box is not None
    assert box.bounds == pytest.approx((50, 100, 90, 140))
    layer.selected_data = {1}
    ellipse = selected_shapes(layer, MPP)
    assert ellipse is not None
    assert ellipse.area == pytest.approx(np.pi * 20 * 20, rel=2e-3)
    layer.selected_data = {2}
    assert selected_shapes(layer, MPP) is None
    layer.selected_data = set()
    assert selected_shapes(layer, MPP) is None


def test_a_moved_and_scaled_shapes_layer_is_taken_where_it_is_seen() -> None:
    layer = Shapes([np.array([(0, 0), (0, 10), (10, 10), (10, 0)])], scale=(2, 2), translate=(50, 60))
    layer.selected_data = {0}
    box = selected_shapes(layer, (0.5, 0.5))
    assert box is not None
    assert box.bounds == pytest.approx((120.5, 100.5, 160.5, 140.5))
    box = selected_shapes(layer, (0.5, 0.5), origin=(20, 40))
    assert box is not None
    assert box.bounds == pytest.approx((40.5, 60.5, 80.5, 100.5))


def test_an_empty_view_is_an_empty_region() -> None:
    assert Region(0, 0, 0, 0).empty


def test_amounts_are_said_as_a_reader_expects() -> None:
    assert area(12.345) == "12.3 mm²"
    assert area(0.2512) == "0.25 mm²"
    assert area(0.0051) == "0.0051 mm²"
    assert area(0.0000421) == "42 µm²"
    assert duration(42.4) == "42 s"
    assert duration(59.7) == "1 min 0 s"
    assert duration(94) == "1 min 34 s"
    assert duration(1500) == "25 min"
    assert duration(5400) == "1.5 h"
