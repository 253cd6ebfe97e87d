"""The Train form: shows a `TrainState` and says what the user wants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QGridLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill
from napari_lumen.plugin.widgets.recipe_form import RecipeForm
from napari_lumen.plugin.widgets.training_curves import TrainingCurves
from napari_lumen.plugin.widgets.training_data import TrainingDataForm
from napari_lumen.plugin.widgets.training_samples import TrainingSamples
from napari_lumen.plugin.wording import duration, time_left

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import Color
    from napari_lumen.plugin.controllers.train_state import TrainState
    from napari_lumen.plugin.live_training import LiveTraining
    from napari_lumen.training.estimate import Estimate

_VALUES = 20  # of label images whose classes are not known
_NOTHING = "Nothing (random weights)"


class TrainForm(QWidget):
    """Data, model, numbers and buttons; while it trains, curves and pictures."""

    start_chosen = Signal(object)  # Path or None
    recipe_chosen = Signal(str)
    number_set = Signal(str, object)
    name_chosen = Signal(str)
    device_chosen = Signal(str)
    estimate_clicked = Signal()
    train_clicked = Signal()
    pause_clicked = Signal()
    cancel_clicked = Signal()
    go_on_clicked = Signal(str)
    discard_clicked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.data = TrainingDataForm()
        self.model = choice_box("A model that is trained further, by the recipe that it fits, or none.")
        self.recipe = choice_box("How it is trained: network, loss and numbers of a paper.")
        self.numbers = RecipeForm()
        self.name = QLineEdit()
        self.name.setToolTip("Of the new model. The one that it begins with stays as it is.")
        self.device = choice_box("What computes. A GPU is much faster than a CPU.")
        self.unfinished = choice_box("Trainings that were paused or broken off.")
        self.go_on, self.discard = QPushButton("Continue"), QPushButton("Discard")
        self.estimate = QPushButton("Estimate")
        self.estimate.setToolTip("Try a few steps, and say how long it takes and how much memory.")
        self.train = QPushButton("Start")
        self.pause, self.cancel = QPushButton("Pause"), QPushButton("Cancel")
        self.pause.setToolTip("Stop after this step and keep what is learned; go on later, also another day.")
        self.cancel.setToolTip("Stop and throw away what is learned.")
        self.bar = QProgressBar()
        self.status = TextLabel()
        self.curves, self.samples = TrainingCurves(), TrainingSamples()
        self._lay_out()
        self._connect()

    def show_state(self, state: TrainState) -> None:
        """Show a state; emits nothing."""
        self._setup.setVisible(not state.busy)
        self._setup.setEnabled(state.stage == "idle")
        if not state.busy:
            self._show_setup(state)
        idle = state.stage == "idle"
        self.estimate.setEnabled(idle and state.blocked is None)
        self.train.setEnabled(idle and state.blocked is None)
        self.train.setToolTip(state.blocked or "Train the model")
        self.pause.setEnabled(state.stage == "training")
        self.cancel.setEnabled(state.stage in ("training", "estimating"))
        self._resume.setVisible(bool(state.unfinished) and not state.busy)
        self._show_progress(state)

    def _show_setup(self, state: TrainState) -> None:
        self.data.show_state(state)
        fill(
            self.model,
            [(_NOTHING, None), *((item.title, item.path) for item in state.starts)],
            state.start and state.start.path,
            _NOTHING,
        )
        fill(
            self.recipe,
            [(item.name, item.name) for item in state.recipes],
            state.recipe and state.recipe.name,
            "Reading …",
        )
        if state.recipe is not None:
            self.recipe.setToolTip(state.recipe.title)
        self.recipe.setEnabled(state.start is None)
        self.numbers.show_recipe(state.recipe, state.numbers)
        with QSignalBlocker(self.name):
            if self.name.text().strip() != state.name:
                self.name.setText(state.name)
        fill(self.device, [(text, name) for name, text in state.devices], state.device, "")
        known = self.unfinished.currentData()
        fill(self.unfinished, [(name, name) for name in state.unfinished], known, "")

    def _show_progress(self, state: TrainState) -> None:
        live = state.live
        self.bar.setVisible(state.stage != "idle")
        self.bar.setRange(0, 0)
        self.curves.setVisible(live is not None)
        self.samples.setVisible(live is not None and bool(live.samples))
        lines = []
        if state.stage == "training" and live is not None:
            self.bar.setRange(0, max(1, live.epochs * live.steps))
            self.bar.setValue(live.epoch * live.steps + live.step)
            lines = _live_lines(live)
        elif state.stage == "training":
            lines = [f"Beginning {state.training} …"]
        elif state.stage in ("pausing", "cancelling"):
            lines = [f"{state.stage[:1].upper()}{state.stage[1:]} …"]
        elif state.stage == "estimating":
            lines = [state.message]
        else:
            lines = [line for line in (state.message, state.result) if line]
            if state.estimate is not None:
                lines.append(_estimate_line(state.estimate))
            elif state.blocked:
                lines.append(state.blocked)
        if live is not None:
            self.curves.show_live(live)
            self.samples.show_samples(live.samples, _colors(state))
        self.status.setText("\n".join(lines))
        self.status.setVisible(bool(lines))

    def _lay_out(self) -> None:
        self._setup = QWidget()
        setup = QVBoxLayout(self._setup)
        setup.setContentsMargins(0, 0, 0, 0)
        setup.addWidget(self.data)
        setup.addLayout(_rows(("Start from", self.model), ("Recipe", self.recipe)))
        setup.addWidget(self.numbers)
        setup.addLayout(_rows(("New name", self.name), ("Device", self.device)))
        self._resume = QWidget()
        resume = QGridLayout(self._resume)
        resume.setContentsMargins(0, 0, 0, 0)
        resume.addWidget(self.unfinished, 0, 0, 1, 2)
        resume.addWidget(self.go_on, 1, 0)
        resume.addWidget(self.discard, 1, 1)
        buttons = QGridLayout()
        for place, button in enumerate((self.estimate, self.train, self.pause, self.cancel)):
            buttons.addWidget(button, place // 2, place % 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        # how it goes stands first: what is to be chosen fills the panel
        for part in (self.bar, self.status, self._resume, self.curves, self.samples, self._setup):
            layout.addWidget(part)

    def _connect(self) -> None:
        self.model.activated.connect(self._on_model)
        self.recipe.activated.connect(self._on_recipe)
        self.numbers.number_set.connect(self._on_number)
        self.name.textEdited.connect(self._on_name)
        self.device.activated.connect(self._on_device)
        self.estimate.clicked.connect(self._on_estimate)
        self.train.clicked.connect(self._on_train)
        self.pause.clicked.connect(self._on_pause)
        self.cancel.clicked.connect(self._on_cancel)
        self.go_on.clicked.connect(self._on_go_on)
        self.discard.clicked.connect(self._on_discard)

    def _on_model(self, index: int) -> None:
        path: Path | None = self.model.itemData(index)
        self.start_chosen.emit(path)

    def _on_recipe(self, index: int) -> None:
        self.recipe_chosen.emit(self.recipe.itemData(index))

    def _on_number(self, name: str, value: Any) -> None:
        self.number_set.emit(name, value)

    def _on_name(self, text: str) -> None:
        self.name_chosen.emit(text)

    def _on_device(self, index: int) -> None:
        self.device_chosen.emit(self.device.itemData(index))

    def _on_estimate(self) -> None:
        self.estimate_clicked.emit()

    def _on_train(self) -> None:
        self.train_clicked.emit()

    def _on_pause(self) -> None:
        self.pause_clicked.emit()

    def _on_cancel(self) -> None:
        self.cancel_clicked.emit()

    def _on_go_on(self) -> None:
        self.go_on_clicked.emit(self.unfinished.currentData())

    def _on_discard(self) -> None:
        self.discard_clicked.emit(self.unfinished.currentData())


def _colors(state: TrainState) -> dict[int, Color]:
    """Return the colours of the values of label images; ours, where another session chose the data."""
    table = ClassTable.named(map(str, range(1, _VALUES))) if state.found is None else state.found.classes
    return {item.value: item.color for item in table}


def _rows(*rows: tuple[str, QWidget]) -> QFormLayout:
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    for title, widget in rows:
        form.addRow(title, widget)
    return form


def _live_lines(live: LiveTraining) -> list[str]:
    rates = ", ".join(f"{rate:.3g}" for rate in dict.fromkeys(live.rates.values()))
    lines = [
        f"{live.phase}: epoch {min(live.epoch + 1, live.epochs)} of {live.epochs}, step {live.step} of "
        f"{live.steps}{time_left(live.seconds_left)}",
        f"Learning rate {rates or 'not set'}; memory {_size(live.memory)}",
    ]
    return [*lines, f"Best so far: {live.best}"] if live.best else lines


def _estimate_line(estimate: Estimate) -> str:
    gpu = "" if estimate.gpu_memory is None else f", {_size(estimate.gpu_memory)} on the GPU"
    return (
        f"Expected: about {duration(max(1.0, estimate.seconds))} for {estimate.steps:,} steps, memory "
        f"{_size(estimate.memory)}{gpu}."
    )


def _size(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB"
