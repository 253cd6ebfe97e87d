"""The layer of a map in the window: its peak in the cell that saw it, its edges where the field ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attention_bench import Bench
from explain_fakes import dark_at, marker_model
from napari_lumen.geometry import Region, world_to_level0
from napari_lumen.inference import Run, predict
from napari_lumen.plugin.annotation_layers import annotations_on
from napari_lumen.plugin.attention_gallery_entries import view_of
from napari_lumen.plugin.attention_layers import NO_LABEL, STATE_LIMITS, MapLevel, levels_of
from napari_lumen.plugin.controllers.attention_state import Look
from napari_lumen.plugin.evaluation_truth import truth_layers
from napari_lumen.plugin.explainers import Asker

STRIDES = (1, 2, 4, 8, 16, 32, None)
WHOLE = Region(0, 0, 128, 128)
SPOT = Region(204, 192, 4, 4)
PYRAMIDS: Any = [
    ((400, 420), (), 0.5, 0.5),
    ((801, 803), ((200, 201),), 0.25, 1.0),  # 4.005, which is 4
    ((600, 602), (), 0.25, 0.601),  # no level has the model's pixel size
    ((640, 640), ((160, 160),), 0.2501, 0.75),
]


def level0(layer: Any, pixel: Any, level: int = 0) -> np.ndarray:
    """Return where a place in pixels of a level lies on the slide by napari's own transforms, level-0 px."""
    factor = layer.downsample_factors[level]
    # napari lays the pixels of a level edge to edge over those of the finest
    finest = (np.asarray(pixel, float) + 0.5) * factor - 0.5
    mpp = tuple(layer.metadata["napari_lumen"]["placed"][0])
    return np.array(world_to_level0(tuple(layer.data_to_world(finest)), mpp))


def ends(layer: Any) -> np.ndarray:
    """Return the lower and right end of what is drawn of a layer, px of the finest level."""
    found = np.array(layer.data[0].shape) - 0.5
    for position, normal in layer.experimental_clipping_planes.as_array()[..., 1:]:
        axis = int(np.flatnonzero(normal)[0])
        assert normal[axis] == -1
        found[axis] = min(found[axis], position[axis])
    return found


@pytest.mark.parametrize(("size", "multiple"), [(64, 1), (77, 16)])
@pytest.mark.parametrize(("shape", "levels", "own", "mpp"), PYRAMIDS)
def test_the_layer_of_every_map_of_a_field_peaks_at_the_marked_cell_and_ends_where_the_field_ends(
    size: int, multiple: int, shape: Any, levels: Any, own: float, mpp: float
) -> None:
    slide = dark_at(SPOT, shape, *levels, mpp=own)
    bench = Bench(slide, marker_model(*STRIDES, multiple=multiple, size=size, mpp=mpp))
    bench.controller.explain(Asker(model=Path("marker")), (206.0, 194.0), "Field")
    field = bench.controller.field
    assert field is not None
    region = field.explained_region
    for stride in STRIDES:
        bench.controller.choose_map(f"map{stride}")
        layer = bench.map
        values = np.asarray(layer.data[0])
        cell = field.explained[f"map{stride}"].grid.step  # type: ignore[union-attr]
        assert values.shape == field.explained[f"map{stride}"].values.shape  # the network's own cells
        peaks = np.argwhere(values == np.nanmax(values))
        middle = level0(layer, peaks.mean(axis=0))
        allowed = [s / 2 + SPOT.height / 2 + mpp / own for s in cell]
        assert np.abs(middle - (206, 194)) == pytest.approx([0, 0], abs=max(allowed))
        first, last = level0(layer, (-0.5, -0.5)), level0(layer, ends(layer))
        np.testing.assert_allclose(first, (region.y, region.x), atol=0.5)
        np.testing.assert_allclose(last, (region.bottom, region.right), atol=0.5)
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Run]:
    """A run of overlapping tiles on a pyramid of 4.005 that is dark in one place."""
    slide = dark_at(SPOT, (801, 803), (200, 201), mpp=0.25)
    model = marker_model(2, 4, multiple=16, attention=("map2", "map4"), overlap=20, size=100, mpp=0.5)
    run = predict(slide, model, Region(0, 0, 801, 803), tmp_path_factory.mktemp("odd") / "run")
    return slide, run


@pytest.mark.parametrize("name", ["map2", "map4", "probability.dark", "entropy"])
def test_the_layer_of_a_map_of_a_run_lies_exactly_at_every_level(odd: Any, name: str) -> None:
    slide, run = odd
    bench = Bench(slide)
    bench.show_run(run)
    bench.controller.choose_map(name)
    layer = bench.map
    source = bench.controller.source
    assert source is not None
    item = source.find(name)
    assert len(layer.data) == len(item.grids) > (0 if name.startswith("map") else 1)
    for level, grid in enumerate(item.grids):
        values = np.asarray(layer.data[level])
        np.testing.assert_array_equal(layer.downsample_factors[level], (2**level, 2**level))
        row, column = np.unravel_index(np.nanargmax(values), values.shape)
        shown = level0(layer, (row, column), level)
        stored = [o + (i + 0.5) * s for o, i, s in zip(grid.origin, (row, column), grid.step, strict=True)]
        np.testing.assert_allclose(shown, stored, atol=1e-6)
        if name != "entropy":
            assert np.abs(shown - (206, 194)).max() <= grid.step[0] / 2 + SPOT.height / 2
        np.testing.assert_allclose(level0(layer, (-0.5, -0.5), level), grid.origin, atol=1e-6)


def test_levels_of_odd_sides_are_filled_up_so_that_each_is_exactly_twice_as_coarse() -> None:
    item = _item((75, 53), (38, 27), (19, 14))
    shapes = [level.shape for level in levels_of(item)]
    assert shapes == [(76, 56), (38, 28), (19, 14)]
    level = MapLevel(item, 0)
    np.testing.assert_array_equal(level[2:4, 50:56][:, :3], [[256.0] * 3] * 2 + np.arange(3) - 206)
    assert np.isnan(level[2:4, 50:56][:, 3:]).all()
    assert np.isnan(level[75]).all()
    assert level[3, 4].shape == ()


def _item(*shapes: tuple[int, int]) -> Any:
    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.geometry import Grid, Window

    grids = tuple(Grid(shape, (2.0**level, 2.0**level)) for level, shape in enumerate(shapes))

    def read(level: int, window: Window) -> Any:
        return np.mgrid[window.slices][1].astype(np.float32)

    return RunMap("m", "M", "", "attention", grids, (0, 1), "fixed", True, None, read)


def test_what_was_not_computed_is_clear_and_a_state_map_shows_it_as_no_label() -> None:
    from napari_lumen.annotations.decision import STATES
    from napari_lumen.plugin.attention_layers import napari_colormap

    values = np.array([np.nan, 0.0, 0.49, 0.5, 1.0])
    assert napari_colormap("viridis").map(values)[0, 3] == 0
    low, high = STATE_LIMITS
    states = (np.array([np.nan, NO_LABEL, 0.0, 0.49, 0.5, 1.0]) - low) / (high - low)
    red, green, blue, alpha = napari_colormap(STATES).map(states).T
    assert alpha.tolist() == [0, 1, 1, 1, 1, 1]
    assert blue[1] > red[1] > green[1]  # purple
    np.testing.assert_array_equal(red[2:4], green[2:4])  # grey
    assert (red[4:] > 2 * green[4:]).all()  # red


def test_a_state_map_has_no_label_up_to_the_edge_of_the_slide_and_is_clear_beyond() -> None:
    item = _item((5, 5))
    known, _ = item.read()
    ends = (3.5 * item.grid.step[0], 4 * item.grid.step[1])
    values = np.asarray(levels_of(item, ends)[0])
    np.testing.assert_array_equal(values[:5, :5][np.isfinite(known)], known[np.isfinite(known)])
    empty = replace(item, reader=lambda level, window: np.full((window.height, window.width), np.nan))
    values = np.asarray(levels_of(empty, ends)[0])
    assert (values[:4, :4] == NO_LABEL).all()
    assert np.isnan(values[4:]).all()
    assert np.isnan(values[:, 4:]).all()


def test_boxes_of_a_field_are_outlines_with_their_scores_at_their_edges() -> None:
    slide = dark_at(Region(0, 0, 8, 8), (300, 300))
    bench = Bench(slide, marker_model(2, size=64))
    bench.controller.explain(Asker(model=Path("marker")), (100.0, 100.0), "Field")
    bench.controller.choose_map("boxes")
    layer: Any = bench.viewer.layers[-1]
    field = bench.controller.field
    assert field is not None
    assert layer.features["score"].tolist() == [7.5, 2.25]
    corners = np.array([world_to_level0(tuple(layer.data_to_world(at)), (0.5, 0.5)) for at in layer.data[0]])
    top, left = field.explained_region.y, field.explained_region.x
    np.testing.assert_allclose(corners.min(axis=0), (top + 32, left + 48), atol=1e-3)
    np.testing.assert_allclose(corners.max(axis=0), (top + 64, left + 64), atol=1e-3)
    assert annotations_on(bench.viewer, bench.layer) == []  # nobody learns from what a model looked at
    assert layer not in truth_layers(bench.layer, bench.viewer.layers)


def test_boxes_that_a_run_shows_already_are_shown_once_and_get_their_scores(tmp_path: Path) -> None:
    slide = dark_at(Region(0, 0, 8, 8), (128, 128))
    bench = Bench(slide)
    model = marker_model(2, whole=True, size=64, attention=("boxes", "map2"))
    bench.show_run(predict(slide, model, WHOLE, tmp_path / "run"))
    shown = [layer for layer in bench.viewer.layers if "score" in getattr(layer, "features", ())]
    assert len(shown) == 1
    shown[0].visible = False
    bench.controller.choose_map("boxes")
    assert [layer for layer in bench.viewer.layers if "score" in getattr(layer, "features", ())] == shown
    assert shown[0].visible
    assert set(shown[0].text.values) == {"7.5", "2.25"}
    bench.viewer.layers.remove(shown[0])
    bench.controller.choose_map("map2")
    bench.controller.choose_map("boxes")
    (again,) = [layer for layer in bench.viewer.layers if "score" in getattr(layer, "features", ())]
    assert len(again.data) == len(shown[0].data)


def test_lines_of_boxes_are_thin_and_boxes_go_and_come_with_their_run(tmp_path: Path) -> None:
    slide = dark_at(Region(0, 0, 8, 8), (256, 256))
    bench = Bench(slide)
    model = marker_model(2, whole=True, size=64, attention=("boxes", "map2"))
    first = predict(slide, model, Region(0, 0, 256, 256), tmp_path / "first")
    bench.show_run(first)
    (boxes,) = [layer for layer in bench.viewer.layers if "score" in getattr(layer, "features", ())]
    for corners, width in zip(boxes.data, boxes.edge_width, strict=True):
        side = float(np.ptp(corners, axis=0).max())
        seen = view_of(Region(0, 0, side, side), (0.5, 0.5)).height  # after a click in the gallery
        assert width * 800 / seen <= 2.5  # px of a canvas of 800
    second = predict(slide, marker_model(2, size=64), Region(0, 0, 64, 64), tmp_path / "second")
    bench.show_run(second)
    bench.controller.choose_source(str(first.path))
    bench.controller.choose_map("boxes")
    assert boxes.visible
    bench.controller.choose_source(str(second.path))
    assert bench.controller.source is not None
    assert bench.controller.source.key == str(second.path)
    assert not boxes.visible
    bench.controller.choose_source(str(first.path))
    assert boxes.visible
    boxes.visible = False  # by hand
    bench.controller.choose_source(str(second.path))
    bench.controller.choose_source(str(first.path))
    assert not boxes.visible


def test_a_damaged_map_is_told_of_once_and_shown_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_lumen.errors import RunError
    from napari_lumen.plugin import notices

    def broken(level: int, window: Any) -> Any:
        raise RunError("The map is damaged. Run the model again.")

    told: list[str] = []
    monkeypatch.setattr(notices, "warn", told.append)
    level = MapLevel(replace(_item((8, 8)), reader=broken), 0)
    for _ in range(3):
        assert np.isnan(level[0:4, 0:4]).all()
    assert told == ["The map is damaged. Run the model again."]
    assert Look().interpolation == "nearest"
