"""The Annotations panel without its widgets: classes, undo, files, and who drew what."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer, Shapes
from shapely import Point, box

from napari_lumen.annotations.class_files import write_classes
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import read_annotations, write_annotations
from napari_lumen.annotations.shapes import Annotation, Source
from napari_lumen.plugin import annotation_reader
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_reader import annotation_layers
from napari_lumen.plugin.annotation_shapes import annotations_of
from napari_lumen.plugin.controllers.annotations import AnnotationsController
from plugin_fakes import StepJobs

FRAME = Frame((0.25, 0.5), (0.0, 0.0), ("um", "um"), "abc", (400, 600), "slide")
RED, BLUE = (255, 0, 0), (0, 0, 255)
FOUND = [
    Annotation(box(0, 0, 10, 10), "tumour", RED),
    Annotation(box(20, 20, 40, 30), "stroma", BLUE),
    Annotation(Point(50, 50).buffer(5), "tumour", RED),
]


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def opened(viewer: ViewerModel) -> tuple[AnnotationsController, StepJobs, Any]:
    jobs = StepJobs(first_at_once=False)
    controller = AnnotationsController(viewer, jobs, author="Ada")
    for data in annotation_layers(FOUND, FRAME, "demo"):
        viewer.add_layer(Layer.create(*data))
    return controller, jobs, viewer.layers[-1]


def names(layer: Layer) -> list[str | None]:
    return [item.class_name for item in annotations_of(layer.as_layer_data_tuple())]


def test_the_classes_of_the_layer_are_shown_with_their_counts_and_keys(viewer: ViewerModel) -> None:
    controller, _, _ = opened(viewer)
    assert [(row.name, row.color, row.key, row.count) for row in controller.state.rows] == [
        ("tumour", RED, 1, 2),
        ("stroma", BLUE, 2, 1),
    ]
    assert (controller.state.layer, controller.state.undo) == ("demo", None)


def test_edits_of_classes_reach_every_annotation_and_are_undone(viewer: ViewerModel) -> None:
    controller, _, layer = opened(viewer)
    controller.rename("tumour", "carcinoma")
    controller.recolour("carcinoma", (0, 255, 0))
    assert names(layer) == ["carcinoma", "stroma", "carcinoma"]
    assert layer.edge_color[0].tolist() == [0, 1, 0, 1]
    controller.merge("carcinoma", "stroma")
    assert names(layer) == ["stroma"] * 3
    assert controller.state.undo == "Merge carcinoma"
    for _ in range(3):
        controller.undo()
    assert names(layer) == ["tumour", "stroma", "tumour"]
    assert layer.edge_color[0].tolist() == [1, 0, 0, 1]
    controller.redo()
    assert names(layer) == ["carcinoma", "stroma", "carcinoma"]


def test_a_class_in_use_is_kept_and_the_user_is_told(viewer: ViewerModel, told: list[Any]) -> None:
    controller, _, layer = opened(viewer)
    controller.remove_class("tumour")
    controller.rename("tumour", "stroma")
    assert names(layer) == ["tumour", "stroma", "tumour"]
    assert "in use" in told[0].message
    assert "already" in told[1].message
    controller.add_class("ink")
    controller.remove_class("ink")
    assert [row.name for row in controller.state.rows] == ["tumour", "stroma"]


def test_what_is_drawn_is_of_the_chosen_class_and_says_who_drew_it_and_when(viewer: ViewerModel) -> None:
    controller, _, layer = opened(viewer)
    controller.choose_class("stroma")
    layer.add_polygons(np.array([(100, 100), (100, 120), (120, 120)]))
    (drawn,) = annotations_of(layer.as_layer_data_tuple())[3:]
    assert (drawn.class_name, drawn.color, drawn.author, drawn.source) == ("stroma", BLUE, "Ada", Source())
    assert drawn.time is not None
    assert drawn.time.tzinfo is not None
    assert layer.edge_color[-1].tolist() == [0, 0, 1, 1]
    assert [item.author for item in annotations_of(layer.as_layer_data_tuple())[:3]] == [None] * 3
    assert controller.state.rows[1].count == 2


def test_drawing_and_deleting_are_undone_and_done_again(viewer: ViewerModel) -> None:
    controller, _, layer = opened(viewer)
    before = annotations_of(layer.as_layer_data_tuple())
    layer.add_rectangles(np.array([(100, 100), (120, 140)]))
    layer.selected_data = {0}
    layer.remove_selected()
    assert (len(layer.data), controller.state.undo) == (3, "Delete")
    after = annotations_of(layer.as_layer_data_tuple())
    controller.undo()
    controller.undo()
    assert annotations_of(layer.as_layer_data_tuple()) == before
    controller.redo()
    controller.redo()
    assert annotations_of(layer.as_layer_data_tuple()) == after


def test_a_number_key_reclassifies_what_is_selected(viewer: ViewerModel) -> None:
    controller, _, layer = opened(viewer)
    layer.selected_data = {0, 2}
    pressed = {str(key): act for key, act in layer.keymap.items()}["2"]
    pressed(layer)
    assert names(layer) == ["stroma"] * 3
    assert controller.state.chosen == "stroma"
    controller.undo()
    assert names(layer) == ["tumour", "stroma", "tumour"]


def test_what_was_drawn_last_keeps_its_class_when_the_next_is_chosen(viewer: ViewerModel) -> None:
    controller, _, layer = opened(viewer)
    controller.choose_class("tumour")
    layer.mode = "add_rectangle"
    layer.add_rectangles(np.array([(100, 100), (120, 140)]))
    layer.selected_data = {3}  # as napari leaves it
    controller.choose_class("stroma")
    layer.add_rectangles(np.array([(200, 100), (220, 140)]))
    assert names(layer)[3:] == ["tumour", "stroma"]


@pytest.mark.parametrize("step", ["undo", "merge", "rename", "recolour"])
def test_what_is_drawn_after_a_change_is_of_the_chosen_class_and_of_today(
    viewer: ViewerModel, step: str
) -> None:
    controller, _, layer = opened(viewer)
    controller.choose_class("stroma")
    if step == "undo":
        layer.add_rectangles(np.array([(100, 100), (120, 140)]))
        controller.undo()
    elif step == "merge":
        controller.merge("tumour", "stroma")
    elif step == "rename":
        controller.rename("stroma", "connective")
    else:
        controller.recolour("tumour", (1, 2, 3))
    layer.add_rectangles(np.array([(200, 100), (220, 140)]))
    *before, drawn = annotations_of(layer.as_layer_data_tuple())
    assert len(before) == 3
    assert drawn.class_name == ("connective" if step == "rename" else "stroma")
    assert (drawn.author, drawn.name, drawn.source) == ("Ada", None, Source())
    assert drawn.time is not None
    assert drawn.time.date() == datetime.now(UTC).date()
    assert sum(row.count for row in controller.state.rows) == 4


def test_a_point_that_is_selected_is_undone_and_done_again(viewer: ViewerModel, told: list[Any]) -> None:
    controller = AnnotationsController(viewer, StepJobs(first_at_once=False), author="Ada")
    for data in annotation_layers([Annotation(Point(5, 5), "tumour", RED)], FRAME, "dots"):
        viewer.add_layer(Layer.create(*data))
    layer = viewer.layers["dots"]
    controller.choose_class("tumour")
    layer.mode = "add"
    layer.add(np.array([[20.0, 20.0]]))
    layer.selected_data = {1}  # as napari leaves it
    controller.undo()
    assert (len(layer.data), controller.state.undo, controller.state.redo) == (1, None, "Draw")
    controller.redo()
    assert names(layer) == ["tumour", "tumour"]
    assert not told


def test_a_chosen_class_that_is_merged_is_drawn_as_what_it_has_become(viewer: ViewerModel) -> None:
    controller, _, layer = opened(viewer)
    controller.choose_class("stroma")
    controller.merge("stroma", "tumour")
    assert controller.state.chosen == "tumour"
    layer.add_rectangles(np.array([(200, 100), (220, 140)]))
    assert names(layer)[-1] == "tumour"


def test_outlines_and_points_of_one_file_are_written_together(viewer: ViewerModel, tmp_path: Path) -> None:
    jobs = StepJobs(first_at_once=False)
    controller = AnnotationsController(viewer, jobs, author="Ada")
    mixed = [*FOUND, Annotation(Point(5, 5), "tumour", RED)]
    for name in ("one", "other"):
        for data in annotation_layers(mixed, FRAME, name):
            viewer.add_layer(Layer.create(*data))
    for name in ("one", "one · points"):
        viewer.layers.selection.active = viewer.layers[name]
        controller.save_file(tmp_path / f"{name}.geojson")
        jobs.let_run()
        assert len(read_annotations(tmp_path / f"{name}.geojson")) == 4


def test_a_hidden_class_is_clear_and_still_there(viewer: ViewerModel) -> None:
    controller, _, layer = opened(viewer)
    controller.show_class("tumour", False)
    assert layer.edge_color[:, 3].tolist() == [0, 1, 0]
    assert names(layer) == ["tumour", "stroma", "tumour"]
    controller.show_class("tumour", True)
    assert layer.edge_color[:, 3].tolist() == [1, 1, 1]


def test_files_are_read_and_written_away_from_the_window(viewer: ViewerModel, tmp_path: Path) -> None:
    controller, jobs, _ = opened(viewer)
    write_annotations(tmp_path / "more.geojson", FOUND[:2])
    controller.open_file(tmp_path / "more.geojson")
    assert controller.state.busy == "Reading more.geojson …"
    jobs.let_run()
    assert (controller.state.layer, controller.state.busy) == ("more", "")
    controller.save_file(tmp_path / "out.geojson")
    jobs.let_run()
    assert len(read_annotations(tmp_path / "out.geojson")) == 2


def test_a_failed_import_changes_nothing(viewer: ViewerModel, tmp_path: Path, told: list[Any]) -> None:
    controller, jobs, _ = opened(viewer)
    before = controller.state
    (tmp_path / "half.geojson").write_text('{"type": "FeatureColl')
    controller.open_file(tmp_path / "half.geojson")
    jobs.let_run()
    assert controller.state == before
    assert len(viewer.layers) == 1
    assert "cut off" in told[0].message


def test_classes_come_from_a_file_and_go_to_one(viewer: ViewerModel, tmp_path: Path) -> None:
    controller, jobs, _ = opened(viewer)
    given = ClassTable.of([(1, "tumour", (1, 2, 3)), (2, "ink", (4, 5, 6))]).ignoring("ink")
    write_classes(tmp_path / "classes.csv", given)
    controller.open_classes(tmp_path / "classes.csv")
    jobs.let_run()
    assert [(row.name, row.color, row.ignore) for row in controller.state.rows] == [
        ("tumour", (1, 2, 3), False),
        ("stroma", BLUE, False),
        ("ink", (4, 5, 6), True),
    ]
    controller.save_classes(tmp_path / "out.json")
    jobs.let_run()
    assert "ink" in (tmp_path / "out.json").read_text()


def test_a_pyramid_of_many_is_edited_by_class_and_undone(
    viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotation_reader, "MOST_SHAPES", 2)
    controller, _, layer = opened(viewer)
    assert not controller.state.editable
    controller.merge("tumour", "stroma")
    assert [(row.name, row.count) for row in controller.state.rows] == [("stroma", 3)]
    assert layer.colormap.color_dict[1].tolist() == [0, 0, 1, 1]
    controller.undo()
    assert [row.count for row in controller.state.rows] == [2, 1]
    controller.show_class("tumour", False)
    assert layer.colormap.color_dict[1].tolist() == [0, 0, 0, 0]


def test_of_a_pyramid_what_is_in_view_is_outlined_and_goes_with_it(
    viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotation_reader, "MOST_SHAPES", 2)
    controller, _, pyramid = opened(viewer)
    viewer.canvas.size = (100, 100)
    viewer.scene.camera.zoom = 20  # 5 µm across: 20 px down, 10 px to the right
    viewer.scene.camera.center = (0, 1, 2)
    controller.look()
    outlines = viewer.layers["demo · in view"]
    assert [one.min(axis=0).tolist() for one in outlines.data] == [[-0.5, -0.5]]
    assert outlines.edge_color.tolist() == [[1, 0, 0, 1]]
    assert (viewer.layers.selection.active, outlines.editable) == (pyramid, False)
    assert outlines.scale.tolist() == [0.25, 0.5]
    viewer.scene.camera.center = (0, 6, 15)
    controller.look()
    assert outlines.edge_color.tolist() == [[0, 0, 1, 1]]
    viewer.layers.remove(pyramid)
    controller.look()
    assert not len(viewer.layers)


def test_a_new_layer_is_empty_in_the_classes_of_the_present_one_and_can_be_drawn_on(
    viewer: ViewerModel,
) -> None:
    controller, _, _ = opened(viewer)
    controller.new_layer()
    layer = viewer.layers[-1]
    assert isinstance(layer, Shapes)
    assert [(row.name, row.count) for row in controller.state.rows] == [("tumour", 0), ("stroma", 0)]
    controller.choose_class("tumour")
    layer.add_ellipses(np.array([(0, 0), (0, 10), (20, 10), (20, 0)]))
    (drawn,) = annotations_of(layer.as_layer_data_tuple())
    assert (drawn.kind, drawn.class_name, drawn.author) == ("ellipse", "tumour", "Ada")
    controller.undo()
    assert len(layer.data) == 0


def test_closing_lets_go_of_the_viewer_and_its_layers(viewer: ViewerModel) -> None:
    controller, jobs, layer = opened(viewer)
    controller.close()
    state = controller.state
    layer.add_rectangles(np.array([(100, 100), (120, 140)]))
    viewer.layers.clear()
    assert controller.state == state
    assert jobs.closed
