"""Annotations in a real window, docked as napari docks them: keys, and keeping in a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shapely import Point, box

from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.plugin.annotation_shapes import CLASS, annotations_of
from napari_lumen.project import Project
from test_project import project, square

__all__ = ["project"]  # a fixture

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.slow
def test_keys_choose_classes_and_all_of_a_set_is_kept(
    make_napari_viewer_proxy: Any, qtbot: Any, project: Project, tmp_path: Path
) -> None:
    from qtpy.QtCore import Qt

    file = tmp_path / "mixed.geojson"
    found = [
        Annotation(square(100).geometry, "tumour", RED),
        Annotation(square(140).geometry, "stroma", BLUE),
        Annotation(Point(30, 30), "tumour", RED),
    ]
    write_annotations(file, found)
    viewer = make_napari_viewer_proxy(show=True)
    _, board = viewer.window.add_plugin_dock_widget("napari-lumen", "Project")
    board.controller.open(project.folder)
    qtbot.waitUntil(lambda: board.form.table.rowCount() == 1, timeout=30_000)
    board.controller.open_slide("case")
    qtbot.waitUntil(lambda: "case.tif" in viewer.layers, timeout=30_000)
    _, panel = viewer.window.add_plugin_dock_widget("napari-lumen", "Annotations")
    viewer.open(file, plugin="napari-lumen")
    viewer.layers.selection.active = viewer.layers["mixed"]
    canvas = viewer.__wrapped__.window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, Qt.Key.Key_2)
    qtbot.waitUntil(lambda: panel.controller.state.chosen == "stroma", timeout=30_000)
    qtbot.keyClick(canvas, Qt.Key.Key_R)  # napari's own keys work, too
    qtbot.waitUntil(lambda: str(viewer.layers["mixed"].mode) == "add_rectangle", timeout=30_000)
    qtbot.waitUntil(lambda: board.form.keep.isEnabled(), timeout=30_000)
    assert board.controller.state.drawn == "mixed, mixed · points"
    board.controller.name_author("Ann")
    board.form.keep.click()
    qtbot.waitUntil(lambda: "3 annotations of Ann kept" in board.controller.state.message, timeout=30_000)
    kept = Project(project.folder).annotations("case", "Ann")
    assert sorted(item.class_name or "" for item in kept) == ["stroma", "tumour", "tumour"]
    assert list(viewer.layers["mixed"].features[CLASS]) == ["tumour", "stroma"]
    panel.controller.close()
    board.controller.close()


@pytest.mark.slow
def test_what_is_drawn_after_a_drawing_was_given_up_is_of_the_chosen_class(
    make_napari_viewer_proxy: Any, qtbot: Any, tmp_path: Path
) -> None:
    from qtpy.QtCore import QPoint, Qt

    file = tmp_path / "case.geojson"
    write_annotations(
        file,
        [Annotation(box(0, 0, 400, 400), "tumour", RED), Annotation(box(5, 5, 9, 9), "stroma", BLUE)],
    )
    viewer = make_napari_viewer_proxy(show=True)
    _, panel = viewer.window.add_plugin_dock_widget("napari-lumen", "Annotations")
    viewer.open(file, plugin="napari-lumen")
    viewer.reset_view()
    canvas = viewer.__wrapped__.window._qt_viewer.canvas.native
    layer = viewer.layers["case"]
    left = Qt.MouseButton.LeftButton

    def polygon(down: int, *, finished: bool) -> None:
        layer.mode = "add_polygon"
        corners = [QPoint(200, down), QPoint(300, down), QPoint(300, down + 40)]
        for corner in corners if finished else corners[:2]:
            qtbot.mouseMove(canvas, corner)
            qtbot.mouseClick(canvas, left, pos=corner)
        if finished:
            qtbot.mouseDClick(canvas, left, pos=corners[-1])
        qtbot.keyClick(canvas, Qt.Key.Key_Escape)

    for number, (key, finished) in enumerate([("1", True), ("1", False), ("1", False), ("2", True)]):
        qtbot.keyClick(canvas, getattr(Qt.Key, f"Key_{key}"))
        polygon(100 + 60 * number, finished=finished)
    names = [item.class_name for item in annotations_of(layer.as_layer_data_tuple())]
    assert names == ["tumour", "stroma", "tumour", "stroma"]
    assert {row.name: row.count for row in panel.controller.state.rows} == {"tumour": 2, "stroma": 2}
    for left_over in (3, 2):
        panel.controller.undo()
        assert len(annotations_of(layer.as_layer_data_tuple())) == left_over
    panel.controller.close()
