"""The Evaluate and the Project panel in a real window: threads, tables, clicks, from one to the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_lumen.inference.run import ClassCount, Run
from napari_lumen.project import Project
from test_project import project, run_on, square

__all__ = ["project"]  # a fixture


def test_a_slide_of_a_project_is_opened_evaluated_and_its_worst_place_gone_to(
    make_napari_viewer: Any, qtbot: Any, project: Project, tmp_path: Path
) -> None:
    from napari_lumen.plugin.evaluate_panel import EvaluatePanel
    from napari_lumen.plugin.project_panel import ProjectPanel

    project.add_run(run_on(project, tmp_path / "run"))
    project.save_annotations("case", [square(120), square(220, 20)], "Ann")
    viewer = make_napari_viewer(show=True)
    panel, evaluation = ProjectPanel(viewer), EvaluatePanel(viewer)
    for dock in (panel, evaluation):
        viewer.window.add_dock_widget(dock)
    panel.controller.open(project.folder)
    table = panel.form.table
    qtbot.waitUntil(lambda: table.rowCount() == 1, timeout=30_000)
    cells = [table.item(0, column).text() for column in range(table.columnCount())]
    assert cells == ["case", "1", "–", "Ann", "–", "p1"]
    table.itemDoubleClicked.emit(table.item(0, 0))
    qtbot.waitUntil(lambda: "case · Ann" in viewer.layers, timeout=30_000)
    form = evaluation.form
    assert form.truth.currentText() == "case · Ann"
    assert form.evaluate.isEnabled()
    form.evaluate.click()
    assert form.cancel.isEnabled()
    qtbot.waitUntil(lambda: "case · errors" in viewer.layers, timeout=60_000)
    cells = [evaluation.tables.classes.item(0, column).text() for column in range(4)]
    assert cells == ["0.444", "0.286", "0.500", "0.400"]  # of 1,600 px 800 are right, of 2,000 these
    assert evaluation.tables.confusion.rowCount() == 3
    assert evaluation.places.areas[1].text() == "300 µm²"  # a pixel is 0.5 µm a side
    assert evaluation.places.list.count() >= 1
    viewer.reset_view()
    before = viewer.scene.camera.zoom
    evaluation.places.list.itemClicked.emit(evaluation.places.list.item(0))
    assert viewer.scene.camera.zoom != pytest.approx(before)
    form.save_clicked.emit(tmp_path / "report")
    qtbot.waitUntil(lambda: (tmp_path / "report" / "report.html").is_file(), timeout=30_000)
    qtbot.waitUntil(lambda: not evaluation.controller.state.busy, timeout=30_000)
    assert "report.html" in form.status.text()
    panel.controller.close()
    evaluation.controller.close()


def test_the_legend_shows_the_counts_of_a_corrected_run(qtbot: Any, project: Project, tmp_path: Path) -> None:
    from qtpy.QtWidgets import QLabel

    from napari_lumen.plugin.widgets.legend import Legend

    legend = Legend()
    qtbot.addWidget(legend)
    record = Run.open(run_on(project, tmp_path / "run")).record

    def texts() -> list[str]:
        labels = legend.findChildren(QLabel)
        return [label.text() for label in labels if not label.parent().isHidden()]

    legend.show_run(record, (), "case")
    assert "1,234" in texts()
    legend.show_counts((ClassCount(name="nucleus", objects=1230, area_mm2=0.26), *record.counts[1:]))
    qtbot.waitUntil(lambda: "1,234" not in texts(), timeout=5_000)
    assert {"1,230", "0.26 mm²", "Class, corrected"} <= set(texts())
    legend.show_counts(record.counts)  # taken back
    qtbot.waitUntil(lambda: "1,230" not in texts(), timeout=5_000)
    assert "Class" in texts()
    assert "Class, corrected" not in texts()
