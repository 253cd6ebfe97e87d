"""The threshold of the Attention panel: area and share at once, an outline by the cells, and annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from napari.layers import Layer, Vectors
from shapely import box

from attention_bench import Bench
from explain_fakes import marker_model
from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation, Source
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import predict
from napari_lumen.plugin import attention_threshold_reading
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_layers import annotations_on
from napari_lumen.plugin.annotation_shapes import annotations_of, shape_layers
from napari_lumen.plugin.controllers.annotations import AnnotationsController
from napari_lumen.plugin.controllers.attention_threshold import ThresholdController
from napari_lumen.plugin.explainers import Asker
from napari_lumen.tissue import tissue_mask
from plugin_fakes import StepJobs, write_run
from test_plugin_correct import AtOnce

CELL, SIDE = 8, 128
DARK = np.random.default_rng(5).integers(60, 255, (SIDE // CELL, SIDE // CELL)).astype(np.uint8)
PLACE = Region(0, 0, SIDE, SIDE)


def slide() -> ArraySlide:
    grey = np.kron(255 - DARK[..., None], np.ones((CELL, CELL, 3), np.uint8))
    white = np.full((256, 256, 3), 255, np.uint8)
    white[:SIDE, :SIDE] = grey
    return ArraySlide(white)


@pytest.fixture
def bench() -> Bench:
    bench = Bench(slide(), marker_model(CELL, size=SIDE))
    bench.controller.explain(Asker(model=Path("marker")), PLACE, "Field")
    bench.controller.choose_map("map8")
    return bench


@pytest.fixture
def threshold(bench: Bench) -> ThresholdController:
    controller = ThresholdController(bench.controller)
    controller.watch(True)
    return controller


def outline(bench: Bench) -> Any:
    (layer,) = [layer for layer in bench.viewer.layers if isinstance(layer, Vectors)]
    return layer


def above(value: float) -> Any:
    return DARK / np.float32(255) >= value


def test_area_and_share_of_tissue_follow_the_slider(threshold: ThresholdController) -> None:
    mask, grid = tissue_mask(slide())
    pixels = np.kron(mask, np.ones((round(grid.step[0]), round(grid.step[1]))))[:256, :256]
    tissue = pixels[:SIDE, :SIDE].reshape(SIDE // CELL, CELL, -1, CELL).sum(axis=(1, 3))
    for value in (0.303, 0.513, 0.803):
        threshold.set_threshold(value)
        state = threshold.state
        assert state.threshold == value
        assert state.area_mm2 == pytest.approx(above(value).sum() * (CELL * 0.5) ** 2 / 1e6)
        assert state.share == pytest.approx(tissue[above(value)].sum() / tissue.sum())
    assert threshold.state.tissue_mm2 == pytest.approx(tissue.sum() * 0.25 / 1e6)


def test_the_outline_runs_along_the_cells_that_are_high_enough(
    threshold: ThresholdController, bench: Bench
) -> None:
    threshold.set_threshold(0.603)
    layer = outline(bench)
    lines = [
        shapely.LineString([(x, y), (x + across, y + down)])
        for (y, x), (down, across) in np.asarray(layer.data, np.float64) + np.array([[0.5, 0.5], [0, 0]])
    ]
    enclosed = shapely.get_parts(shapely.polygonize(lines))
    rows, columns = np.nonzero(above(0.603))
    cells = shapely.union_all(
        [
            box(c * CELL, r * CELL, c * CELL + CELL, r * CELL + CELL)
            for r, c in zip(rows, columns, strict=True)
        ]
    )
    covered = shapely.union_all([part for part in enclosed if cells.contains(part.representative_point())])
    assert covered.equals(cells)
    assert tuple(layer.scale) == (0.5, 0.5)
    assert threshold.state.areas == len(shapely.get_parts(_by_edges(above(0.603))))
    assert annotations_on(bench.viewer, bench.layer) == []  # nobody learns from an outline
    threshold.show_outline(False)
    assert layer not in bench.viewer.layers
    threshold.show_outline(True)
    assert len(outline(bench).data) == len(lines)


def _by_edges(mask: Any) -> Any:
    """Return a part for each group of cells that share edges, found by another way than polygonising."""
    from scipy.ndimage import label

    numbers, count = label(mask)
    return shapely.multipoints([np.argwhere(numbers == index + 1)[0] for index in range(count)])


def test_the_line_is_as_thin_at_every_zoom(threshold: ThresholdController, bench: Bench) -> None:
    threshold.set_threshold(0.5)
    camera = bench.viewer.scene.camera
    for zoom in (0.5, 4.0, 40.0):
        camera.zoom = zoom
        assert outline(bench).edge_width * 0.5 * zoom == pytest.approx(2.0)


def test_a_probability_begins_at_one_half_and_spans_all_that_it_can_be(
    threshold: ThresholdController, bench: Bench
) -> None:
    bench.controller.choose_map("probability.dark")
    state = threshold.state
    assert (state.limits, state.threshold, state.class_name) == ((0.0, 1.0), 0.5, "dark")
    np.testing.assert_allclose(np.asarray(outline(bench).edge_color)[0], (1, 0, 0, 1))  # its class is red


def test_the_newest_value_is_outlined_next_while_one_is_being_outlined(bench: Bench) -> None:
    threshold = ThresholdController(bench.controller)
    threshold.watch(True)
    jobs = StepJobs(first_at_once=False)
    bench.controller.jobs = jobs
    for value in (0.3, 0.4, 0.5, 0.7):
        threshold.set_threshold(value)
    assert threshold.state.area_mm2 == pytest.approx(above(0.7).sum() * 16 / 1e6)  # area does not wait
    assert len(jobs.held) == 1
    jobs.let_run()
    assert len(jobs.held) == 1
    jobs.let_run()
    assert jobs.held == []
    shown = len(outline(bench).data)
    bench.controller.jobs = AtOnce()
    threshold.set_threshold(0.3)
    threshold.set_threshold(0.7)
    assert len(outline(bench).data) == shown


def test_annotations_of_the_outline_say_model_and_class(threshold: ThresholdController, bench: Bench) -> None:
    bench.controller.choose_map("probability.dark")
    threshold.set_threshold(0.9)
    threshold.annotate()
    (layer,) = [item for item in bench.viewer.layers if item.name == "array · annotations"]
    found = annotations_of(layer.as_layer_data_tuple())
    dark = 1 / (1 + np.exp(-(DARK / 255 - 0.5) * 20)) >= 0.9  # as the marker says of each pixel
    assert sum(item.geometry.area for item in found) == dark.sum() * CELL**2
    assert {item.source for item in found} == {Source("marker", None)}
    assert {item.class_name for item in found} == {"dark"}
    assert {item.color for item in found} == {(255, 0, 0)}
    assert threshold.state.message == f"{len(found)} annotations added to array · annotations."


def test_annotations_join_those_that_are_there_and_go_in_one_undo(
    threshold: ThresholdController, bench: Bench
) -> None:
    before = [Annotation(box(10, 10, 30, 30), "gland"), Annotation(box(50, 50, 70, 90), "gland")]
    table = ClassTable.of([(1, "gland", (0, 200, 0))])
    (data,) = shape_layers(before, Frame.of(bench.layer), "mine", table)
    mine: Any = bench.viewer.add_layer(Layer.create(*data))
    panel = AnnotationsController(bench.viewer, AtOnce(), "Ann")
    threshold.set_threshold(0.803)
    threshold.choose_class("dark")
    threshold.leave_out(20.0)  # more than one cell of 16 µm²
    threshold.annotate()
    found = annotations_of(mine.as_layer_data_tuple())
    assert [item.geometry.equals(other.geometry) for item, other in zip(found, before, strict=False)] == [
        True
    ] * 2
    added = found[2:]
    assert added
    assert all(item.geometry.area * 0.25 >= 20 for item in added)
    assert {(item.class_name, item.source) for item in added} == {("dark", Source("marker", None))}
    assert {row.name: row.count for row in panel.state.rows} == {"gland": 2, "dark": len(added)}
    panel.undo()
    assert len(annotations_of(mine.as_layer_data_tuple())) == 2
    panel.redo()
    again = annotations_of(mine.as_layer_data_tuple())
    assert [item.source for item in again] == [None, None, *(item.source for item in added)]
    panel.close()


def test_a_map_without_values_or_of_equal_ones_is_one_sentence(tmp_path: Path) -> None:
    empty = ArraySlide(np.full((512, 512, 3), 200, np.uint8))
    bench = Bench(empty, marker_model(CELL))
    bench.show_run(write_run(tmp_path / "run", empty, Window(0, 0, 8, 8)))  # nothing finished
    threshold = ThresholdController(bench.controller)
    threshold.watch(True)
    bench.controller.choose_map("probability.nucleus")
    assert (
        threshold.state.message == "Probability of nucleus has no values here: there is nothing to outline."
    )
    assert threshold.state.limits is None
    bench.controller.explain(Asker(model=Path("marker")), Region(0, 0, 64, 64), "Field")
    bench.controller.choose_source("field")
    bench.controller.choose_map("map8")
    assert threshold.state.message.startswith("All values of Map8 are 0.2157")
    threshold.annotate()
    assert not any("annotations" in layer.name for layer in bench.viewer.layers)


def test_an_outline_of_coarser_cells_than_the_map_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = marker_model(4, size=64)
    bench = Bench(slide(), model)
    bench.show_run(predict(slide(), model, PLACE, tmp_path / "run"))
    threshold = ThresholdController(bench.controller)
    bench.controller.choose_map("probability.dark")
    threshold.watch(True)
    assert threshold.state.note == ""
    threshold.watch(False)
    monkeypatch.setattr(attention_threshold_reading, "_DRAWN", SIDE * SIDE // 4)
    bench.controller.choose_map("probability.pale")
    threshold.watch(True)
    assert threshold.state.note == "The outline is drawn of cells of 1 µm, to be quick."
    fine = threshold.state.area_mm2
    threshold.watch(False)
    monkeypatch.setattr(attention_threshold_reading, "_COUNTED", SIDE * SIDE // 4)
    bench.controller.choose_map("probability.dark")
    bench.controller.choose_map("probability.pale")
    threshold.watch(True)
    assert threshold.state.note == "Area and annotations are of cells of 1 µm; the map is finer."
    assert threshold.state.area_mm2 == pytest.approx(fine)  # the dark squares are of 4 µm


def test_the_areas_that_are_told_are_the_annotations_that_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_threshold_reading, "_DRAWN", (SIDE // 16) ** 2)
    model = marker_model(4, size=64)
    bench = Bench(slide(), model)
    bench.show_run(predict(slide(), model, PLACE, tmp_path / "run"))
    threshold = ThresholdController(bench.controller)
    bench.controller.choose_map("probability.dark")
    threshold.watch(True)
    said = []
    for least in (0.0, 20.0):  # more than one cell of 16 µm²
        threshold.leave_out(least)
        assert not threshold.state.about
        said.append(threshold.state.areas)
        threshold.annotate()
        assert threshold.state.message.startswith(f"{threshold.state.areas} annotations added")
    assert said[0] > said[1] > 1
    threshold.smooth(True)
    assert threshold.state.about
    threshold.show_outline(False)
    assert threshold.state.areas is None  # it is not counted while nobody sees the outline
    threshold.close()


def test_slider_and_box_show_the_same_value_and_the_area_is_in_mm2(bench: Bench, qtbot: Any) -> None:
    from napari_lumen.plugin.widgets.attention_threshold import ThresholdTool

    tool = ThresholdTool(bench.controller)
    tool.resize(340, 500)
    qtbot.addWidget(tool)
    tool.show()
    qtbot.waitUntil(lambda: tool.slider.isEnabled(), timeout=5000)
    low, high = tool.controller.state.limits or (0, 0)
    tool.slider.setValue(250)
    assert tool.controller.state.threshold == pytest.approx(low + (high - low) / 4)
    assert tool.value.value() == pytest.approx(tool.controller.state.threshold, abs=1e-3)
    expected = above(tool.controller.state.threshold).sum() * 16
    assert tool.area.text() in (f"{expected:,.0f} µm²", f"{expected / 1e6:.4f} mm²")
    tool.value.setValue(0.75)
    assert tool.slider.value() == pytest.approx((0.75 - low) / (high - low) * 1000, abs=1)
    assert "%" in tool.share.text()
    assert int(tool.areas.text()) == tool.controller.state.areas
    tool.controller.close()
