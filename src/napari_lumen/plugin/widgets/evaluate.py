"""The Evaluate form: shows an `EvaluateState` and says what the user wants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.evaluate_state import EvaluateState

_WHERE = (("run", "All that was run"), ("view", "Current view"))
_FILES = (
    "Annotations (*.geojson *.json *.xml *.geojson.gz *.json.gz *.xml.gz);;"
    "Label images (*.png *.tif *.tiff *.npy)"
)
_STEPS = 1000


class EvaluateForm(QWidget):
    """Slide, run, truth, where, and the buttons.

    Parameters
    ----------
    names : QWidget
        Stands under the truth.
    """

    slide_chosen = Signal(str)
    run_chosen = Signal(object)  # Scored
    truth_chosen = Signal(str)
    file_chosen = Signal(Path)
    where_chosen = Signal(str)
    objects_set = Signal(bool)
    evaluate_clicked = Signal()
    cancel_clicked = Signal()
    save_clicked = Signal(Path)

    def __init__(self, names: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.names = names
        self.slide = choice_box("The slide. It is chosen by itself when one is open.")
        self.run = choice_box("What is scored: what a model found, or that with what people have corrected.")
        self.truth = choice_box(
            "What is true: outlines on the slide, or a file. Outlines named Region* say where everything was "
            "annotated: nothing else counts then. Ignore* does not count."
        )
        self.file = QPushButton("File …")
        self.file.setToolTip("Take annotations or a label image from a file.")
        self.where = choice_box("What part of the slide counts. Where nothing is outlined is background.")
        self.objects = QCheckBox("Score objects, too")
        self.objects.setToolTip("Also how many connected areas were found: panoptic quality.")
        self.evaluate = QPushButton("Evaluate")
        self.cancel = QPushButton("Cancel")
        self.save = QPushButton("Save report …")
        self.save.setToolTip("One page (HTML) and tables (CSV), the same as napari-lumen evaluate writes.")
        self.bar = QProgressBar()
        self.status = TextLabel()
        self._lay_out()
        self._connect()

    def show_state(self, state: EvaluateState) -> None:
        """Show a state; emits nothing."""
        idle = not state.busy
        fill(self.slide, [(name, name) for name in state.slides], state.slide, "No slide is open")
        fill(self.run, [(item.title, item) for item in state.runs], state.run, "No run is shown")
        fill(self.truth, [(title, key) for key, title in state.truths], state.truth, "Nothing is outlined")
        fill(self.where, [(text, value) for value, text in _WHERE], state.where, "")
        with QSignalBlocker(self.objects):
            self.objects.setChecked(state.objects)
        for control in (self.slide, self.run, self.truth, self.file, self.where, self.objects):
            control.setEnabled(idle)
        self.evaluate.setEnabled(idle and state.blocked is None)
        self.evaluate.setToolTip(state.blocked or "Compare the run with the truth")
        self.cancel.setEnabled(not idle and not state.cancelling)
        self.save.setEnabled(idle and state.result is not None)
        self.bar.setVisible(not idle)
        self.bar.setRange(0, 0 if state.done is None else _STEPS)
        self.bar.setValue(round((state.done or 0) * _STEPS))
        said = "Cancelling …" if state.cancelling else state.busy or state.message or state.blocked or ""
        self.status.setText(said)
        self.status.setVisible(bool(said))

    def _lay_out(self) -> None:
        truth = QHBoxLayout()
        truth.setContentsMargins(0, 0, 0, 0)
        truth.addWidget(self.truth, 1)
        truth.addWidget(self.file)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.addRow("Slide", self.slide)
        form.addRow("Run", self.run)
        form.addRow("Truth", truth)
        form.addRow(self.names)
        form.addRow("Where", self.where)
        form.addRow(self.objects)
        buttons = QHBoxLayout()
        buttons.addWidget(self.evaluate, 2)
        buttons.addWidget(self.cancel, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.save)

    def _connect(self) -> None:
        self.slide.activated.connect(self._on_slide)
        self.run.activated.connect(self._on_run)
        self.truth.activated.connect(self._on_truth)
        self.file.clicked.connect(self._on_file)
        self.where.activated.connect(self._on_where)
        self.objects.toggled.connect(self._on_objects)
        self.evaluate.clicked.connect(self._on_evaluate)
        self.cancel.clicked.connect(self._on_cancel)
        self.save.clicked.connect(self._on_save)

    def _on_slide(self, index: int) -> None:
        if self.slide.itemData(index) is not None:
            self.slide_chosen.emit(self.slide.itemData(index))

    def _on_run(self, index: int) -> None:
        if self.run.itemData(index) is not None:
            self.run_chosen.emit(self.run.itemData(index))

    def _on_truth(self, index: int) -> None:
        if self.truth.itemData(index) is not None:
            self.truth_chosen.emit(self.truth.itemData(index))

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Truth", "", _FILES)
        if path:
            self.file_chosen.emit(Path(path))

    def _on_where(self, index: int) -> None:
        self.where_chosen.emit(self.where.itemData(index))

    def _on_objects(self, on: bool) -> None:
        self.objects_set.emit(on)

    def _on_evaluate(self) -> None:
        self.evaluate_clicked.emit()

    def _on_cancel(self) -> None:
        self.cancel_clicked.emit()

    def _on_save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the report")
        if folder:
            self.save_clicked.emit(Path(folder))
