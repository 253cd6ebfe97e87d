"""A project as training data: what is drawn and corrected on its slides, by one table of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from shapely import box

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.corrections import CorrectionStore, Subject
from napari_lumen.errors import AnnotationError, RunError
from napari_lumen.geometry import Grid
from napari_lumen.plugin.controllers.train import TrainController
from napari_lumen.project import Project
from napari_lumen.training import TrainingConfig, train
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.data.project_images import ProjectImages, ProjectRules
from napari_lumen.training.finding import find_source
from plugin_fakes import StepJobs
from test_plugin_train import CATALOGUE, SMALL
from test_project import square, write_tiff

TABLE = ClassTable.of([(3, "gland", (255, 0, 0)), (7, "nucleus", (0, 0, 255))])
RULES = ProjectRules(unlabelled="background", size=64)


def add_slide(project: Project, folder: Path, name: str, value: int) -> str:
    return project.add_slide(write_tiff(folder / f"{name}.tif", value, mpp=0.5), patient=f"of {name}").name


def correct(project: Project, name: str, folder: Path, *, of: str = "nucleus", y: float = 200.0) -> None:
    """Correct a window of 32 px: its upper half is of a class, whose value is another than the project's."""
    entry = project.slide(name)
    classes = ClassTable.named(["stroma", of] if of != "fold" else [of])
    subject = Subject(str(project.place(entry.path)), entry.fingerprint, (0.5, 0.5), classes)
    after = np.zeros((32, 32), np.uint8)
    after[:16] = classes[of].value
    CorrectionStore(folder, subject).commit(
        Grid((32, 32), (1.0, 1.0), (y, 200.0)), np.zeros((32, 32), np.uint8), after, "Ann"
    )
    project.add_corrections(folder)


@pytest.fixture
def study(tmp_path: Path) -> Project:
    """Two slides: one with drawings of two people, one with corrections."""
    project = Project.create(tmp_path / "study", classes=ClassTable(classes=(*TABLE, *_stroma())))
    add_slide(project, tmp_path, "one", 200)
    add_slide(project, tmp_path, "two", 90)
    project.save_annotations("one", [square(100), square(200, of="gland")], "Ann")
    project.save_annotations("one", [square(0)], "Bob")
    correct(project, "two", tmp_path / "two.corrections")
    return project


def _stroma() -> Any:
    return ClassTable.of([(9, "stroma", (0, 255, 0))])


def pixels(images: ProjectImages) -> dict[int, int]:
    """Return how many pixels each value has."""
    found = np.concatenate([images.labels(index).ravel() for index in range(len(images.items))])
    values, counts = np.unique(found, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_drawings_and_corrections_have_the_values_of_the_projects_table(study: Project) -> None:
    with ProjectImages(
        study.folder, ProjectRules(("annotations", "corrections"), "Ann", "background")
    ) as found:
        assert found.authors == ("Ann", "Bob")
        assert len({item.slide for item in found.items}) == 2
        assert {item.patient for item in found.items} == {"of one", "of two"}
        assert {found.classes[value].name for value in (3, 7, 9)} == {"gland", "nucleus", "stroma"}
        counted = pixels(found)
        assert (counted[3], counted[7]) == (40 * 40, 40 * 40 + 32 * 16)
        for index, item in enumerate(found.items):
            value = 200 if item.patient == "of one" else 90
            assert np.abs(found.image(index)[:32, :32].astype(int) - value).max() <= 2
            assert found.mpp(index) == 0.5
    with ProjectImages(study.folder, ProjectRules(("annotations",), "Bob", "background")) as found:
        assert pixels(found) == {0: 256 * 256 - 40 * 40, 7: 40 * 40}


def test_without_an_author_what_was_saved_last_counts(study: Project) -> None:
    with ProjectImages(study.folder, ProjectRules(("annotations",))) as found:
        assert pixels(found)[7] == 40 * 40
        assert 3 not in pixels(found)
    with pytest.raises(RunError, match=r"Cleo has drawn nothing in the project .*; Ann, Bob has"):
        ProjectImages(study.folder, ProjectRules(author="Cleo"))


def test_a_class_that_the_table_lacks_is_named_and_a_project_without_a_table_has_all(
    study: Project, tmp_path: Path
) -> None:
    correct(study, "one", tmp_path / "one.corrections", of="fold")
    with pytest.raises(RunError, match="class 'fold', which is not in the project's table; there is gland"):
        ProjectImages(study.folder, RULES)
    ignoring = ProjectRules(ignored=("fold",))
    with ProjectImages(study.folder, ignoring) as found:
        assert pixels(found)[IGNORE] >= 32 * 16
    study.set_classes(ClassTable(classes=()))
    with ProjectImages(study.folder, ignoring) as found:
        assert {item.name for item in found.classes} == {"nucleus", "stroma"}
    study.set_classes(ClassTable.named(["gland"]))
    with pytest.raises(AnnotationError, match="'nucleus'"), ProjectImages(study.folder, RULES) as found:
        found.labels(0)


def test_pixels_are_read_from_where_the_project_says_the_slide_is(study: Project, tmp_path: Path) -> None:
    (tmp_path / "two.tif").rename(tmp_path / "moved.tif")
    study.find_moved()
    with ProjectImages(study.folder, ProjectRules(("corrections",))) as found:
        assert np.abs(found.image(0).astype(int) - 90).max() <= 2
    write_tiff(tmp_path / "moved.tif", 30, mpp=0.5)
    with pytest.raises(RunError, match="another slide than two of the project"):
        ProjectImages(study.folder, ProjectRules(("corrections",)))


def test_what_is_no_project_or_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no project"):
        ProjectImages(tmp_path)
    project = Project.create(tmp_path / "study")
    with pytest.raises(RunError, match="Nothing is drawn or corrected"):
        ProjectImages(project.folder)
    record = project.folder / "project.json"
    record.write_text(record.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(RunError, match="newer version"):
        ProjectImages(project.folder)


def test_a_file_trains_on_a_project_and_divides_it_by_its_slides(study: Project, tmp_path: Path) -> None:
    study.save_annotations("two", [square(100)], "Bob")
    file = tmp_path / "training.toml"
    file.write_text(
        """name = "of-a-study"
[recipe]
name = "focusnetpp"
architecture = "unet"
arguments = { width = 4, classes = 1 }
framing = "resize"
size = 32
epochs = 1
batch = 2
rates = [[0, 0.01]]
[data]
kind = "project"
folder = "study"
unlabelled = "background"
size = 64
groups = { tissue = ["nucleus", "gland"] }
[split]
proportions = { train = 0.5, validation = 0.5 }
[settings]
device = "cpu"
"""
    )
    config = TrainingConfig.read(file)
    assert config.split.by == "slide"
    images = config.data.open()
    split = config.split.divide(images)
    sides = [{images.items[i].slide for i in split.indices(images.items, part)} for part in split.parts]
    assert sides[0].isdisjoint(sides[1])
    trained = train(config, tmp_path / "out")
    assert (trained.model / "card.json").is_file()
    assert find_source(study.folder) == {"kind": "project", "folder": str(study.folder)}
    image = TrainingConfig.read(file, ["split.by=image"])
    assert image.split.by == "image"


def test_the_train_panel_learns_from_a_project(study: Project) -> None:
    jobs = StepJobs()
    controller = TrainController(ViewerModel(), jobs, lambda: CATALOGUE)
    controller.choose_data("project")
    assert controller.state.blocked == "Choose the folder of a project."
    controller.choose_folder(study.folder)
    jobs.let_run()
    found = controller.state.found
    assert found is not None, controller.state.data_problem
    assert (found.split["by"], found.split["within"], found.authors) == ("patient", False, ("Ann", "Bob"))
    assert found.names == ("gland", "nucleus", "stroma")
    controller.choose_author("Ann")
    jobs.let_run()
    assert controller.state.found is not None
    amounts = {x.name: x.amount for part in controller.state.found.contents.parts for x in part.classes}
    assert amounts["gland"] > 0
    assert controller.state.found.source["author"] == "Ann"
    for name, value in SMALL.items():
        controller.set_number(name, value)
    assert controller.state.blocked is None
    controller.close()


def test_windows_of_one_slide_that_overlap_stay_on_one_side(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "study")
    add_slide(project, tmp_path, "one", 200)
    project.save_annotations(
        "one", [square(0), square(200), Annotation(box(0, 280, 20, 300), "nucleus")], "Ann"
    )
    correct(project, "one", tmp_path / "one.corrections", y=100.0)
    jobs = StepJobs()
    controller = TrainController(ViewerModel(), jobs, lambda: CATALOGUE)
    controller.choose_data("project")
    controller.choose_folder(project.folder)
    jobs.let_run()
    found = controller.state.found
    assert found is not None, controller.state.data_problem
    assert (found.split["by"], found.split["within"]) == ("image", True)
    assert ["one, row 0, column 0", "one, corrected 0001"] in [list(pair) for pair in found.split["together"]]
    assert "from one slide" in found.note
    controller.close()
