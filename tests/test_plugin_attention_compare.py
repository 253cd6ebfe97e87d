"""Two maps compared in the window: numbers, grid, swipe line, difference, and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from attention_bench import Bench
from explain_fakes import dark_at, marker_model
from napari_lumen.errors import RunError
from napari_lumen.geometry import Region
from napari_lumen.plugin.attention_compare_layers import COPY
from napari_lumen.plugin.attention_compare_work import compared
from napari_lumen.plugin.controllers.attention_compare import CompareController
from napari_lumen.plugin.controllers.attention_state import Look
from napari_lumen.plugin.explainers import Asker
from test_plugin_correct import AtOnce

SPOT = Region(100, 100, 16, 16)


@pytest.fixture
def bench() -> Bench:
    bench = Bench(dark_at(SPOT, (300, 320)), marker_model(2, 4, size=64))
    bench.controller.explain(Asker(model=Path("marker")), (108.0, 108.0), "Field")
    return bench


@pytest.fixture
def compare(bench: Bench) -> CompareController:
    controller = CompareController(bench.controller, AtOnce())
    controller.choose_map("first", "map2")
    controller.choose_map("second", "map4")
    return controller


def sources(bench: Bench) -> tuple[Any, Any, Any]:
    source = bench.controller.source
    assert source is not None
    return source, source.find("map2"), source.find("map4")


def test_the_numbers_are_those_of_the_cells_of_both_maps(compare: CompareController, bench: Bench) -> None:
    compare.compare()
    found = compare.state.found
    assert found is not None
    _, fine, coarse = sources(bench)
    a, b = fine.read()[0], coarse.read()[0].repeat(2, axis=0).repeat(2, axis=1)
    assert found.cells == a.size == 32 * 32
    assert found.agreement.pearson == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert found.agreement.spearman == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    compare.set_threshold("first", 0.5)
    compare.set_threshold("second", 0.2)
    overlap = compare.state.overlap
    assert overlap is not None
    one, other = a >= 0.5, b >= 0.2
    assert overlap.dice == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()))
    assert found.mm2(overlap.first) == pytest.approx(one.sum() * 1e-6)  # a cell is 2 px of 0.5 µm a side


def test_side_by_side_each_map_lies_over_the_tissue_and_all_is_as_before_afterwards(
    compare: CompareController, bench: Bench
) -> None:
    layers, grid = bench.viewer.layers, bench.viewer.canvas.grid
    before = [(layer, layer.visible) for layer in layers]
    compare.compare()
    assert compare.state.shown == "beside"
    assert grid.enabled
    first, second = compare.pair
    parts = [
        [layers[index].metadata["napari_lumen"]["kind"] for index in indices if layers[index].visible]
        for _, indices in grid.iter_viewboxes(layers)
    ]
    assert parts == [[COPY, "map"], [COPY, "map"]]
    assert grid.position(layers.index(first), layers) == (0, 0)
    assert grid.position(layers.index(second), layers) == (0, 1)
    assert bench.controller.slides.layers() == [bench.layer]  # the second tissue is no second slide
    compare.show("none")
    assert [(layer, layer.visible) for layer in layers] == before
    assert not grid.enabled


def test_the_difference_is_centred_at_nothing_and_lies_where_the_maps_do(
    compare: CompareController, bench: Bench
) -> None:
    compare.compare()
    compare.show("difference")
    layer: Any = bench.viewer.layers[-1]
    low, high = layer.contrast_limits
    assert low == -high
    assert layer.colormap.map(np.array([0.5]))[0, 3] == pytest.approx(0, abs=1e-3)  # nothing is clear
    red, _, blue, _ = layer.colormap.map(np.array([1.0]))[0]
    assert red > blue
    _, fine, coarse = sources(bench)
    np.testing.assert_array_equal(
        layer.data, fine.read()[0] - coarse.read()[0].repeat(2, axis=0).repeat(2, axis=1)
    )
    np.testing.assert_allclose(layer.extent.world, bench.map.extent.world, atol=1e-9)
    assert not bench.map.visible


def test_another_map_or_a_removed_layer_ends_what_is_shown(compare: CompareController, bench: Bench) -> None:
    compare.compare()
    bench.controller.choose_map("entropy")
    assert compare.state.shown == "none"
    assert bench.map.visible
    compare.show("swipe")
    assert not bench.viewer.canvas.grid.enabled
    bench.viewer.layers.remove(compare.pair[1])
    assert compare.state.shown == "none"
    assert compare.pair == ()
    assert [layer.visible for layer in bench.viewer.layers] == [True, True]
    compare.show("beside")
    compare.close()
    assert len(bench.viewer.layers) == 2


def test_the_last_fields_are_kept_and_can_be_compared_where_they_overlap(
    compare: CompareController, bench: Bench
) -> None:
    assert len(compare.state.sources) == 1
    bench.controller.explain(Asker(model=Path("marker")), (116.0, 116.0), "Field")
    assert len(compare.state.sources) == 2
    for which, (key, _) in zip(("first", "second"), compare.state.sources, strict=True):
        compare.choose_source(which, key)  # type: ignore[arg-type]
        compare.choose_map(which, "map2")  # type: ignore[arg-type]
    compare.compare()
    found = compare.state.found
    assert found is not None
    assert found.cells == 28 * 28  # 8 px of 2 px a cell are not in common
    assert found.agreement.pearson == pytest.approx(1)
    assert found.legends[0].limits == found.legends[1].limits  # one colour is one value
    bench.controller.explain(Asker(model=Path("marker")), (240.0, 240.0), "Field")
    compare.choose_source("second", compare.state.sources[-1][0])
    compare.compare()
    assert "no place in common" in compare.state.message


def test_what_cannot_be_compared_is_said_in_a_sentence(bench: Bench) -> None:
    source, fine, coarse = sources(bench)
    elsewhere: Any = type("Elsewhere", (), {"fingerprint": "another", "run": None})()
    with pytest.raises(RunError, match="different slides"):
        compared((source, fine), (elsewhere, coarse), None, Look())
    empty = replace(fine, reader=lambda level, window: np.full((window.height, window.width), np.nan))
    with pytest.raises(RunError, match="no place where both maps have a value"):
        compared((source, fine), (source, empty), None, Look())
    flat = replace(fine, reader=lambda level, window: np.ones((window.height, window.width), np.float32))
    assert np.isnan(compared((source, fine), (source, flat), None, Look()).agreement.pearson)
    controller = CompareController(bench.controller, AtOnce())
    assert controller.state.blocked is None  # the shown map and another one are proposed
    controller.choose_map("second", str(controller.state.first.name))
    assert "same map" in str(controller.state.blocked)
    bench.look_at(Region(5000, 5000, 100, 100))
    controller.choose_map("second", "map4")
    controller.choose_where("view")
    controller.compare()
    assert "The view shows nothing" in controller.state.message


def test_the_swipe_line_ends_each_map_at_the_pixel_where_it_is_drawn(
    make_napari_viewer: Any, qtbot: Any
) -> None:
    from napari_lumen.plugin.widgets.attention_swipe import Swipe

    viewer = make_napari_viewer(show=True)
    ones = np.ones((64, 64), np.float32)
    keywords: Any = {"contrast_limits": (0, 1), "blending": "opaque"}
    red = viewer.add_image(ones, colormap="red", **keywords)
    green = viewer.add_image([ones, ones[::2, ::2]], multiscale=True, colormap="green", **keywords)
    swipe = Swipe(viewer)
    swipe.start(red, green, ("one", "other"))
    for share, zoom in ((0.5, 20.0), (0.3, 31.0)):
        viewer.scene.camera.zoom = zoom  # the maps fill the canvas
        swipe.move_to(share)
        row = viewer.screenshot(canvas_only=True, flash=False)[100]
        ratio = row.shape[0] / viewer.canvas.size[1]
        edge = round(swipe.line * ratio)
        assert 0 < edge < row.shape[0]
        assert (row[:edge, 0] > 200).all()
        assert (row[:edge, 1] < 50).all()
        assert (row[edge:, 0] < 50).all()
        assert (row[edge:, 1] > 100).all()
    assert swipe.isVisible()
    swipe.stop()
    row = viewer.screenshot(canvas_only=True, flash=False)[100]
    assert (row[:, 0] < 50).all()  # green lies on top again, all over
    assert not swipe.isVisible()
    swipe.start(red, green, ("one", "other"))
    assert swipe.isVisible()
    viewer.layers.remove(red)
    assert not swipe.isVisible()


def test_the_tool_says_the_numbers_and_counts_anew_when_a_threshold_is_typed(
    qtbot: Any, compare: CompareController, bench: Bench
) -> None:
    from napari_lumen.plugin.widgets.attention_compare import CompareTool

    tool = CompareTool(bench.controller, compare)
    qtbot.addWidget(tool)
    assert tool.results.isHidden()
    assert tool.sides["second"].map.currentText() == sources(bench)[2].title
    tool.compare.click()
    assert "1,024 cells of 1 × 1 µm" in tool.numbers.text()
    found = compare.state.found
    assert found is not None
    assert f"Pearson {found.agreement.pearson:.3f}" in tool.numbers.text()
    assert tool.buttons.button(0).isChecked()
    before = tool.overlap.text()
    tool.thresholds["first"].setValue(1.0)
    tool.thresholds["second"].setValue(1.0)
    assert compare.state.thresholds == (1.0, 1.0)
    assert compare.state.overlap == found.agreement.overlap(1.0, 1.0)
    assert tool.overlap.text() != before
    assert "64 µm²" in tool.overlap.text()  # the spot: 16 px of 0.5 µm a side
    tool.buttons.button(3).click()
    assert compare.state.shown == "none"
    tool.sides["second"].take.click()
    current = bench.controller.current
    assert current is not None
    assert compare.state.second.name == current.item.name
    assert tool.minimumSizeHint().width() <= 360
