"""The rules of the Evaluate panel: a run against outlines, where it is wrong, and going there."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from shapely import box
from typer.testing import CliRunner

import napari_lumen
from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.cli import app
from napari_lumen.comparison import evaluate_slide
from napari_lumen.corrections import CorrectionStore
from napari_lumen.errors import AnnotationError, Cancelled, RunError
from napari_lumen.geometry import Grid, Window, level0_to_world
from napari_lumen.halving import halve_labels
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_shapes import shape_layers
from napari_lumen.plugin.controllers.evaluate import EvaluateController
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.results import add_result
from napari_lumen.plugin.slide_layers import slide_layer
from plugin_fakes import NUCLEUS, StepJobs, write_run
from test_plugin_correct import AtOnce

MISSED, FALSE, CONFUSED = 1, 2, 3


class Bench:
    """A slide of 1024 px whose run found a nucleus at rows and columns 128 to 160, level-0 px."""

    def __init__(self, folder: Path, jobs: Any = None) -> None:
        self.folder = folder
        self.viewer = ViewerModel()
        self.viewer.canvas.size = (800, 800)
        self.slide = ArraySlide(np.full((1024, 1024, 3), 200, np.uint8))
        self.slide.location = self.slide.path = folder / "case.tif"
        self.layer = self.viewer.add_layer(Layer.create(*slide_layer(self.slide)))
        self.run = write_run(folder / "run", self.slide, Window(64, 64, 16, 16), step=2.0)
        add_result(self.viewer, self.layer, run_layers(self.run, "case"))
        self.controller = EvaluateController(self.viewer, jobs or AtOnce())

    def draw(self, *annotations: Annotation, name: str = "truth", table: ClassTable = NUCLEUS) -> None:
        for item in annotations:
            if item.class_name and item.class_name not in table:
                table = table.added(item.class_name)
        for data in shape_layers(list(annotations), Frame.of(self.layer), name, table):
            self.viewer.add_layer(Layer.create(*data))

    @property
    def errors(self) -> Any:
        return next(
            x for x in self.viewer.layers if x.metadata.get("napari_lumen", {}).get("kind") == "errors"
        )

    def scores(self) -> dict[tuple[str, str], float]:
        found = self.controller.state.result
        assert found is not None
        return {(s.name, s.class_name): s.value for s in found.evaluation.scores if s.over == "pooled"}


def nucleus(left: float, top: float, side: float = 32, of: str = "nucleus") -> Annotation:
    return Annotation(box(left, top, left + side, top + side), of)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_is_missing_to_evaluate_is_said_until_it_is_there(tmp_path: Path) -> None:
    viewer = ViewerModel()
    controller = EvaluateController(viewer, AtOnce())
    assert "Open a slide" in (controller.state.blocked or "")
    slide = ArraySlide(np.full((64, 64, 3), 200, np.uint8))
    viewer.add_layer(Layer.create(*slide_layer(slide)))
    assert "Run a model" in (controller.state.blocked or "")
    bench = Bench(tmp_path)
    assert "Annotations panel" in (bench.controller.state.blocked or "")
    bench.draw(nucleus(128, 128))
    assert bench.controller.state.blocked is None
    assert [title for _, title in bench.controller.state.truths] == ["truth"]


def test_missed_false_and_wrong_class_lie_where_they_are_on_the_slide(bench: Bench) -> None:
    # the lower half of what was found is a gland, what is right of it was missed, nothing is left of it
    bench.draw(nucleus(144, 128), Annotation(box(136, 144, 160, 160), "gland"))
    bench.controller.evaluate()
    layer = bench.errors
    finest = np.asarray(layer.data[0])
    truth = np.zeros_like(finest)
    truth[64:80, 72:88] = 1
    truth[72:80, 68:80] = 2
    found = np.zeros_like(finest)
    found[64:80, 64:80] = 1
    expected = np.select(
        [(truth == 0) & (found > 0), (truth > 0) & (found == 0), truth != found], [FALSE, MISSED, CONFUSED], 0
    )
    np.testing.assert_array_equal(finest, expected)
    first = np.argwhere(finest == MISSED)[0]
    # pixel (64, 80) of the run's grid of 2 level-0 px: its middle lies at level-0 px (129, 161)
    assert layer.data_to_world(first) == pytest.approx(level0_to_world((129, 161), (0.5, 0.5)))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    np.testing.assert_array_equal(np.asarray(layer.data[1]), halve_labels(finest))
    np.testing.assert_array_equal(np.asarray(layer.data[2]), halve_labels(halve_labels(finest)))
    assert layer.features["class"].tolist() == ["right", "missed", "false", "wrong class"]
    result = bench.controller.state.result
    assert result is not None
    for value in (MISSED, FALSE, CONFUSED):  # a pixel of the run is 1 µm a side
        assert result.errors.area_um2(value) == (expected == value).sum()
    confusion = result.evaluation.confusion
    assert confusion.sum() == finest.size
    assert confusion[2, 1] == (expected == CONFUSED).sum()


def test_scores_and_report_are_those_of_the_command_line(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "truth.geojson"
    write_geojson(file, [nucleus(144, 128), nucleus(600, 600)])
    bench.controller.choose_file(file)
    bench.controller.evaluate()
    bench.controller.save(tmp_path / "panel")
    expected = napari_lumen.evaluate(bench.run.path, file, tmp_path / "command")
    assert bench.scores()["dice", "nucleus"] == pytest.approx(2 * 128 / (256 + 512))
    said = {(s.name, s.class_name): s.value for s in expected.scores if s.over == "pooled"}
    assert said["dice", "nucleus"] == bench.scores()["dice", "nucleus"]
    for name in ("scores.csv", "images.csv", "confusion.csv", "report.html"):
        assert (tmp_path / "panel" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()


def test_the_worst_place_comes_first_and_a_click_goes_there(bench: Bench) -> None:
    bench.draw(nucleus(128, 128), nucleus(608, 808, 80), nucleus(20, 420, 10))
    bench.controller.evaluate()
    result = bench.controller.state.result
    assert result is not None
    first, second = result.places
    (mistake,) = first.mistakes
    assert (mistake.truth, mistake.predicted, mistake.area_um2) == ("nucleus", "", 1600)
    assert second.area_um2 == 25
    bench.controller.go_to(0)
    y, x = bench.viewer.scene.camera.center[-2:]
    assert (x, y) == pytest.approx((324, 424), abs=60)  # µm; the field of 100 µm that holds (648, 848) px
    height = 800 / bench.viewer.scene.camera.zoom
    assert 100 < height < 300  # µm


def test_outlined_regions_bound_what_counts_and_ignored_parts_do_not(bench: Bench) -> None:
    missed = nucleus(600, 600)
    bench.draw(missed, Annotation(box(100, 100, 200, 200), "Region*"), nucleus(128, 128, 16))
    bench.controller.evaluate()
    assert bench.scores()["recall", "nucleus"] == 1
    assert bench.scores()["precision", "nucleus"] == pytest.approx(0.25)
    assert bench.controller.state.result is not None
    assert bench.controller.state.result.evaluation.confusion.sum() == 50 * 50
    bench.viewer.layers.remove("truth")
    bench.draw(nucleus(128, 128), Annotation(box(590, 590, 640, 640), "Ignore*"), missed)
    bench.controller.evaluate()
    assert bench.scores()["dice", "nucleus"] == 1


def test_classes_that_the_run_does_not_have_are_left_out_and_named(bench: Bench) -> None:
    bench.draw(nucleus(128, 128), nucleus(600, 600, of="Stroma"))
    bench.controller.evaluate()
    assert bench.scores()["dice", "nucleus"] == 1
    assert "Stroma" in bench.controller.state.message


def test_a_truth_without_a_known_class_is_one_sentence_and_nothing_is_shown(bench: Bench) -> None:
    bench.draw(nucleus(128, 128, of="Tumour"))
    bench.controller.evaluate()
    assert "Tumour" in bench.controller.state.message
    assert "nucleus, gland" in bench.controller.state.message
    assert bench.controller.state.result is None


def test_corrections_are_scored_apart_from_the_run_they_are_of(bench: Bench) -> None:
    bench.draw(nucleus(128, 128), nucleus(192, 128))
    assert [item.corrected for item in bench.controller.state.runs] == [False]
    store = CorrectionStore(bench.run.path)
    window = Grid((16, 16), (2.0, 2.0), (128.0, 192.0))
    store.commit(window, np.zeros((16, 16), np.uint8), np.ones((16, 16), np.uint8), "me")
    shown = bench.viewer.layers[-2]
    shown.metadata = {**shown.metadata}  # as when a correction was accepted
    plain, corrected = bench.controller.state.runs
    bench.controller.evaluate()
    assert bench.scores()["recall", "nucleus"] == 0.5
    bench.controller.choose_run(corrected)
    bench.controller.evaluate()
    assert bench.scores()["dice", "nucleus"] == 1
    assert not np.asarray(bench.errors.data[0]).any()
    assert (plain.corrected, corrected.corrected) == (False, True)


def test_corrections_are_asked_for_only_where_there_are_some(bench: Bench, tmp_path: Path) -> None:
    truth = tmp_path / "truth.geojson"
    write_geojson(truth, [nucleus(128, 128)])
    with pytest.raises(RunError, match=r"Nothing of the run .* is corrected yet"):
        napari_lumen.evaluate(bench.run.path, truth, corrected=True)
    with pytest.raises(AnnotationError, match="no run"):
        napari_lumen.evaluate(truth, truth, corrected=True)


def test_outlines_without_a_class_are_refused_where_the_run_has_several(bench: Bench) -> None:
    bench.draw(nucleus(128, 128), Annotation(box(0, 0, 9, 9)))
    bench.controller.evaluate()
    assert "1 outline of truth without a class" in bench.controller.state.message
    assert bench.controller.state.result is None


def test_the_command_line_scores_corrections_too(bench: Bench, tmp_path: Path) -> None:
    truth = tmp_path / "truth.geojson"
    write_geojson(truth, [nucleus(128, 128), nucleus(192, 128)])
    window = Grid((16, 16), (2.0, 2.0), (128.0, 192.0))
    before = np.zeros((16, 16), np.uint8)
    CorrectionStore(bench.run.path).commit(window, before, before + 1, "me")
    call = ["evaluate", str(bench.run.path), str(truth), "--out", str(tmp_path / "report")]
    plain = CliRunner().invoke(app, call)
    corrected = CliRunner().invoke(app, [*call, "--corrected", "--objects", "areas"])
    assert (plain.exit_code, corrected.exit_code) == (0, 0), corrected.stderr
    assert "0.6667" in plain.stdout
    assert "1.0000" in corrected.stdout
    assert "laid over the run" in (tmp_path / "report" / "report.html").read_text()


def test_cancelling_between_two_tiles_stops_there(bench: Bench, tmp_path: Path) -> None:
    truth = tmp_path / "truth.geojson"
    write_geojson(truth, [nucleus(128, 128)])
    cancel, shares = Event(), []

    def stop(share: float) -> None:
        shares.append(share)
        cancel.set()

    with pytest.raises(Cancelled):
        evaluate_slide(bench.run.path, truth, tile=128, on_progress=stop, cancel=cancel)
    assert shares == [1 / 16]  # of 512 px a side of the run's grid


def test_the_values_of_a_label_image_count_as_the_run_numbers_its_classes_unless_the_user_says_otherwise(
    bench: Bench, tmp_path: Path
) -> None:
    """The run found class 1 where the image has 2, its gland; and 7 is of no class of the run."""
    truth = np.zeros(bench.run.labels.shapes[0], np.uint8)
    truth[64:80, 64:80] = 2
    truth[64:80, 72:80] = 7
    path = tmp_path / "truth.npy"
    np.save(path, truth)
    controller = bench.controller
    controller.choose_file(path)
    assert controller.state.names == (("2", "gland"), ("7", ""))
    controller.evaluate()
    assert (controller.state.message, bench.scores()["dice", "nucleus"]) == ("", 0)
    assert (np.asarray(bench.errors.data[0]) == CONFUSED).sum() == 16 * 8  # what does not count is no error
    assert (np.asarray(bench.errors.data[0]) > 0).sum() == 16 * 8
    controller.count_as("2", "nucleus")
    controller.count_as("7", "Background")
    controller.evaluate()
    assert bench.scores()["dice", "nucleus"] == pytest.approx(2 * 128 / (256 + 128))
    wanted = evaluate_slide(bench.run.path, path, renamed={"2": "nucleus", "7": "Background"})
    assert controller.state.result is not None
    found, scores = controller.state.result.evaluation.scores, wanted.evaluation.scores
    np.testing.assert_array_equal([item.value for item in found], [item.value for item in scores])
    np.save(path, np.arange(truth.size).reshape(truth.shape))  # of objects
    controller.choose_file(path)
    assert controller.state.names == ()


def test_the_view_bounds_what_counts(bench: Bench) -> None:
    bench.draw(nucleus(128, 128), nucleus(600, 600))
    bench.viewer.scene.camera.center = (0.0, 72.0, 72.0)
    bench.viewer.scene.camera.zoom = 10.0
    bench.controller.choose_where("view")
    bench.controller.evaluate()
    assert bench.scores()["dice", "nucleus"] == 1


def test_a_second_evaluation_replaces_the_map_of_the_first(bench: Bench) -> None:
    bench.draw(nucleus(144, 128))
    for _ in range(2):
        bench.controller.evaluate()
    kinds = [layer.metadata.get("napari_lumen", {}).get("kind") for layer in bench.viewer.layers]
    assert kinds.count("errors") == 1


def test_cancelling_keeps_what_was_there(tmp_path: Path) -> None:
    jobs = StepJobs(first_at_once=False)
    bench = Bench(tmp_path, jobs)
    bench.draw(nucleus(144, 128))
    bench.controller.evaluate()
    assert bench.controller.state.busy
    bench.controller.cancel()
    jobs.let_run()
    assert bench.controller.state.message == "Cancelled."
    assert bench.controller.state.result is None
    assert not bench.controller.state.busy
