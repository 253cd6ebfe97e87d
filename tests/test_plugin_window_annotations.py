"""Annotations in a real window, docked as napari docks them: keys, and keeping in a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shapely import Point

from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.plugin.annotation_shapes import CLASS
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
    qtbot.waitUntil(lambda: panel.controller.state.chosen == "stroma", timeout=5_000)
    qtbot.keyClick(canvas, Qt.Key.Key_R)  # napari's own keys work, too
    qtbot.waitUntil(lambda: str(viewer.layers["mixed"].mode) == "add_rectangle", timeout=5_000)
    qtbot.waitUntil(lambda: board.form.keep.isEnabled(), timeout=5_000)
    assert board.controller.state.drawn == "mixed, mixed · points"
    board.controller.name_author("Ann")
    board.form.keep.click()
    qtbot.waitUntil(lambda: "3 annotations of Ann kept" in board.controller.state.message, timeout=30_000)
    kept = Project(project.folder).annotations("case", "Ann")
    assert sorted(item.class_name or "" for item in kept) == ["stroma", "tumour", "tumour"]
    assert list(viewer.layers["mixed"].features[CLASS]) == ["tumour", "stroma"]
    panel.controller.close()
    board.controller.close()
