"""The rules of the Project panel: the cohort, opening a slide with all of it, and keeping drawings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_lumen.corrections.author import this_user
from napari_lumen.geometry import level0_to_world
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_shapes import shape_layers
from napari_lumen.plugin.controllers.project import ProjectController
from napari_lumen.plugin.placing import facts_of, is_slide
from napari_lumen.plugin.slide_layers import slide_layer
from napari_lumen.project import Project
from napari_lumen.slides import open_slide
from plugin_fakes import NUCLEUS
from test_plugin_correct import AtOnce
from test_project import project, run_on, square, write_tiff

__all__ = ["project"]  # a fixture


class Bench:
    def __init__(self, project: Project) -> None:
        self.project = project
        self.viewer = ViewerModel()
        self.controller = ProjectController(self.viewer, AtOnce())
        self.controller.open(project.folder)

    @property
    def state(self) -> Any:
        return self.controller.state

    def slide(self) -> Layer:
        return next(layer for layer in self.viewer.layers if is_slide(layer))

    def draw(self, left: float, name: str = "mine") -> None:
        for data in shape_layers([square(left)], Frame.of(self.slide()), name, NUCLEUS):
            self.viewer.add_layer(Layer.create(*data))


@pytest.fixture
def bench(project: Project) -> Bench:
    return Bench(project)


def test_a_double_click_opens_the_slide_with_its_run_and_each_persons_drawing_apart(
    project: Project, tmp_path: Path
) -> None:
    project.add_run(run_on(project, tmp_path / "run"))
    project.save_annotations("case", [square(100)], "Ann")
    project.save_annotations("case", [square(120)], "Bob")
    bench = Bench(project)
    (standing,) = bench.state.standings
    assert (standing.authors, standing.runs, standing.state) == (("Ann", "Bob"), 1, "here")
    bench.controller.open_slide("case")
    names = [layer.name for layer in bench.viewer.layers]
    assert names[0] == "case.tif"
    assert names[-2:] == ["case · Ann", "case · Bob"]
    assert [facts_of(layer).get("kind") for layer in bench.viewer.layers].count("labels") == 1
    assert all(facts_of(x)["fingerprint"] == standing.entry.fingerprint for x in bench.viewer.layers)
    count = len(bench.viewer.layers)
    bench.controller.open_slide("case")
    assert len(bench.viewer.layers) == count
    assert "open already" in bench.state.message


def test_what_is_drawn_is_kept_under_its_authors_name(bench: Bench) -> None:
    assert not bench.state.drawn
    bench.controller.open_slide("case")
    bench.draw(100)
    assert bench.state.drawn == "mine"
    bench.controller.name_author("Cleo")
    bench.controller.keep_drawn()
    assert bench.state.standings[0].authors == ("Cleo",)
    (kept,) = Project(bench.project.folder).annotations("case", "Cleo")
    assert kept.geometry.equals(square(100).geometry)
    assert kept.class_name == "nucleus"


def test_another_persons_layer_is_kept_as_that_persons(project: Project) -> None:
    project.save_annotations("case", [square(100)], "Ann")
    bench = Bench(project)
    bench.controller.open_slide("case")
    bench.controller.name_author("Bob")
    bench.viewer.layers.selection.active = bench.viewer.layers["case · Ann"]
    bench.controller.keep_drawn()
    assert bench.state.standings[0].authors == ("Ann",)


def test_what_a_person_drew_before_and_is_not_shown_is_kept_too(bench: Bench) -> None:
    bench.controller.open_slide("case")
    bench.controller.name_author("Ann")
    bench.project.save_annotations("case", [square(100)], "Ann")  # from elsewhere, since
    bench.draw(140)
    bench.controller.keep_drawn()
    assert "1 annotation of Ann kept on case, and 1 of before" in bench.state.message
    assert len(Project(bench.project.folder).annotations("case", "Ann")) == 2
    bench.draw(180, "more")
    bench.controller.keep_drawn()
    assert len(Project(bench.project.folder).annotations("case", "Ann")) == 3
    assert [layer.name for layer in bench.viewer.layers[1:]] == ["mine", "case · Ann", "more"]


def test_what_this_user_draws_as_somebody_else_is_that_persons(bench: Bench) -> None:
    bench.controller.open_slide("case")
    bench.controller.name_author("Ann")
    drawn = replace(square(100), author=this_user())
    for data in shape_layers([drawn], Frame.of(bench.slide()), "mine", NUCLEUS):
        bench.viewer.add_layer(Layer.create(*data))
    bench.controller.keep_drawn()
    assert Project(bench.project.folder).annotations("case", "Ann")[0].author == "Ann"


def test_the_open_slide_is_added_with_its_runs(tmp_path: Path) -> None:
    bench = Bench(Project.create(tmp_path / "study"))
    assert not bench.state.can_add
    bench.viewer.add_layer(Layer.create(*slide_layer(open_slide(write_tiff(tmp_path / "case.tif")))))
    assert bench.state.can_add
    bench.controller.add_open()
    bench.controller.add_open()  # nothing is added twice
    assert [item.entry.name for item in bench.state.standings] == ["case"]


def test_where_two_people_differ_is_shown_over_the_open_slide(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "study")
    project.add_slide(write_tiff(tmp_path / "case.tif", mpp=0.5))
    project.save_annotations("case", [square(100)], "Ann")
    project.save_annotations("case", [square(120)], "Bob")
    bench = Bench(project)
    bench.controller.compare("Ann", "Bob")
    assert bench.state.differences is None
    assert "Open case" in bench.state.message
    bench.controller.open_slide("case")
    for _ in range(2):  # a second map takes the place of the first
        bench.controller.compare("Ann", "Bob")
    (layer,) = [x for x in bench.viewer.layers if facts_of(x).get("kind") == "differences"]
    assert layer.name == "case · differences"
    assert layer.features["class"].tolist() == ["alike", "only Ann", "only Bob", "different classes"]
    assert np.asarray(layer.data)[0, [0, 19, 20, 39, 40, 59]].tolist() == [1, 1, 0, 0, 2, 2]
    assert layer.data_to_world((0, 0)) == pytest.approx(level0_to_world((100.5, 100.5), (0.5, 0.5)))
    bench.viewer.canvas.size = (800, 800)
    bench.controller.differences.go_to(0)
    assert bench.viewer.scene.camera.center[-2:] == pytest.approx((60, 65), abs=10)  # µm


def test_two_people_are_compared_in_the_window(project: Project) -> None:
    project.save_annotations("case", [square(100)], "Ann")
    project.save_annotations("case", [square(120)], "Bob")
    bench = Bench(project)
    bench.controller.compare("Ann", "Bob")
    assert bench.state.compared == ("case", "Ann", "Bob")
    assert bench.state.agreement.dice == {"nucleus": 0.5}


def test_a_run_is_scored_in_the_window_and_the_table_shows_it(project: Project, tmp_path: Path) -> None:
    project.add_run(run_on(project, tmp_path / "run"))
    project.save_annotations("case", [square(120)], "Ann")
    bench = Bench(project)
    bench.controller.score("Ann")
    assert bench.state.standings[0].score.dice["nucleus"] == 0.5


def test_a_replaced_slide_is_told_and_never_opened(bench: Bench, tmp_path: Path) -> None:
    write_tiff(tmp_path / "slides" / "case.tif", value=90)
    bench.controller.open_slide("case")
    assert "another slide" in bench.state.message
    assert len(bench.viewer.layers) == 0
    bench.controller.look_again()
    assert bench.state.standings[0].state == "replaced"


def test_a_moved_slide_is_found_again_from_the_window(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "slides" / "case.tif").rename(tmp_path / "elsewhere" / "other.tif")
    bench.controller.look_again()
    assert bench.state.standings[0].state == "missing"
    bench.controller.open_slide("case")
    assert "is not at" in bench.state.message
    bench.controller.find_moved(tmp_path / "elsewhere")
    assert bench.state.standings[0].state == "here"
    bench.controller.open_slide("case")
    assert bench.slide().name == "other.tif"


def test_what_is_no_project_is_one_sentence_and_the_open_one_stays(bench: Bench, tmp_path: Path) -> None:
    bench.controller.open(tmp_path / "slides")
    assert "is no project" in bench.state.message
    assert bench.state.folder == bench.project.folder


def test_the_classes_of_a_project_come_from_a_file_and_colour_what_is_kept(
    bench: Bench, tmp_path: Path
) -> None:
    table = tmp_path / "classes.csv"
    table.write_text("name,color\nnucleus,#010203\nmitosis,#ff0000\n")
    bench.controller.take_classes(table)
    assert bench.state.classes == ("nucleus", "mitosis")
    assert "nucleus, mitosis" in bench.state.message
    project = Project(bench.project.folder)
    project.save_annotations("case", [square(100)], "Ann")
    assert project.annotations("case", "Ann")[0].color == (1, 2, 3)
    table.write_text("nothing")
    bench.controller.take_classes(table)
    assert bench.state.classes == ("nucleus", "mitosis")
    assert str(table) in bench.state.message
