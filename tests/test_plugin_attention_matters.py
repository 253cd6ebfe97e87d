"""Whether a map matters, in the window: a check of a field, and how many annotated boxes are covered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from napari.layers import Layer
from shapely import box

from attention_bench import Bench
from explain_fakes import marker_model
from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation, Source
from napari_lumen.errors import ModelError
from napari_lumen.explain.faithfulness import Curve, Faithfulness, faithfulness
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.models.instances import InstanceSelection
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_shapes import shape_layers
from napari_lumen.plugin.controllers.attention_matters import MattersController, verdict
from napari_lumen.plugin.explainers import Asker
from plugin_fakes import StepJobs

CELL, TILE = 16, 64
DARK = np.random.default_rng(4).permutation(64).reshape(8, 8) * 4
MODEL = marker_model(CELL, whole=True, attention=(f"map{CELL}",), size=TILE)
PLACE = Region(0, 0, TILE, TILE)


def slide() -> ArraySlide:
    return ArraySlide(np.kron(255 - DARK[..., None], np.ones((CELL, CELL, 3))).astype(np.uint8))


@pytest.fixture
def bench() -> Bench:
    bench = Bench(slide(), MODEL)
    bench.controller.explain(Asker(model=Path("marker")), PLACE, "Field")
    bench.controller.choose_map("map16")
    return bench


def expected(bench: Bench, place: Any) -> Faithfulness:
    explainer: Any = bench.controller.explainers
    item = explainer.explainer.explain(slide(), place)["map16"]
    return faithfulness(
        explainer.explainer, slide(), place, item, class_name="dark", steps=5, repeats=2, baseline="mean"
    )


def checked(matters: MattersController) -> Any:
    matters.choose_class("dark")
    matters.choose_effort("quick")
    matters.choose_baseline("mean")
    matters.check()
    assert matters.state.message == ""
    return matters.state.checked


def draw(bench: Bench, *annotations: Annotation) -> None:
    table = ClassTable.of([(1, "lesion", (0, 200, 0))])
    for data in shape_layers(annotations, Frame.of(bench.layer), "mine", table):
        bench.viewer.add_layer(Layer.create(*data))


def test_a_field_is_checked_as_from_python(bench: Bench) -> None:
    matters = MattersController(bench.controller)
    assert (matters.state.title, matters.state.where) == ("Map16", "the explained field")
    found, other = checked(matters), expected(bench, PLACE)
    assert found.region == PLACE
    np.testing.assert_array_equal(found.result.deletion.scores, other.deletion.scores)
    assert found.result.deletion_gain == other.deletion_gain > 0
    assert found.result.insertion_gain == other.insertion_gain > 0
    assert "decide what the model says of dark" in verdict(found.result)


def test_in_a_run_the_tile_in_the_middle_of_the_view_is_checked(tmp_path: Path) -> None:
    bench = Bench(slide(), MODEL)
    bench.show_run(predict(slide(), MODEL, Region(0, 0, 128, 128), tmp_path / "run"))
    bench.controller.choose_map("map16")
    matters = MattersController(bench.controller)
    assert matters.state.where == "the tile in the middle of the view"
    bench.look_at(Region(80, 10, 20, 20))
    found = checked(matters)
    assert found.region == Region(64, 0, TILE, TILE)
    assert found.result.deletion.area == expected(bench, Region(64, 0, TILE, TILE)).deletion.area
    bench.look_at(Region(5000, 5000, 20, 20))
    matters.check()
    assert "The view shows nothing of the slide" in matters.state.message


def test_a_check_tells_how_far_it_is_and_can_be_cancelled(bench: Bench) -> None:
    bench.controller.jobs = jobs = StepJobs()  # the first check is done at once
    matters = MattersController(bench.controller)
    told: list[Any] = []
    matters.changed.connect(lambda state: told.append((state.busy, state.done)))
    checked(matters)
    assert ("Pass 13 of 26", 0.5) in [(busy.partition(",")[0], done) for busy, done in told]
    matters.check()
    assert matters.state.busy == "Loading the model …"
    matters.cancel()
    assert matters.state.cancelling
    jobs.let_run()
    assert (matters.state.busy, matters.state.message) == ("", "Cancelled.")
    assert matters.state.checked is not None  # the one before


def test_a_model_that_is_gone_is_one_sentence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def gone(asker: Asker) -> Iterator[Any]:
        raise ModelError("There is no model marker. The maps that run keeps can be shown without it.")
        yield

    monkeypatch.setattr(bench.controller.explainers, "use", gone)
    matters = MattersController(bench.controller)
    matters.check()
    assert matters.state.message.startswith("There is no model marker.")
    assert matters.state.checked is None
    assert not matters.state.busy


def test_a_map_of_one_cell_gets_no_verdict(bench: Bench) -> None:
    bench.controller.choose_map("entropy")  # of a field that is classified as a whole
    matters = MattersController(bench.controller)
    matters.check()
    assert matters.state.message == (
        "Entropy has one cell in this field, so there is no order to check: choose another map or a larger "
        "field."
    )
    assert matters.state.checked is None


def test_boxes_drawn_by_hand_are_counted_and_those_of_models_are_not(bench: Bench) -> None:
    matters = MattersController(bench.controller)
    matters.count_boxes()
    assert matters.state.message.startswith("Nothing is outlined by hand")
    values = torch.from_numpy(DARK[:4, :4] / 255)[None, None]
    mask = (InstanceSelection().normalise(values)[0] > 0.5).float()
    high = mask.reshape(4, 56, 4, 56).mean(dim=(1, 3)).numpy() >= 0.5
    cells = [
        Annotation(box(c * CELL, r * CELL, (c + 1) * CELL, (r + 1) * CELL), "lesion")
        for r in range(4)
        for c in range(4)
    ]
    by_model = Annotation(box(0, 0, 8, 8), "lesion", source=Source("marker", "run"))
    outside = Annotation(box(100, 100, 110, 110), "lesion")
    draw(bench, *cells, by_model, outside)
    matters.count_boxes()
    found = matters.state.coverage
    assert found is not None
    assert len(found.shares) == 16
    assert found.covered == high.mean()
    bench.viewer.layers["mine"].visible = False
    matters.count_boxes()
    assert "Nothing is outlined by hand" in matters.state.message


def test_verdicts_follow_both_curves() -> None:
    shares = np.linspace(0, 1, 3)

    def curve(*scores: float) -> Curve:
        return Curve(shares, np.array(scores))

    def said(deleted: float, inserted: float, without: float = 0.1) -> str:
        random = (curve(0.9, 0.4, without), curve(0.9, 0.5, without))
        back = tuple(curve(*other.scores[::-1]) for other in random)
        by_map = curve(0.9, deleted, without), curve(without, inserted, 0.9)
        return verdict(Faithfulness("m", "dark", "mean", 0, *by_map, random, back))

    assert "both curves are better than every random order" in said(0.1, 0.8)
    assert "needed for what the model says of dark, but alone they do not suffice" in said(0.1, 0.45)
    assert "suffice for what the model says of dark, but it does not need them" in said(0.45, 0.8)
    assert "matter no more than random ones" in said(0.45, 0.45)
    assert "this check says nothing" in said(0.6, 0.3, without=0.95)


def test_curves_and_their_areas_are_shown(bench: Bench, qtbot: Any) -> None:
    from napari_lumen.plugin.widgets.attention_matters import MattersTool

    tool = MattersTool(bench.controller)
    qtbot.addWidget(tool)
    tool.resize(340, 700)
    tool.show()
    tool.controller.choose_class("dark")
    tool.controller.choose_effort("quick")
    assert tool.effort.currentText() == "Quick (26 passes)"
    assert not tool.plots[0].isVisible()
    tool.check.click()
    found = tool.controller.state.checked
    assert found is not None
    for title, plot, curve in zip(
        tool.titles, tool.plots, (found.result.deletion, found.result.insertion), strict=True
    ):
        assert plot.isVisible()
        assert f"<b>{curve.area:.3f}</b>" in title.text()
        x, y = plot.getPlotItem().listDataItems()[-1].getData()
        np.testing.assert_array_equal(x, curve.shares * 100)
        np.testing.assert_array_equal(y, curve.scores)
        assert len(plot.getPlotItem().listDataItems()) == 3
    assert "field of 32 × 32 µm at x 16 µm, y 16 µm" in tool.verdict.text()
    draw(bench, Annotation(box(0, 0, 16, 16), "lesion"))
    tool.boxes.click()
    assert tool.covered.text().startswith("Of 1 box, ")
    tool.controller.close()
