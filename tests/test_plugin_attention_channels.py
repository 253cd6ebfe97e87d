"""The Channels tool: the gates of the field or of the tile under the cursor, and a channel as a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attention_bench import Bench
from explain_fakes import dark_at, marker_model
from fakes import ArraySlide
from napari_lumen.geometry import Region, level0_to_world
from napari_lumen.inference import predict
from napari_lumen.plugin.controllers.attention_channels import ChannelsController, Gates
from napari_lumen.plugin.explainers import Asker

SPOT = Region(204, 192, 16, 16)


@pytest.fixture
def bench() -> Bench:
    return Bench(dark_at(SPOT, (400, 420)), marker_model(2, 4, size=64))


def test_the_gates_of_an_explained_field_come_up_and_a_channel_is_shown_as_a_map(bench: Bench) -> None:
    controller = bench.controller
    channels = ChannelsController(controller)
    assert channels.gates.values is None
    controller.explain(Asker(model=Path("marker")), (212.0, 200.0), "Field")
    field = controller.field
    assert field is not None
    assert channels.gates.names == (("gate", "Gate"),)
    np.testing.assert_array_equal(channels.gates.values, field.explained["gate"].values)
    assert "3 channels of the explained field" in channels.gates.said
    channels.show_channel(1)  # was not kept: the field is explained again
    assert controller.state.chosen == "gate.channel.1"
    assert channels.gates.channel == 1
    asked = len(controller.explainers.asked)  # type: ignore[attr-defined]
    values, grid = np.asarray(bench.map.data[0]), controller.source.find("gate.channel.1").grid  # type: ignore[union-attr]
    assert grid.region == field.explained_region
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    y, x = grid.origin[0] + (row + 0.5) * grid.step[0], grid.origin[1] + (column + 0.5) * grid.step[1]
    assert SPOT.y < y < SPOT.bottom
    assert SPOT.x < x < SPOT.right
    channels.show_channel(2)  # kept by now
    assert controller.state.chosen == "gate.channel.2"
    assert len(controller.explainers.asked) == asked  # type: ignore[attr-defined]
    titles = [node.name for root in controller.state.tree for node in root.walk() if node.kind == "map"]
    assert {"gate.channel.1", "gate.channel.2"} <= set(titles)
    channels.close()
    channels.close()


def test_the_gates_of_a_run_follow_the_cursor_from_tile_to_tile(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    grey = np.kron(rng.integers(0, 255, (6, 7, 1), np.uint8), np.ones((64, 64, 3), np.uint8))
    slide, model = ArraySlide(grey), marker_model(8, whole=True, attention=("map8", "gate"), size=64)
    bench = Bench(slide, model)
    bench.show_run(predict(slide, model, Region(0, 0, 384, 448), tmp_path / "run"))
    controller = bench.controller
    channels = ChannelsController(controller)
    assert channels.gates.name == "gate"
    bench.viewer.mouse_over_canvas = True
    for y, x in ((10.0, 10.0), (100.0, 300.0), (383.0, 447.0)):
        bench.viewer.cursor.position = level0_to_world((y, x), (0.5, 0.5))
        controller.read_cursor()
        dark = 1 - grey[int(y), int(x)] / 255
        np.testing.assert_allclose(channels.gates.values, dark, atol=1e-6)
        assert channels.gates.place == Region(y // 64 * 64, x // 64 * 64, 64, 64)
    channels.show_channel(0)
    assert controller.state.chosen == "gate.channel.0"
    assert controller.field is not None
    assert controller.field.explained_region == Region(320, 384, 64, 64)


def test_a_right_click_brings_the_gates_that_a_run_does_not_keep(tmp_path: Path, qtbot: Any) -> None:
    from napari_lumen.plugin.widgets.attention_tile import TileTool

    slide, model = dark_at(SPOT, (400, 420)), marker_model(4, attention=("map4",), size=64)
    bench = Bench(slide, model)
    bench.show_run(predict(slide, model, Region(0, 0, 400, 420), tmp_path / "run"))
    controller = bench.controller
    channels, tile = ChannelsController(controller), TileTool(controller)
    qtbot.addWidget(tile)
    assert channels.gates.values is None
    assert "right-click on tissue brings those of the tile there" in channels.gates.said
    controller.explain_at(212.0, 200.0)
    field = controller.field
    assert field is not None
    assert controller.source is not field  # the run is looked at all the while
    gates = field.explained["gate"].values
    assert channels.gates.names == (("gate", "Gate"),)
    np.testing.assert_array_equal(channels.gates.values, gates)
    assert channels.gates.place == field.explained_region
    ((title, shown),) = tile.controller.shown.gates
    assert (title, tile.gate.currentText()) == ("Gate", "Gate")
    np.testing.assert_array_equal(shown, gates)
    assert tile.strip.channel_at(0) == 0
    bench.viewer.mouse_over_canvas = True
    bench.viewer.cursor.position = level0_to_world((10.0, 10.0), (0.5, 0.5))
    controller.read_cursor()
    np.testing.assert_array_equal(channels.gates.values, gates)  # of no other tile they are known
    channels.show_channel(1)
    assert controller.state.chosen == "gate.channel.1"


def test_channels_of_a_model_without_any_say_so(tmp_path: Path) -> None:
    slide = dark_at(SPOT, (400, 420))
    bench = Bench(slide)
    bench.show_run(predict(slide, marker_model(2, size=100), Region(0, 0, 400, 420), tmp_path / "run"))
    channels = ChannelsController(bench.controller)
    assert channels.gates.values is None
    assert "records no attention" in channels.gates.said
    channels.show_channel(3)  # nothing to show
    assert isinstance(channels.gates, Gates)


def test_a_bar_is_hit_where_it_is_drawn_in_either_order(qtbot: Any) -> None:
    from napari_lumen.plugin.widgets.attention_channels import GateStrip

    strip = GateStrip()
    qtbot.addWidget(strip)
    strip.resize(400, 90)
    strip.show_gates(np.array([0.2, 0.9, 0.5, 0.1]), None, ordered=False)
    assert [strip.channel_at(x) for x in (5, 105, 205, 305, 405)] == [0, 1, 2, 3, None]
    strip.show_gates(np.array([0.2, 0.9, 0.5, 0.1]), None, ordered=True)
    assert [strip.channel_at(x) for x in (5, 105, 205, 305)] == [1, 2, 0, 3]
    strip.show_gates(None, None, ordered=True)
    assert strip.channel_at(5) is None
