"""The rules of the Attention panel: whose maps, which one, how it is drawn, and what is said then."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from attention_bench import MARKER, Bench
from explain_fakes import dark_at, marker_model
from fakes import ArraySlide
from napari_lumen.errors import ModelError
from napari_lumen.explain.field_maps import FieldMaps
from napari_lumen.explain.run_maps import PointReading
from napari_lumen.geometry import Region, Window, level0_to_world
from napari_lumen.plugin import notices
from napari_lumen.plugin.catalogue import Catalogue
from napari_lumen.plugin.controllers.attention import AttentionController
from napari_lumen.plugin.controllers.attention_reading import Reading
from napari_lumen.plugin.controllers.attention_state import FIELD
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.placing import facts_of
from napari_lumen.plugin.results import add_result
from plugin_fakes import StepJobs, write_run
from test_plugin_correct import AtOnce

SPOT = Region(204, 192, 16, 16)


@pytest.fixture
def dark() -> Bench:
    return Bench(dark_at(SPOT, (400, 420)), marker_model(2, 4, size=64))


def test_one_click_explains_what_is_in_view_without_a_run_and_shows_its_first_map(dark: Bench) -> None:
    dark.look_at(Region(150, 150, 128, 128))
    dark.controller.explain_view()
    state, field = dark.controller.state, dark.controller.field
    assert field is not None
    assert field.explained_region == Region(150, 150, 128, 128)
    assert (state.source, state.chosen, state.message) == (FIELD, "map2", "")
    titles = [node.title for node in state.tree[0].children]
    assert titles == ["pale", "dark", "Entropy"]
    assert {node.kind for root in state.tree for node in root.walk()} >= {"map", "channels", "boxes"}
    assert dark.map in dark.viewer.layers
    assert np.asarray(dark.map.data[0]).shape == (64, 64)
    assert state.legend is not None
    assert "of the tile" in state.legend.said


def test_a_view_too_large_for_memory_is_one_sentence(dark: Bench) -> None:
    large = Bench(ArraySlide(np.zeros((3000, 3000, 3), np.uint8)), marker_model(2))
    large.look_at(Region(0, 0, 3000, 3000))
    large.controller.explain_view()
    assert "Zoom in, or run the model" in large.controller.state.message
    assert large.controller.field is None
    beside = Region(9000, 9000, 100, 100)
    dark.look_at(beside)
    dark.controller.explain_view()
    assert "The view shows nothing" in dark.controller.state.message


def test_another_map_takes_the_place_of_the_shown_one_and_the_layers_stay_few(dark: Bench) -> None:
    dark.look_at(Region(150, 150, 128, 128))
    dark.controller.explain_view()
    count, heard = len(dark.viewer.layers), []
    dark.controller.chosen.connect(heard.append)
    for name in ("map4", "probability.dark", "entropy"):
        dark.controller.choose_map(name)
        assert len(dark.viewer.layers) == count
    assert [item.name for item in heard] == ["map4", "probability.dark", "entropy"]
    assert [item.class_name for item in heard] == [None, "dark", None]
    dark.viewer.layers.remove(dark.map)
    assert heard[-1] is None
    assert dark.controller.current is None
    dark.controller.choose_map("map4")
    assert dark.controller.current is not None


def test_the_map_of_a_panel_that_was_closed_does_not_stay_below_that_of_the_next(dark: Bench) -> None:
    dark.look_at(Region(150, 150, 128, 128))
    dark.controller.explain_view()
    left = dark.map
    field = dark.controller.field
    dark.controller.close()
    again = AttentionController(dark.viewer, AtOnce(), lambda: Catalogue((), ()))
    assert field is not None
    again.take_field(field, "map4")
    assert left not in dark.viewer.layers
    assert again.current is not None
    again.close()


def test_the_legend_says_between_which_values_the_colours_run(dark: Bench) -> None:
    dark.look_at(Region(150, 150, 128, 128))
    dark.controller.explain_view()
    values = np.asarray(dark.map.data[0])
    dark.controller.choose_look(mode="min-max")
    legend = dark.controller.state.legend
    assert legend is not None
    assert legend.limits == pytest.approx((values.min(), values.max()))
    assert tuple(dark.map.contrast_limits) == pytest.approx(legend.limits)
    dark.controller.choose_look(
        mode="range", gamma=2.0, opacity=0.25, colormap="magma", interpolation="linear"
    )
    assert tuple(dark.map.contrast_limits) == (0.0, 1.0)
    layer = dark.map
    assert (layer.gamma, layer.opacity, str(layer.interpolation2d)) == (2.0, 0.25, "linear")
    assert layer.colormap.name == "lumen magma"
    layer.contrast_limits = (0.25, 0.5)  # in napari's own controls
    legend = dark.controller.state.legend
    assert legend is not None
    assert legend.said == "0.25 to 0.5, set by hand"
    layer.opacity = 0.5
    assert dark.controller.state.look.opacity == 0.5
    dark.controller.choose_look(mode="percentile", low=10.0, high=50.0)
    low, high = np.percentile(values, (10, 50))
    assert dark.map.contrast_limits == pytest.approx([low, max(high, values.max() if high == low else high)])


def test_maps_that_are_all_equal_or_nothing_are_shown_with_a_sentence() -> None:
    flat = Bench(ArraySlide(np.full((200, 200, 3), 128, np.uint8)), marker_model(2, size=64))
    flat.look_at(Region(20, 20, 64, 64))
    flat.controller.explain_view()
    legend = flat.controller.state.legend
    assert legend is not None
    assert "all values are" in legend.said
    low, high = flat.map.contrast_limits
    assert low < high


def test_the_view_is_explained_in_a_job_that_can_be_cancelled() -> None:
    jobs = StepJobs()
    bench = Bench(dark_at(SPOT, (400, 420)), marker_model(2), jobs)
    bench.look_at(Region(150, 150, 128, 128))
    bench.controller.explain_view()
    assert bench.controller.state.busy == "Explaining the field …"
    assert bench.controller.field is None
    bench.controller.cancel()
    assert bench.controller.state.cancelling
    jobs.let_run()
    assert (bench.controller.state.message, bench.controller.state.busy) == ("Cancelled.", "")
    bench.controller.explain_view()
    jobs.let_run()
    assert bench.controller.field is not None


def test_a_shown_run_is_a_source_and_where_nothing_was_computed_it_is_clear(tmp_path: Path) -> None:
    bench = Bench(ArraySlide(np.full((1024, 1024, 3), 200, np.uint8)))
    bench.show_run(write_run(tmp_path / "run", bench.slide, Window(64, 64, 16, 16)))
    state = bench.controller.state
    assert [item.key for item in state.sources] == [str(tmp_path / "run")]
    assert state.chosen == "d2.0.att0"
    values = np.asarray(bench.map.data[0])
    half = values.shape[0] // 2
    assert np.isfinite(values[:half]).all()
    assert np.isnan(values[half:]).all()
    others = [x for x in bench.viewer.layers if facts_of(x).get("kind") in ("attention", "probability")]
    assert others
    assert not any(layer.visible for layer in others)
    assert bench.map.visible
    for layer in [x for x in bench.viewer.layers if "run" in facts_of(x)]:
        bench.viewer.layers.remove(layer)
    assert bench.controller.source is None
    assert bench.controller.state.legend is None


def test_a_pixel_size_given_later_moves_the_map_with_its_slide(tmp_path: Path) -> None:
    bench = Bench(ArraySlide(np.full((1024, 1024, 3), 200, np.uint8)))
    bench.show_run(write_run(tmp_path / "run", bench.slide, Window(64, 64, 16, 16)))
    before = bench.map.data_to_world((10, 10))
    bench.slide.mpp_given = True
    assert bench.controller.slides.give_pixel_size(bench.layer, 0.25)
    np.testing.assert_allclose(bench.map.data_to_world((10, 10)), np.array(before) / 2)


def test_right_click_explains_the_tile_of_the_run_with_its_own_model(tmp_path: Path) -> None:
    from napari_lumen.inference import predict

    slide = dark_at(SPOT, (400, 420))
    model = marker_model(2, attention=("map2",), size=100, overlap=20)
    run = predict(slide, model, Region(0, 0, 400, 420), tmp_path / "run")
    bench = Bench(slide, model)
    bench.show_run(run)
    heard: list[Any] = []
    bench.controller.explained.connect(heard.append)
    event = _Press(level0_to_world((210.0, 200.0), (0.5, 0.5)))
    callback = bench.viewer.mouse_drag_callbacks[-1]
    _play(callback, bench.viewer, event)
    (field,) = heard
    assert field.explained_region == Region(150, 150, 100, 100)  # tiles of 80 px and 10 px around
    asker = bench.controller.explainers.asked[-1]  # type: ignore[attr-defined]
    assert asker.run == run.path
    assert bench.controller.source is not None
    assert bench.controller.source.run is not None  # the run is still what is looked at
    _play(callback, bench.viewer, event, drag=True)
    _play(callback, bench.viewer, _Press(event.position, button=1))
    _play(callback, bench.viewer, _Press((9e5, 9e5)))
    assert len(heard) == 1


class _Press:
    def __init__(self, position: Any, button: int = 2) -> None:
        self.position, self.button, self.type = position, button, "mouse_press"


def _play(callback: Any, viewer: ViewerModel, event: _Press, *, drag: bool = False) -> None:
    begun = callback(viewer, event)
    next(begun, None)
    event.type = "mouse_move"
    start, event.position = (
        event.position,
        (event.position[0] + 300, event.position[1]) if drag else event.position,
    )
    next(begun, None)
    event.type, event.position = "mouse_release", start
    next(begun, None)
    event.type = "mouse_press"


def test_a_model_that_is_gone_is_said_and_the_maps_of_its_run_stay(tmp_path: Path) -> None:
    bench = Bench(ArraySlide(np.full((1024, 1024, 3), 200, np.uint8)))
    bench.show_run(write_run(tmp_path / "run", bench.slide, Window(64, 64, 16, 16)))
    shown = bench.map
    bench.controller.explain_at(100.0, 100.0)
    assert "can be shown without it" in bench.controller.state.message
    assert bench.map is shown


def test_a_model_whose_maps_do_not_fit_is_one_sentence(dark: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any, **__: Any) -> Any:
        raise ModelError("Marker cannot read a field of 64 x 64 px: shapes differ. Explain one tile.")

    shown: list[BaseException] = []
    monkeypatch.setattr(notices, "show", shown.append)
    monkeypatch.setattr(dark.controller.explainers.explainer, "explain", wrong)  # type: ignore[attr-defined]
    dark.look_at(Region(150, 150, 128, 128))
    dark.controller.explain_view()
    assert dark.controller.state.message.startswith("Marker cannot read a field")
    assert shown == []


def test_a_run_without_attention_says_how_to_get_it_and_shows_its_probability(tmp_path: Path) -> None:
    from napari_lumen.inference import predict

    slide = dark_at(SPOT, (400, 420))
    bench = Bench(slide)
    bench.show_run(predict(slide, marker_model(2, size=100), Region(0, 0, 400, 420), tmp_path / "run"))
    assert "records no attention" in bench.controller.state.hint
    assert bench.controller.state.chosen == "probability.pale"


def test_of_a_run_that_has_lost_a_map_the_rest_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(ArraySlide(np.full((1024, 1024, 3), 200, np.uint8)))
    run = write_run(tmp_path / "run", bench.slide, Window(64, 64, 16, 16))
    shutil.rmtree(run.path / "probability")
    told: list[str] = []
    monkeypatch.setattr(notices, "warn", told.append)
    layers = add_result(bench.viewer, bench.layer, run_layers(run, "case"))
    kinds = {facts_of(layer)["kind"] for layer in layers}
    assert "labels" in kinds
    assert "probability" not in kinds
    assert len(told) == 1
    assert "is gone or damaged" in told[0]


def test_a_damaged_run_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(ArraySlide(np.full((1024, 1024, 3), 200, np.uint8)))
    run = write_run(tmp_path / "run", bench.slide, Window(64, 64, 16, 16))
    shown = run_layers(run, "case")
    (tmp_path / "run" / "run.json").write_text("{}")
    add_result(bench.viewer, bench.layer, shown)
    assert "is damaged" in bench.controller.state.message
    assert bench.controller.current is None


def test_what_is_missing_is_said_until_it_is_there() -> None:
    viewer = ViewerModel()
    controller = AttentionController(viewer, AtOnce(), lambda: Catalogue((MARKER,), ()))
    assert "Open a slide first" in (controller.state.blocked or "")
    controller.explain_view()
    controller.choose_map("nothing")
    controller.close()
    controller.close()


def test_the_cursor_reads_value_percentile_classes_and_tile(tmp_path: Path) -> None:
    from napari_lumen.inference import predict

    slide = dark_at(SPOT, (400, 420))
    model = marker_model(2, attention=("map2",), size=100, overlap=20)
    bench = Bench(slide)
    bench.show_run(predict(slide, model, Region(0, 0, 400, 320), tmp_path / "run"))
    bench.controller.choose_map("map2")
    heard: list[Any] = []
    bench.controller.read.connect(heard.append)
    bench.viewer.mouse_over_canvas = True
    bench.viewer.cursor.position = level0_to_world((210.0, 200.0), (0.5, 0.5))
    bench.controller.read_cursor()
    bench.controller.read_cursor()
    (reading,) = heard  # nothing has moved
    assert reading.value == pytest.approx(1.0)
    assert reading.percentile > 99
    assert reading.said[1].startswith("dark 1.00, pale 0.00")
    assert reading.said[2] == "Tile at x 150, y 150, 100 × 100 px of the slide"
    assert bench.viewer.status.startswith("Map2: Value 1, higher than")
    bench.viewer.status = "[420, 400]: 255"  # as napari does, in its own time
    assert bench.viewer.status.startswith("Map2: Value 1, higher than")
    bench.viewer.cursor.position = level0_to_world((210.0, 415.0), (0.5, 0.5))
    bench.controller.read_cursor()
    assert heard[-1].said == ("The model did not look here.",)
    bench.viewer.mouse_over_canvas = False
    bench.viewer.cursor.position = (0.0, 0.0)
    bench.controller.read_cursor()
    assert len(heard) == 2
    bench.viewer.status = "Ready"
    assert bench.viewer.status == "Ready"


def test_maps_of_a_field_say_at_a_point_what_the_field_said(dark: Bench) -> None:
    dark.look_at(Region(150, 150, 128, 128))
    dark.controller.explain_view()
    field = dark.controller.field
    assert field is not None
    maps = FieldMaps(field.explained)
    point = maps.at(210.0, 200.0, {"map2": maps["map2"].distribution()})
    assert point.probabilities["dark"] == pytest.approx(1.0, abs=1e-3)
    assert point.class_name == "dark"
    assert point.percentiles["map2"] > 90
    assert not maps.at(10.0, 10.0).analysed
    assert np.isnan(maps.at(10.0, 10.0).values["map2"])


def test_contrast_over_a_selection_counts_its_values_alone(tmp_path: Path) -> None:
    bench = Bench(ArraySlide(np.full((1024, 1024, 3), 200, np.uint8)))
    bench.show_run(write_run(tmp_path / "run", bench.slide, Window(64, 64, 16, 16)))
    bench.look_at(Region(0, 0, 64, 1024 - 960))
    bench.controller.choose_look(mode="min-max", over="selection")
    inside = np.asarray(bench.map.data[0])[:8, :8]  # a cell is 8 level-0 px
    low, high = bench.map.contrast_limits
    assert (low, high) == pytest.approx((inside.min(), inside.max()))
    legend = bench.controller.state.legend
    assert legend is not None
    assert legend.said.endswith("lowest to highest of the selection")


def test_a_place_without_a_value_is_said_once() -> None:
    point = PointReading(1, 1, True, {"m": math.nan}, {}, {"a": 0.75}, "a", None)
    assert Reading(point, "m", "M", math.nan, math.nan).said == ("No value here", "a 0.75")
