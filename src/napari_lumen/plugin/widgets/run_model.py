"""The Run model form: shows a `RunState` and says what the user chose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_lumen.plugin.widgets.controls import PIXEL_SIZE, TextLabel, choice_box, fill, pixel_size_box
from napari_lumen.plugin.wording import amount_done, time_left

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.run_state import RunState

_WHERE = (("tissue", "Whole tissue"), ("view", "Current view"), ("shapes", "Selected shapes"))


class RunModelForm(QWidget):
    """Slide, model, where, device, Run and Cancel, and how far it is."""

    slide_chosen = Signal(str)
    model_chosen = Signal(Path)
    where_chosen = Signal(str)
    device_chosen = Signal(str)
    pixel_size_given = Signal(object)  # float or None
    run_clicked = Signal()
    cancel_clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slide = choice_box("The slide to run on. It is chosen by itself when one is open.")
        self.model = choice_box("What to look for.")
        self.summary = TextLabel()
        self.where = choice_box("What part of the slide to run on.")
        self.device = choice_box("What computes. A GPU is much faster than a CPU.")
        self.pixel_size = pixel_size_box()
        self.run = QPushButton("Run")
        self.cancel = QPushButton("Cancel")
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.status = TextLabel()
        for value, text in _WHERE:
            self.where.addItem(text, value)
        self._lay_out()
        self._connect()

    def show_state(self, state: RunState) -> None:
        """Show a state; emits nothing."""
        fill(self.slide, [(name, name) for name in state.slides], state.slide, "No slide is open")
        fill(
            self.model,
            [(item.title, item.path) for item in state.models],
            state.model and state.model.path,
            "No model yet",
        )
        fill(self.device, [(text, name) for name, text in state.devices], state.device, "")
        fill(self.where, [(text, value) for value, text in _WHERE], state.where, "")
        self.summary.setText(state.model.summary if state.model else "")
        self.summary.setVisible(bool(state.model))
        tip = state.model.details if state.model else "What to look for."
        self.summary.setToolTip(tip)
        self.model.setToolTip(tip)
        self._form.setRowVisible(self.pixel_size, state.asks_pixel_size)
        with QSignalBlocker(self.pixel_size):
            if not self.pixel_size.hasFocus():
                self.pixel_size.setValue(state.pixel_size or 0.0)
        for control in (self.slide, self.model, self.where, self.device, self.pixel_size):
            control.setEnabled(not state.running)
        self.run.setEnabled(not state.running and state.blocked is None)
        self.run.setToolTip(state.blocked or "Run the model")
        self.cancel.setEnabled(state.running and not state.cancelling)
        self._show_progress(state)

    def _show_progress(self, state: RunState) -> None:
        progress = state.progress
        self.bar.setVisible(state.running)
        if not state.running:
            self.status.setText(state.blocked or state.message)
        elif state.cancelling:
            self.bar.setRange(0, 0)
            self.status.setText("Cancelling …")
        elif progress is None:
            self.bar.setRange(0, 0)
            self.status.setText("Loading the model …")
        else:
            self.bar.setRange(0, max(1, progress.total))
            self.bar.setValue(progress.done)
            self.status.setText(f"{amount_done(progress)}{time_left(progress.seconds_left)}")
        self.status.setVisible(bool(self.status.text()))

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self._form.addRow("Slide", self.slide)
        self._form.addRow("Model", self.model)
        self._form.addRow(self.summary)
        self._form.addRow("Where", self.where)
        self._form.addRow("Device", self.device)
        self._form.addRow(PIXEL_SIZE, self.pixel_size)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run, 2)
        buttons.addWidget(self.cancel, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._form)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)

    def _connect(self) -> None:
        self.slide.activated.connect(self._on_slide)
        self.model.activated.connect(self._on_model)
        self.where.activated.connect(self._on_where)
        self.device.activated.connect(self._on_device)
        self.pixel_size.valueChanged.connect(self._on_pixel_size)
        self.run.clicked.connect(self._on_run)
        self.cancel.clicked.connect(self._on_cancel)

    def _on_slide(self, index: int) -> None:
        self.slide_chosen.emit(self.slide.itemData(index))

    def _on_model(self, index: int) -> None:
        self.model_chosen.emit(self.model.itemData(index))

    def _on_where(self, index: int) -> None:
        self.where_chosen.emit(self.where.itemData(index))

    def _on_device(self, index: int) -> None:
        self.device_chosen.emit(self.device.itemData(index))

    def _on_pixel_size(self, value: float) -> None:
        self.pixel_size_given.emit(value or None)

    def _on_run(self) -> None:
        self.run_clicked.emit()

    def _on_cancel(self) -> None:
        self.cancel_clicked.emit()
