"""The rules of the Run model panel, without a window and without threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import notification_manager

from fakes import ArraySlide, Darkness, model_of
from napari_lumen.errors import RunError
from napari_lumen.geometry import Region, Window, level0_to_world
from napari_lumen.inference import predict as predict_for_real
from napari_lumen.inference.progress import Progress
from napari_lumen.inference.run import ClassCount
from napari_lumen.plugin.catalogue import Catalogue, look_up
from napari_lumen.plugin.controllers.run_model import RunModelController
from napari_lumen.plugin.controllers.run_overlay import RunOverlay
from napari_lumen.plugin.controllers.run_state import Result
from napari_lumen.plugin.layers import COUNTS, KEY, Results, result_layers
from napari_lumen.plugin.regions import selected_shapes, view_region
from napari_lumen.plugin.slide_layers import slide_layer
from napari_lumen.slides.pixel_size import remembered_mpp
from plugin_fakes import CATALOGUE, MODEL, StepJobs, stopped_by, write_run


class FakePredict:
    """Writes a small run; keeps how it was called; does what a test hangs on it on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[dict[str, Any]] = []
        self.on_the_way = lambda: None
        self.failed: tuple[tuple[int, int], ...] = ()

    def __call__(self, slide: Any, model: Path, **keywords: Any) -> Any:
        self.calls.append({"slide": slide, "model": model, **keywords})
        keywords["on_progress"](Progress("running the model", 3, 12, 9.0))
        self.on_the_way()
        cancel: Event = keywords["cancel"]
        stopped_by(cancel)
        return write_run(self.folder, slide, Window(8, 8, 8, 8), failed=self.failed)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def jobs() -> StepJobs:
    return StepJobs()


@pytest.fixture
def predict(tmp_path: Path) -> FakePredict:
    return FakePredict(tmp_path)


@pytest.fixture
def controller(viewer: ViewerModel, jobs: StepJobs, predict: FakePredict) -> RunModelController:
    return RunModelController(viewer, jobs, predict=predict, catalogue=lambda: CATALOGUE)


@pytest.fixture
def told() -> Iterator[list[tuple[str, str]]]:
    notes: list[tuple[str, str]] = []

    def note(notification: Any) -> None:
        notes.append((str(notification.severity), notification.message))

    notification_manager.notification_ready.connect(note)
    yield notes
    notification_manager.notification_ready.disconnect(note)


def open_slide(
    viewer: ViewerModel, mpp: tuple[float, float] | None = (0.5, 0.5), name: str = "case.svs"
) -> Layer:
    slide = ArraySlide(np.full((300, 200, 3), 200, np.uint8), mpp=mpp)
    slide.path = Path(name)
    layer = Layer.create(*slide_layer(slide))
    viewer.layers.append(layer)
    return layer


def test_without_a_slide_the_panel_says_to_open_one(
    controller: RunModelController, predict: FakePredict
) -> None:
    assert controller.state.slide is None
    assert "Open a slide first" in (controller.state.blocked or "")
    controller.run()
    assert not controller.state.running


def test_the_only_slide_is_chosen_by_itself(controller: RunModelController, viewer: ViewerModel) -> None:
    viewer.add_image(np.zeros((5, 5)), name="a photograph")
    open_slide(viewer)
    assert controller.state.slides == ("case.svs",)
    assert controller.state.slide == "case.svs"
    assert controller.state.blocked is None
    assert controller.state.model == MODEL


def test_a_slide_that_was_open_before_the_panel_is_found(
    viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    open_slide(viewer)
    assert RunModelController(viewer, jobs, predict, lambda: CATALOGUE).state.blocked is None


def test_a_renamed_slide_stays_known_and_a_chosen_one_stays_chosen(
    controller: RunModelController, viewer: ViewerModel
) -> None:
    first = open_slide(viewer)
    open_slide(viewer, name="other.svs")
    controller.choose_slide("case.svs")
    first.name = "case 12"
    assert controller.state.slides == ("other.svs", "case 12")
    assert controller.state.slide == "case 12"
    controller.choose_slide("other.svs")
    viewer.add_points([(0, 0)])  # belongs to no slide
    assert controller.state.slide == "other.svs"


def test_all_panels_are_about_the_slide_of_the_selected_layer(
    controller: RunModelController, viewer: ViewerModel
) -> None:
    first = open_slide(viewer)
    open_slide(viewer, name="other.svs")
    assert controller.state.slide == "other.svs"  # that which was opened last is selected
    viewer.layers.selection.active = first
    assert controller.state.slide == "case.svs"
    controller.choose_slide("other.svs")
    assert viewer.layers.selection.active is viewer.layers["other.svs"]


def test_without_a_model_the_panel_says_so(viewer: ViewerModel, predict: FakePredict) -> None:
    open_slide(viewer)
    empty = Catalogue((), (("auto", "Automatic"),), ("The card x is not usable.",))
    controller = RunModelController(viewer, StepJobs(), predict, lambda: empty)
    assert "No model is installed" in (controller.state.blocked or "")


def test_one_click_puts_the_result_on_the_slide(
    controller: RunModelController,
    viewer: ViewerModel,
    jobs: StepJobs,
    predict: FakePredict,
    told: list[tuple[str, str]],
) -> None:
    layer = open_slide(viewer)
    results: list[Result] = []
    controller.finished.connect(results.append)
    states = []
    controller.changed.connect(states.append)
    controller.run()
    assert controller.state.running
    assert len(viewer.layers) == 1
    jobs.let_run()
    assert viewer.layers[0].name == "case.svs"
    assert viewer.layers[-1].name == "case · nucleus, gland"
    assert not controller.state.running
    assert controller.state.message == "Done in 12 s."
    assert any(state.progress and state.progress.done == 3 for state in states)
    (call,) = predict.calls
    assert call["slide"] is layer.metadata["napari_lumen"]["slide"]
    assert (call["model"], call["region"], call["device"]) == (MODEL.path, None, "auto")
    assert results[0].run.record.counts[0].objects == 1234
    assert told == [("info", "Found nucleus: 1,234, gland: 0 in 2.13 mm²\nNuclei on case.svs")]


def test_the_legend_is_told_when_its_result_is_gone(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs
) -> None:
    open_slide(viewer)
    gone: list[bool] = []
    controller.result_gone.connect(lambda: gone.append(True))
    controller.run()
    jobs.let_run()
    for layer in list(viewer.layers)[1:-1]:
        viewer.layers.remove(layer)
    assert not gone
    viewer.layers.pop()
    assert gone == [True]


def test_the_legend_hears_of_counts_that_corrections_have_changed(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs
) -> None:
    open_slide(viewer)
    heard: list[tuple[ClassCount, ...]] = []
    controller.counted.connect(heard.append)
    controller.run()
    jobs.let_run()
    labels = viewer.layers[-1]
    counts = (ClassCount(name="nucleus", objects=1235, area_mm2=0.26),)
    labels.metadata = {**labels.metadata, KEY: {**labels.metadata[KEY], COUNTS: counts}}
    assert heard == [counts]
    controller.run()
    jobs.let_run()
    labels.metadata = dict(labels.metadata)  # of an earlier run: the legend shows the newest
    assert heard == [counts]


def test_a_second_run_does_not_start_while_one_goes_on(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs
) -> None:
    open_slide(viewer)
    controller.run()
    controller.run()
    assert len(jobs.held) == 1


def test_cancel_leaves_no_layer_and_the_panel_ready(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    open_slide(viewer)
    predict.on_the_way = controller.cancel
    controller.run()
    jobs.let_run()
    assert len(viewer.layers) == 1
    assert not controller.state.running
    assert controller.state.message.startswith("Cancelled")
    assert controller.state.blocked is None


def test_cancel_while_the_model_is_loaded_gives_the_panel_back_at_once(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    open_slide(viewer)
    predict.on_the_way = lambda: None
    controller.run()
    controller.cancel()  # nothing has told of itself yet
    assert not controller.state.running
    assert controller.state.message.startswith("Cancelled")
    controller.run()
    jobs.let_run()  # the one that nobody waits for
    assert controller.state.running
    jobs.let_run()
    assert controller.state.message.startswith("Done")


def test_cancel_after_the_last_tile_shows_nothing_either(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    open_slide(viewer)
    controller.run()
    _, _, job = jobs.held[0]
    predict.on_the_way = lambda: None
    work, callbacks, _ = jobs.held.pop()
    value = work(callbacks.progress, Event())
    job.cancel.set()
    jobs.held.append((lambda emit, cancel: value, callbacks, job))
    jobs.let_run()
    assert len(viewer.layers) == 1


def test_an_error_is_one_sentence_and_leaves_no_layer(
    controller: RunModelController,
    viewer: ViewerModel,
    jobs: StepJobs,
    predict: FakePredict,
    told: list[tuple[str, str]],
) -> None:
    def fail() -> None:
        raise RunError("The disk is full. Free some space.")

    open_slide(viewer)
    predict.on_the_way = fail
    controller.run()
    jobs.let_run()
    assert told == [("error", "The disk is full. Free some space.")]
    assert controller.state.message == "The disk is full. Free some space."
    assert len(viewer.layers) == 1
    assert controller.state.blocked is None


def test_a_mistake_of_ours_offers_its_traceback(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    def fail() -> None:
        raise KeyError("level")

    seen: list[Any] = []
    notification_manager.notification_ready.connect(seen.append)
    open_slide(viewer)
    predict.on_the_way = fail
    controller.run()
    jobs.let_run()
    notification_manager.notification_ready.disconnect(seen.append)
    assert isinstance(seen[-1].exception, KeyError)
    assert "unexpected" in controller.state.message


def test_tiles_that_could_not_be_read_are_told(
    controller: RunModelController,
    viewer: ViewerModel,
    jobs: StepJobs,
    predict: FakePredict,
    told: list[tuple[str, str]],
) -> None:
    open_slide(viewer)
    predict.failed = ((0, 0), (0, 256))
    controller.run()
    jobs.let_run()
    assert told[-1][0] == "warning"
    assert told[-1][1].startswith("2 tiles of case.svs could not be read")


def test_removing_the_slide_stops_its_run(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    layer = open_slide(viewer)
    predict.on_the_way = lambda: viewer.layers.remove(layer)
    controller.run()
    jobs.let_run()
    assert not viewer.layers
    assert not controller.state.running


def test_an_unknown_pixel_size_is_asked_for_and_used(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    layer = open_slide(viewer, mpp=None)
    assert controller.state.asks_pixel_size
    assert "pixel size" in (controller.state.blocked or "")
    controller.run()
    assert not jobs.held
    controller.give_pixel_size(0.25)
    assert controller.state.blocked is None
    controller.run()
    jobs.let_run()
    assert predict.calls[0]["slide"].mpp == (0.25, 0.25)
    assert predict.calls[0]["slide"].mpp_given
    assert tuple(layer.scale) == (0.25, 0.25)
    assert all(str(unit) == "micrometer" for item in viewer.layers for unit in item.units)
    assert layer.metadata["napari_lumen"]["mpp"] == (0.25, 0.25)
    assert remembered_mpp("array") == (0.25, 0.25)


def test_the_answer_for_one_slide_is_never_taken_for_another(
    controller: RunModelController, viewer: ViewerModel
) -> None:
    open_slide(viewer, mpp=None)
    controller.give_pixel_size(0.25)
    other = open_slide(viewer, mpp=None, name="other.svs")
    controller.choose_slide("other.svs")
    assert controller.state.pixel_size is None
    assert "pixel size" in (controller.state.blocked or "")
    known = open_slide(viewer, name="known.svs")
    known.metadata["napari_lumen"]["slide"].mpp_given = True  # as when it was given on an earlier day
    controller.choose_slide("other.svs")
    controller.choose_slide("known.svs")
    assert (controller.state.pixel_size, controller.state.blocked) == (0.5, None)
    controller.choose_slide("other.svs")
    controller._slides.give_pixel_size(other, 0.125)  # in the Slide panel
    assert controller.state.pixel_size == 0.125


def test_a_pixel_size_that_is_none_runs_nothing(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, told: list[tuple[str, str]]
) -> None:
    layer = open_slide(viewer, mpp=None)
    for known in (None, 0.5):
        if known is not None:
            controller._slides.give_pixel_size(layer, known)
        controller.give_pixel_size(0.005)
        controller.run()
        assert not jobs.held
        assert not controller.state.running
        assert tuple(layer.scale) == (known or 1, known or 1)
    assert len(told) == 2
    assert "is not one of a slide" in told[-1][1]


def test_a_pixel_size_that_is_known_is_not_written_again(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, tmp_path: Path
) -> None:
    layer = open_slide(viewer, mpp=(0.25, 0.26))
    layer.metadata["napari_lumen"]["slide"].mpp_given = True
    controller.run()
    jobs.let_run()
    assert layer.metadata["napari_lumen"]["slide"].mpp == (0.25, 0.26)


def test_giving_the_pixel_size_moves_nothing_on_the_screen(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    open_slide(viewer, mpp=None)
    corners = [level0_to_world(point, (1, 1)) for point in ((10, 20), (10, 60), (50, 60), (50, 20))]
    shapes = viewer.add_shapes([np.array(corners)])
    shapes.selected_data = {0}
    viewer.canvas.size = (100, 100)
    viewer.scene.camera.center = (0, *level0_to_world((100, 100), (1, 1)))
    viewer.scene.camera.zoom = 2.0
    controller.give_pixel_size(0.25)
    controller.choose_where("view")
    controller.run()
    jobs.let_run()
    region = predict.calls[0]["region"]
    assert (region.y, region.x, region.height, region.width) == pytest.approx((75, 75, 50, 50))
    again = view_region(viewer, (0.25, 0.25), (300, 200))
    assert (again.y, again.x, again.height, again.width) == pytest.approx((75, 75, 50, 50))
    area = selected_shapes(shapes, (0.25, 0.25))
    assert area is not None
    assert area.bounds == pytest.approx((20, 10, 60, 50))
    assert all(str(unit) == "micrometer" for item in viewer.layers for unit in item.units)


def test_the_current_view_is_what_is_run(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    open_slide(viewer)
    viewer.canvas.size = (100, 100)
    viewer.scene.camera.zoom = 4.0
    viewer.scene.camera.center = (0, *level0_to_world((100, 100), (0.5, 0.5)))
    controller.choose_where("view")
    controller.run()
    jobs.let_run()
    region = predict.calls[0]["region"]
    assert isinstance(region, Region)
    assert (region.y, region.x, region.height, region.width) == pytest.approx((75, 75, 50, 50))


def test_a_view_beside_the_slide_is_not_run(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs
) -> None:
    open_slide(viewer)
    viewer.scene.camera.center = (0, 1e5, 1e5)
    controller.choose_where("view")
    controller.run()
    assert not jobs.held
    assert "shows nothing of case.svs" in controller.state.message


def test_shapes_must_be_selected_and_are_what_is_run(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs, predict: FakePredict
) -> None:
    open_slide(viewer)
    controller.choose_where("shapes")
    assert "Select one or more" in (controller.state.blocked or "")
    corners = [level0_to_world(point, (0.5, 0.5)) for point in ((10, 20), (10, 60), (50, 60), (50, 20))]
    shapes = viewer.add_shapes([np.array(corners)], units=("um", "um"))
    shapes.selected_data = {0}
    assert controller.state.blocked is None
    controller.run()
    jobs.let_run()
    assert predict.calls[0]["region"].bounds == pytest.approx((20, 10, 60, 50))


def test_a_line_is_no_region(controller: RunModelController, viewer: ViewerModel, jobs: StepJobs) -> None:
    open_slide(viewer)
    shapes = viewer.add_shapes([np.array([(0, 0), (9, 9)])], shape_type="line", units=("um", "um"))
    shapes.selected_data = {0}
    controller.choose_where("shapes")
    assert controller.state.blocked is not None
    controller.run()
    assert not jobs.held


def test_closing_stops_the_jobs_and_lets_go_of_the_viewer(
    controller: RunModelController, viewer: ViewerModel, jobs: StepJobs
) -> None:
    controller.close()
    assert jobs.closed
    open_slide(viewer)
    assert controller.state.slides == ()


def test_a_model_with_a_damaged_card_is_told_and_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good, bad = tmp_path / "known", tmp_path / "bad"
    for folder in (good, bad):
        folder.mkdir()
    (good / "card.json").write_text(model_of(Darkness()).card.model_dump_json())
    (bad / "card.json").write_text("{}")
    monkeypatch.setattr("napari_lumen.models.available", lambda **_: {"known": good, "bad": bad})
    found = look_up()
    (model,) = found.models
    assert (model.path, model.title, model.summary) == (good, "Known", "Answers by a rule.")
    assert "Not for: Nothing." in model.details
    assert found.devices[0][0] == "auto"
    (problem,) = found.problems
    assert str(bad) in problem


def test_the_real_engine_runs_from_the_panel(viewer: ViewerModel, jobs: StepJobs, tmp_path: Path) -> None:
    """The controller and `predict` agree on their contract; the result lies on what is dark."""
    image = np.full((256, 256, 3), 255, np.uint8)
    image[64:128, 96:160] = 0
    slide = ArraySlide(image)
    slide.path = Path("case.svs")
    layer = Layer.create(*slide_layer(slide))
    viewer.layers.append(layer)
    model = model_of(Darkness(), attention=("attention",))

    def run(slide: Any, path: Path, **keywords: Any) -> Any:
        return predict_for_real(slide, model, **keywords)

    controller = RunModelController(viewer, jobs, run, lambda: CATALOGUE, out=tmp_path / "run")
    controller.choose_device("cpu")
    viewer.scene.camera.center = (0, *level0_to_world((128, 128), (0.5, 0.5)))
    viewer.scene.camera.zoom = 2.0
    controller.choose_where("view")
    controller.run()
    jobs.let_run()
    labels = viewer.layers[-1]
    assert controller.state.message.startswith("Done"), controller.state.message
    found = np.asarray(labels.data[0])[:256, :256] > 0
    np.testing.assert_array_equal(found, image[..., 0] == 0)
    top_left = labels.world_to_data(layer.data_to_world((64, 96)))
    np.testing.assert_allclose(top_left, (64, 96), atol=1e-9)


def growing_run(tmp_path: Path, jobs: StepJobs, viewer: ViewerModel, on_progress: Any) -> RunModelController:
    """A run of the real engine over a dark slide, whose every step a test looks at as the GUI would."""
    slide = ArraySlide(np.zeros((1500, 1500, 3), np.uint8))
    slide.path = Path("case.svs")
    viewer.layers.append(Layer.create(*slide_layer(slide)))
    model = model_of(Darkness(), size=128, overlap=32, attention=("attention",))

    def run(slide: Any, path: Path, **keywords: Any) -> Any:
        told = keywords.pop("on_progress")

        def step(progress: Any) -> None:
            told(progress)
            on_progress(progress)

        return predict_for_real(slide, model, **keywords, on_progress=step)

    controller = RunModelController(viewer, jobs, run, lambda: CATALOGUE, out=tmp_path / "run")
    controller.choose_device("cpu")
    controller.choose_where("view")
    viewer.scene.camera.center = (0, 375, 375)
    viewer.scene.camera.zoom = 0.5  # all of it
    return controller


def test_what_has_grown_of_one_slide_stays_when_another_is_run(viewer: ViewerModel, tmp_path: Path) -> None:
    overlay = RunOverlay(viewer, lambda counts: None)

    def grow(name: str) -> list[Any]:
        slide = ArraySlide(np.zeros((600, 600, 3), np.uint8))
        slide.path = Path(name)
        layer = Layer.create(*slide_layer(slide))
        layer.metadata["napari_lumen"]["fingerprint"] = name
        viewer.layers.append(layer)
        record = write_run(tmp_path / name, slide, Window(8, 8, 8, 8)).record
        facts = {"run": "", "model": record.model, "slide": name, "fingerprint": name}

        def levels(raster: Any) -> list[Any]:
            dtype = np.uint8 if raster.kind == "labels" else np.float32
            return [np.ones((side, side), dtype) for side in (600, 300)]

        results = Results(record.rasters, record.classes, record.mpp, facts, levels)
        begun = overlay.begin()
        begun(SimpleNamespace(changed=list), result_layers(results, name))  # type: ignore[arg-type]
        before = set(viewer.layers)
        overlay.refresh(layer, Region(0, 0, 600, 600))
        overlay.stop()
        return [item for item in viewer.layers if item not in before]

    first, second = grow("one.svs"), grow("two.svs")
    assert first
    assert all(item in viewer.layers for item in (*first, *second))
    again = grow("one.svs")
    assert not any(item in viewer.layers for item in first)
    assert all(item in viewer.layers for item in (*second, *again))


def test_the_overlay_grows_where_the_user_looks_and_becomes_the_result(
    viewer: ViewerModel, jobs: StepJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_lumen.plugin import growing

    monkeypatch.setattr(growing, "_BETWEEN", 0.0)
    seen: list[tuple[float, float]] = []
    refreshed: list[str] = []
    drawn: list[float] = []

    def look(progress: Any) -> None:
        labels = viewer.layers[-1]
        if progress.stage == "running the model" and labels.name.endswith("dark"):
            drawn.append(float((labels._slice.image.raw > 0).mean()))
            if len(seen) == 20:
                viewer.scene.camera.center = (0, 600, 600)  # the lower right
                viewer.scene.camera.zoom = 4.0
                labels.events.connect(lambda event: refreshed.append(event.type))
            part = np.asarray(labels.data[-1])
            half = part.shape[0] // 2
            seen.append((float(part[:half, :half].mean()), float(part[half:, half:].mean())))

    controller = growing_run(tmp_path, jobs, viewer, look)
    controller.run()
    jobs.let_run()
    assert controller.state.message.startswith("Done"), controller.state.message
    whole = [upper + lower for upper, lower in seen]
    assert whole == sorted(whole)
    assert any(0 < value < 1.0 for value in whole)
    assert "set_data" in refreshed
    assert 0 < drawn[12] < drawn[19]  # also at the coarsest level, all in view
    labels = viewer.layers[-1]
    assert np.asarray(labels.data[0])[:1500, :1500].all()
    assert labels.metadata["napari_lumen"]["run"] == str(tmp_path / "run")
    attention = next(
        layer for layer in viewer.layers if layer.metadata["napari_lumen"].get("kind") == "attention"
    )
    assert tuple(attention.contrast_limits) != (0.0, 1.0)


def test_a_cancelled_run_keeps_what_has_grown_and_the_next_goes_on(
    viewer: ViewerModel, jobs: StepJobs, tmp_path: Path
) -> None:
    steps: list[int] = []

    def look(progress: Any) -> None:
        if progress.stage == "running the model":
            steps.append(progress.done)
            if progress.done > 150 and len(steps) < 1000:
                controller.cancel()
                steps.extend([0] * 1000)

    controller = growing_run(tmp_path, jobs, viewer, look)
    controller.run()
    jobs.let_run()
    assert controller.state.message == "Cancelled. What is finished is kept: Run goes on from there."
    unfinished = [layer for layer in viewer.layers if layer.name.endswith("(unfinished)")]
    assert unfinished
    steps.clear()
    steps.extend([0] * 1000)
    controller.run()
    jobs.let_run()
    assert controller.state.message.startswith("Done"), controller.state.message
    assert not any(layer in viewer.layers for layer in unfinished)
    assert np.asarray(viewer.layers[-1].data[0])[:1500, :1500].all()
    assert steps[1000] > 0  # it did not begin anew


def test_tiles_that_could_not_be_read_are_hatched_on_the_slide(
    viewer: ViewerModel, jobs: StepJobs, tmp_path: Path
) -> None:
    slide = ArraySlide(np.zeros((600, 600, 3), np.uint8), broken=Window(310, 310, 4, 4))
    slide.path = Path("case.svs")
    with pytest.warns(UserWarning, match="shown hatched"):
        viewer.layers.append(Layer.create(*slide_layer(slide)))
    model = model_of(Darkness(), size=128, overlap=32)

    def run(slide: Any, path: Path, **keywords: Any) -> Any:
        return predict_for_real(slide, model, **keywords)

    controller = RunModelController(viewer, jobs, run, lambda: CATALOGUE, out=tmp_path / "run")
    controller.choose_device("cpu")
    viewer.scene.camera.center = (0, 150, 150)
    viewer.scene.camera.zoom = 1.0
    controller.choose_where("view")
    controller.run()
    jobs.let_run()
    (hatched,) = [layer for layer in viewer.layers if layer.name.endswith("unread tiles")]
    world = np.array([hatched.data_to_world(point) for line in hatched.data for point in line])
    failed = controller_run(tmp_path).record.failed_tiles
    assert world.min(axis=0) == pytest.approx((min(t.y for t in failed) / 2 - 0.25,) * 2)
    assert world.max(axis=0) == pytest.approx((max(t.y + t.height for t in failed) / 2 - 0.25,) * 2)
    assert viewer.layers[-1].name == "case · dark"


def controller_run(tmp_path: Path) -> Any:
    from napari_lumen.inference import Run

    return Run.open(tmp_path / "run")
