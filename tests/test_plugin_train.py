"""The rules of the Train panel, without a window and without threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from PIL import Image
from shapely.geometry import Point, box

from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.classified import Classified
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.corrections.index import CorrectionIndex
from napari_lumen.errors import RunError
from napari_lumen.models import available, load_model, read_card
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_layers import annotations_on, class_names
from napari_lumen.plugin.annotation_pyramid import pyramid_layer
from napari_lumen.plugin.controllers.annotations_in_view import AnnotationsInView
from napari_lumen.plugin.controllers.train import TrainController
from napari_lumen.plugin.live_training import LiveTraining, Watch
from napari_lumen.plugin.recipe_fields import changed, read, recipe_choice, written
from napari_lumen.plugin.slide_layers import slide_layer
from napari_lumen.plugin.training_work import (
    StartChoice,
    TrainingCatalogue,
    look_up_training,
    trainings_folder,
    unfinished,
)
from napari_lumen.training import TrainingConfig, TrainingProgress, train
from napari_lumen.training.data.annotated import AnnotatedSlide, AnnotationRules
from napari_lumen.training.data.annotation_windows import write_windows
from napari_lumen.training.data.item import IGNORE, Item
from napari_lumen.training.finding import find_source
from napari_lumen.training.further import recipe_for
from napari_lumen.training.recipes import RECIPES, make_recipe
from plugin_fakes import StepJobs
from training_pictures import write_config, write_discs

SMALL = {
    "architecture": "unet", "arguments": {"width": 4, "classes": 1}, "framing": "resize", "size": 32,
    "epochs": 3, "batch": 2, "rates": [[0, 0.01]],
}  # fmt: skip
CATALOGUE = TrainingCatalogue(
    tuple(recipe_choice(RECIPES[name]) for name in ("focusnetpp", "gated_attention")),
    (),
    frozenset({"taken"}),
    (("auto", "Automatic (CPU)"), ("cpu", "CPU")),
)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def jobs() -> StepJobs:
    return StepJobs()


@pytest.fixture
def controller(viewer: ViewerModel, jobs: StepJobs) -> Any:
    made = TrainController(viewer, jobs, lambda: CATALOGUE)
    yield made
    made.close()


def on_discs(controller: TrainController, jobs: StepJobs, folder: Path, **numbers: Any) -> None:
    """Choose a tiny training on discs."""
    controller.choose_data("folder")
    controller.choose_folder(write_discs(folder))
    jobs.let_run()
    for name, value in {**SMALL, **numbers}.items():
        controller.set_number(name, value)
    controller.choose_device("cpu")
    controller.choose_name("discs")


def open_slide(viewer: ViewerModel, side: int = 300) -> Layer:
    """Show a slide with dark squares of 40 px, a hundred px apart, and return its layer."""
    pixels = np.full((side, side, 3), 230, np.uint8)
    for y in range(0, side, 100):
        for x in range(0, side, 100):
            pixels[y + 10 : y + 50, x + 10 : x + 50] = (90, 40, 130)
    slide = ArraySlide(pixels, mpp=(0.5, 0.5))
    slide.path = Path("case.svs")
    layer = Layer.create(*slide_layer(slide))
    viewer.layers.append(layer)
    return layer


def square(y: float, x: float, side: float, mpp: float = 0.5) -> np.ndarray:
    """Return a square of level-0 pixels in µm, as napari has it: the middle of the first pixel is at 0."""
    corners = np.array([(y, x), (y, x + side), (y + side, x + side), (y + side, x)], float)
    return (corners - 0.5) * mpp


def test_without_a_slide_or_data_the_panel_says_what_to_do(
    controller: TrainController, jobs: StepJobs
) -> None:
    assert "Open a slide first" in (controller.state.blocked or "")
    controller.choose_data("folder")
    assert "Choose a folder" in (controller.state.blocked or "")
    controller.start()
    assert not controller.state.busy


def test_what_is_drawn_on_a_slide_is_counted_by_class(
    controller: TrainController, viewer: ViewerModel, jobs: StepJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = open_slide(viewer)
    assert "Nothing is drawn" in (controller.state.blocked or "")
    viewer.add_shapes([square(10, 10, 40), square(110, 110, 40)], name="gland", units=("um", "um"))
    lines = viewer.add_shapes([square(10, 10, 9)[:2]], shape_type="line", name="ruler", units=("um", "um"))
    found = annotations_on(viewer, layer)
    assert class_names(found) == ["gland"]
    assert [item.geometry.bounds for item in found] == [(10, 10, 50, 50), (110, 110, 150, 150)]
    lines.visible = False
    controller.look()
    jobs.let_run()
    assert "divided" in (controller.state.blocked or "")  # one window of 256 px cannot be
    request = controller._sources.request(controller.state)
    assert request is not None
    assert (request.mpp, request.size, request.names) == (0.5, 256, ("gland",))


def test_a_column_of_features_says_the_class_of_each_shape(viewer: ViewerModel) -> None:
    layer = open_slide(viewer)
    shapes = [square(10, 10, 40), square(110, 110, 40), square(0, 0, 300)]
    features = {"class": ["gland", "tumour", "Region*"]}
    viewer.add_shapes(shapes, name="mine", features=features, units=("um", "um"))
    found = annotations_on(viewer, layer)
    assert [item.class_name for item in found] == ["gland", "tumour", "Region*"]
    assert class_names(found) == ["gland", "tumour"]


def test_a_layer_that_names_no_class_gives_its_name_and_one_that_does_its_colours(
    viewer: ViewerModel,
) -> None:
    layer = open_slide(viewer)
    shapes = [square(10, 10, 40), square(110, 110, 40)]
    unit = {"units": ("um", "um")}
    viewer.add_shapes(shapes, name="gland", features={"class": ["", ""]}, **unit)
    table = ClassTable.of([(3, "tumour", (1, 2, 3))])
    facts = {
        "kind": "annotations",
        "fingerprint": layer.metadata["napari_lumen"]["fingerprint"],
        "table": table,
    }
    features = {"class": ["tumour", ""]}
    viewer.add_shapes(shapes, name="file", features=features, metadata={"napari_lumen": facts}, **unit)
    found = [(item.class_name, item.color) for item in annotations_on(viewer, layer)]
    assert found == [("gland", None), ("gland", None), ("tumour", (1, 2, 3)), (None, None)]


def test_a_pyramid_of_annotations_is_learned_from_whole_and_the_outlines_in_view_not_twice(
    viewer: ViewerModel,
) -> None:
    layer = open_slide(viewer)
    shapes = [Annotation(box(at, 10, at + 5, 15), "gland") for at in range(0, 200, 10)]
    lone = Annotation(Point(3, 3), "gland")
    data, keywords, _ = pyramid_layer(Classified.of([*shapes, lone]), Frame.of(layer), "file")
    viewer.add_labels(data, **keywords)
    in_view = AnnotationsInView(viewer)
    in_view.show(viewer.layers[-1])
    assert len(viewer.layers) == 3
    assert [item.geometry for item in annotations_on(viewer, layer)] == [item.geometry for item in shapes]


def annotated(slide: ArraySlide, elsewhere: Any) -> AnnotatedSlide:
    shapes = [Annotation(box(x + 10, y + 10, x + 50, y + 50), "gland") for y in (0, 100) for x in (0, 100)]
    rules = AnnotationRules(ClassTable.named(["gland"]), unlabelled=elsewhere)
    return AnnotatedSlide(Item("case"), slide, shapes, rules)


def test_annotations_become_windows_that_share_no_pixel(viewer: ViewerModel, tmp_path: Path) -> None:
    slide = open_slide(viewer).metadata["napari_lumen"]["slide"]
    index = write_windows(annotated(slide, "background"), tmp_path / "w", mpp=0.5, size=32)
    boxes = [box(one.x, one.y, one.x + one.width, one.y + one.height) for one in index.windows]
    assert all(one.intersection(other).area == 0 for one in boxes for other in boxes if one is not other)
    shapes = [item.geometry for item in annotated(slide, "ignore").annotations]
    assert sum(one.intersection(shape).area for one in boxes for shape in shapes) == 4 * 40 * 40
    assert all(one.width == one.height == 32 for one in index.windows)
    source = find_source(tmp_path / "w")
    assert source["kind"] == "corrections"
    assert CorrectionIndex.read(tmp_path / "w").classes == ClassTable.named(["gland"])
    pixels = [np.asarray(Image.open(tmp_path / "w" / one.labels)) for one in index.windows]
    assert sum(int((one == 1).sum()) for one in pixels) == 4 * 40 * 40
    unknown = write_windows(annotated(slide, "ignore"), tmp_path / "u", mpp=0.5, size=32, most=3)
    assert len(unknown.windows) == 3
    assert not (np.asarray(Image.open(tmp_path / "u" / unknown.windows[0].labels)) == 0).any()
    assert (np.asarray(Image.open(tmp_path / "u" / unknown.windows[0].labels)) == IGNORE).any()


def test_a_slide_without_annotations_gives_no_windows(viewer: ViewerModel, tmp_path: Path) -> None:
    slide = open_slide(viewer).metadata["napari_lumen"]["slide"]
    nothing = AnnotatedSlide(Item("case"), slide, (), AnnotationRules(ClassTable.named(["gland"])))
    with pytest.raises(RunError, match="Nothing is annotated on case"):
        write_windows(nothing, tmp_path / "w", mpp=0.5, size=32)


def test_a_folder_is_known_by_what_is_in_it(tmp_path: Path, shared_data: Path) -> None:
    assert find_source(write_discs(tmp_path / "discs")) == {
        "kind": "images",
        "folder": str(tmp_path / "discs"),
        "classes": ["object"],
    }
    numbers = np.kron(np.arange(1, 13, dtype=np.uint8).reshape(3, 4), np.pad(np.ones((8, 8), np.uint8), 2))
    for name, labels in (
        ("numbers", numbers),
        ("classes", np.where(numbers, numbers % 9, 0).astype(np.uint8)),
    ):
        folder = write_discs(tmp_path / name, 3)
        for path in (folder / "labels").iterdir():
            Image.fromarray(labels).save(path)
    assert find_source(tmp_path / "numbers")["objects"] is True
    assert len(find_source(tmp_path / "classes")["classes"]) == 8
    for name in ("benign", "malignant"):
        (tmp_path / "grades" / name).mkdir(parents=True)
        (tmp_path / "grades" / name / "a.png").touch()
    assert find_source(tmp_path / "grades")["kind"] == "graded"
    kinds = {"nuclei_dsb2018": "dsb2018", "nuclei_consep": "consep", "glands_glas_grades": "glas"}
    assert {name: find_source(shared_data / name)["kind"] for name in kinds} == kinds
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match=r"no data to train on|There is no folder"):
            find_source(folder)


@pytest.mark.parametrize("name", ["focusnetpp", "darefinenet", "gated_attention", "nas_scam", "multistage"])
def test_a_form_of_a_recipe_shows_its_own_numbers_and_reads_them_back(name: str) -> None:
    recipe = recipe_choice(RECIPES[name])
    assert {field.name for field in recipe.fields} == set(RECIPES[name].model_fields)
    assert "epochs" in {field.name.removeprefix("patch_") for field in recipe.fields if field.basic}
    basic = [field.basic for field in recipe.fields]
    assert basic == sorted(basic, reverse=True)
    for field in recipe.fields:
        if field.kind == "text":
            assert read(written(field.default)) == field.default
    assert changed(recipe.fields, {field.name: field.default for field in recipe.fields}) == {}
    described = [field for field in recipe.fields if RECIPES[name].model_fields[field.name].description]
    assert all(field.tip for field in described)


def test_a_wrong_number_is_named_before_anything_starts(
    controller: TrainController, jobs: StepJobs, tmp_path: Path
) -> None:
    on_discs(controller, jobs, tmp_path / "discs")
    assert controller.state.blocked is None
    controller.set_number("rates", "fast")
    assert "field 'rates'" in (controller.state.blocked or "")
    controller.set_number("rates", [[0, 0.01]])
    controller.choose_name("taken")
    assert "taken already" in (controller.state.blocked or "")
    controller.choose_name("Two words")
    assert "small letters" in (controller.state.blocked or "")


def test_a_model_is_trained_further_by_the_recipe_that_it_fits(
    controller: TrainController, jobs: StepJobs, tmp_path: Path
) -> None:
    shipped = read_card(available()["nuclei-focusnetpp-light"])
    name, numbers = recipe_for(shipped) or ("", {})
    assert make_recipe(name, **numbers).model_dump()["mpp"] == shipped.mpp
    starts = {item.title: item for item in look_up_training().starts}
    assert starts[shipped.title].numbers == numbers
    trained = train(write_config(write_discs(tmp_path / "data").parent), tmp_path / "out")
    card = load_model(trained.model).card
    assert recipe_for(card) == ("focusnetpp", numbers_of(card))
    other = card.model_copy(update={"architecture": "deeplabv3plus", "training": shipped.training})
    assert recipe_for(other) is None


def numbers_of(card: Any) -> dict[str, Any]:
    """Return the numbers of a card that are not the recipe's own."""
    own = RECIPES["focusnetpp"]().model_dump(mode="json")
    return {name: value for name, value in card.training.recipe.items() if name in own and value != own[name]}


def test_the_estimate_is_of_what_is_chosen(
    controller: TrainController, jobs: StepJobs, tmp_path: Path
) -> None:
    on_discs(controller, jobs, tmp_path / "discs")
    controller.estimate()
    assert controller.state.stage == "estimating"
    jobs.let_run()
    assert controller.state.estimate is not None
    assert controller.state.estimate.steps == 3 * 4  # of 9 images, in steps of two
    assert not trainings_folder().exists()
    controller.set_number("epochs", 5)
    assert controller.state.estimate is None


def test_a_finished_training_gives_a_model_beside_the_old_one(
    controller: TrainController, jobs: StepJobs, tmp_path: Path
) -> None:
    made: list[Path] = []
    states = []
    controller.model_made.connect(made.append)
    controller.changed.connect(states.append)
    on_discs(controller, jobs, tmp_path / "discs")
    controller.start()
    assert controller.state.stage == "training"
    assert "discs" not in available()
    jobs.let_run()
    assert made == [available()["discs"]]
    assert controller.state.message.startswith("discs is in the Run model panel now.")
    live = [state.live for state in states if state.live is not None]
    assert len(live[-1].scores["dice"][0]) == 3
    assert len(live[-1].losses["loss"][0]) >= 3
    assert [sample.image.shape for sample in live[-1].samples] == [(32, 32, 3)] * 3
    assert live[-1].memory > 0
    assert (controller.state.name, controller.state.blocked) == ("discs-2", None)
    controller.choose_name("discs")
    assert "discs already" in (controller.state.blocked or "")
    # further, from that one
    card = read_card(available()["discs"])
    start = StartChoice(
        available()["discs"], card.title, "focusnetpp", controller.state.numbers, ("object",), 0.5, 32
    )
    controller._update(starts=(start,))
    before = (start.path / "weights.safetensors").read_bytes()
    controller.choose_start(start.path)
    controller.choose_name("discs-2")
    while jobs.held:
        jobs.let_run()
    assert controller.state.blocked is None, controller.state.blocked
    controller.start()
    jobs.let_run()
    assert {"discs", "discs-2"} <= available().keys()
    assert "On the same held-out images" in controller.state.result
    first, second = (read_card(available()[name]).scores for name in ("discs", "discs-2"))
    assert second["dice, validation, of discs"] == pytest.approx(first["dice, validation"])
    assert f"dice: {first['dice, validation']:.3f} before" in controller.state.result
    assert (start.path / "weights.safetensors").read_bytes() == before


def test_a_model_of_other_classes_is_not_begun_with(
    controller: TrainController, jobs: StepJobs, tmp_path: Path
) -> None:
    on_discs(controller, jobs, tmp_path / "discs")
    two = StartChoice(Path("two"), "Two", "focusnetpp", {}, ("gland", "tumour"), 0.5, 32)
    controller._update(starts=(two,))
    controller.choose_start(two.path)
    assert "Two knows gland, tumour; the data have object" in (controller.state.blocked or "")


def stopping(controller: TrainController, how: Any) -> None:
    """Do something at the first step of a training."""

    def on_state(state: Any) -> None:
        if state.live is not None and state.stage == "training":
            how()

    controller.changed.connect(on_state)


def test_a_cancelled_training_leaves_everything_as_it_was(
    controller: TrainController, jobs: StepJobs, tmp_path: Path
) -> None:
    on_discs(controller, jobs, tmp_path / "discs")
    stopping(controller, controller.cancel)
    controller.start()
    jobs.let_run()
    assert controller.state.message == "Cancelled. Nothing was kept."
    assert list(trainings_folder().iterdir()) == []
    assert "discs" not in available()
    assert controller.state.blocked is None


def test_a_paused_training_goes_on_to_the_end_also_in_another_session(
    controller: TrainController, jobs: StepJobs, viewer: ViewerModel, tmp_path: Path
) -> None:
    on_discs(controller, jobs, tmp_path / "discs")
    stopping(controller, controller.pause)
    controller.start()
    jobs.let_run()
    assert controller.state.unfinished == ("discs",)
    assert "discs" not in available()
    assert "discs already" in (controller.state.blocked or "")
    later_jobs = StepJobs(first_at_once=False)
    later = TrainController(viewer, later_jobs, look_up_training)
    later_jobs.let_run()
    assert later.state.unfinished == ("discs",)
    while later_jobs.held:
        later_jobs.let_run()
    later.go_on("discs")
    later_jobs.let_run()
    assert "discs" in available()
    assert unfinished() == later.state.unfinished == ()
    assert later.state.live is not None
    assert len(later.state.live.losses["loss"][0]) >= 3  # those before the pause as well
    later.close()


def test_a_training_that_is_paused_before_its_first_step_goes_on_too(
    controller: TrainController, jobs: StepJobs, tmp_path: Path
) -> None:
    on_discs(controller, jobs, tmp_path / "discs")
    controller.start()
    controller.pause()
    jobs.let_run()
    assert controller.state.message == "Paused before its first step. It is kept, and can go on."
    assert controller.state.unfinished == ("discs",)
    controller.go_on("discs")
    jobs.let_run()
    assert "discs" in available()
    assert unfinished() == ()


def test_a_paused_training_can_be_thrown_away(
    controller: TrainController, jobs: StepJobs, tmp_path: Path
) -> None:
    on_discs(controller, jobs, tmp_path / "discs")
    stopping(controller, controller.pause)
    controller.start()
    jobs.let_run()
    controller.discard("discs")
    assert controller.state.unfinished == ()
    assert list(trainings_folder().iterdir()) == []


def test_a_failed_training_is_told_in_one_sentence_and_can_be_begun_again(
    controller: TrainController, jobs: StepJobs, tmp_path: Path, told: list[Any]
) -> None:
    folder = tmp_path / "discs"
    on_discs(controller, jobs, folder)
    for sub in ("images", "labels"):
        for name in ("50", "51", "52", "53"):  # the same picture, on both sides of any split
            (folder / sub / f"{name}.png").write_bytes((folder / sub / "03.png").read_bytes())
    controller.start()
    jobs.let_run()
    assert "show the same field" in controller.state.message
    assert [note.message for note in told] == [controller.state.message]
    assert list(trainings_folder().iterdir()) == []
    assert controller.state.unfinished == ()


def test_corrections_that_overlap_stay_on_one_side(
    controller: TrainController, viewer: ViewerModel, jobs: StepJobs, tmp_path: Path
) -> None:
    slide = open_slide(viewer).metadata["napari_lumen"]["slide"]
    index = write_windows(annotated(slide, "background"), tmp_path / "w", mpp=0.5, size=32)
    twice = index.windows[0].model_copy(update={"name": "again", "y": index.windows[0].y + 5})
    CorrectionIndex(classes=index.classes, windows=(*index.windows, twice)).write(tmp_path / "w")
    controller.choose_data("corrections")
    assert "Nothing is corrected" in (controller.state.blocked or "")
    controller.choose_folder(tmp_path / "w")
    jobs.let_run()
    found = controller.state.found
    assert found is not None
    assert (index.windows[0].name, "again") in found.split["together"]
    assert found.split["within"]
    assert found.note.startswith("All of it is from one slide")
    assert sum(part.images for part in found.contents.parts) == len(index.windows) + 1


def event(kind: Any, epoch: int, step: int, **values: float) -> TrainingProgress:
    return TrainingProgress(kind, "training", epoch, 3, step, 4, values)


def test_curves_count_steps_over_epochs_and_begin_where_a_session_ended() -> None:
    watch = Watch()
    for epoch in range(2):
        for step in (1, 2, 4):  # one was not told
            watch.note(event("step", epoch, step, loss=1.0), 0)
        live = watch.note(event("validated", epoch, 4, dice=0.5), 7)
    assert live.losses["loss"][0] == [1, 2, 4, 5, 6, 8]
    assert live.scores["dice"][0] == [4, 8]
    assert isinstance(live, LiveTraining)
    import pandas as pd

    rows = [("training", 0, step, "loss", "loss", 1.0) for step in range(1, 5)]
    rows += [("training", 0, 4, "score", "dice", 0.5), ("training", 1, 1, "loss", "loss", 1.0)]
    before = pd.DataFrame(rows, columns=["phase", "epoch", "step", "kind", "name", "value"])
    again = Watch(before).note(event("step", 1, 2, loss=0.5), 0)
    assert again.losses["loss"][0] == [1, 2, 3, 4, 5, 6]
    assert again.scores["dice"] == ([4], [0.5])


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    watch = Watch()
    for step in range(1, 9001):
        live = watch.note(TrainingProgress("step", "training", 0, 1, step, 9000, {"loss": float(step)}), 0)
    steps, values = live.losses["loss"]
    assert len(steps) <= 2000
    assert (steps[-1], values[-1]) == (9000, 9000.0)


def test_a_configuration_of_the_panel_is_one_of_the_command_line(
    controller: TrainController, jobs: StepJobs, tmp_path: Path
) -> None:
    on_discs(controller, jobs, tmp_path / "discs")
    stopping(controller, controller.pause)
    controller.start()
    jobs.let_run()
    config = TrainingConfig.model_validate_json((trainings_folder() / "discs" / "config.json").read_bytes())
    assert config.make_recipe().model_dump()["epochs"] == 3
    assert config.settings.samples == 3
