"""What a training learns from: the choice, and the classes with their counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill
from napari_lumen.plugin.widgets.legend import Swatch

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.train_state import TrainState
    from napari_lumen.plugin.training_data import DataFound

_KINDS = (
    ("annotations", "What is drawn on the slide"),
    ("corrections", "Corrections"),
    ("project", "A project"),
    ("folder", "A folder of images"),
)
_APART = 4  # px
_LONGEST = 20  # characters on a button
_ELSEWHERE = (("background", "Background"), ("ignore", "Not known"))


class TrainingDataForm(QWidget):
    """Data, slide or folder, what is held out, and a table of the classes."""

    data_chosen = Signal(str)
    slide_chosen = Signal(str)
    folder_chosen = Signal(Path)
    author_chosen = Signal(str)
    elsewhere_chosen = Signal(str)
    held_out_chosen = Signal(int)
    look_clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.data = choice_box("What the model learns from.")
        self.slide = choice_box("Whose annotations or corrections are learned from.")
        self.folder = QPushButton("Choose a folder …")
        self.author = choice_box("Whose annotations of the project; each person's stay apart.")
        self._authors: tuple[str, ...] = ()  # of the project, also while it is being looked at
        self.elsewhere = choice_box(
            "What the rest of an annotated part is. Not known: only outlines named Background or Region* say "
            "what is background."
        )
        self.held_out = QSpinBox()
        self.held_out.setRange(5, 50)
        self.held_out.setSuffix(" %")
        self.held_out.setToolTip(
            "So much is not learned from: the model is measured on it. It stays the same for a model that is "
            "trained further on the same data."
        )
        self.look = QPushButton("Count again")
        self.look.setToolTip("After you have drawn or corrected more.")
        self.note = TextLabel()
        self._table = QWidget()
        self._shown: DataFound | None = None
        for value, text in _KINDS:
            self.data.addItem(text, value)
        self._lay_out()
        self._connect()

    def show_state(self, state: TrainState) -> None:
        """Show a state; emits nothing."""
        fill(self.data, [(text, value) for value, text in _KINDS], state.data, "")
        fill(self.slide, [(name, name) for name in state.slides], state.slide, "No slide is open")
        if state.found is not None:
            self._authors = state.found.authors
        people = [("Whoever drew last", ""), *((name, name) for name in self._authors)]
        fill(self.author, list(people), state.author, "")
        fill(self.elsewhere, [(text, value) for value, text in _ELSEWHERE], state.elsewhere, "")
        with QSignalBlocker(self.held_out):
            self.held_out.setValue(state.held_out)
        self._form.setRowVisible(self.slide, state.data in ("annotations", "corrections"))
        self._form.setRowVisible(self.folder, state.data != "annotations")
        self._form.setRowVisible(self.author, state.data == "project" and len(self._authors) > 1)
        self._form.setRowVisible(self.elsewhere, state.data in ("annotations", "project"))
        self.folder.setText("Choose a folder …" if state.folder is None else _short(state.folder))
        self.folder.setToolTip(
            str(state.folder or "A folder of a project, with corrections, or of images with labels.")
        )
        if state.found is not self._shown:
            self._shown = state.found
            self._show_counts(state.found)
        text = "Looking at the data …" if state.looking else state.found.note if state.found else ""
        self.note.setText(text)
        self.note.setVisible(bool(text))
        self.look.setEnabled(not state.looking)

    def _show_counts(self, found: DataFound | None) -> None:
        old, self._table = self._table, QWidget()
        self._layout.replaceWidget(old, self._table)
        old.deleteLater()
        if found is None:
            return
        grid = QGridLayout(self._table)
        grid.setContentsMargins(0, 4, 0, 0)
        grid.setHorizontalSpacing(_APART)
        grid.setColumnStretch(1, 1)
        unit = found.contents.unit
        for column, part in enumerate(found.contents.parts, start=2):
            title = {"train": "To learn", "validation": "Held out"}.get(part.name, part.name)
            head = _cell(title, right=True)
            head.setWordWrap(True)
            grid.addWidget(head, 0, column)
            grid.addWidget(_cell(f"{part.images:,}", right=True), 1, column)
        grid.addWidget(TextLabel("Images"), 1, 1)
        colors = {item.name: item.color for item in found.classes}
        names = dict.fromkeys(item.name for part in found.contents.parts for item in part.classes)
        for row, name in enumerate(names, start=2):
            if name in colors:
                grid.addWidget(Swatch(colors[name]), row, 0)
            grid.addWidget(TextLabel(name), row, 1)
            for column, part in enumerate(found.contents.parts, start=2):
                amount = next((item.amount for item in part.classes if item.name == name), 0)
                grid.addWidget(_cell(_amount(amount), right=True, tip=f"{amount:,} {unit}"), row, column)
        grid.addWidget(TextLabel(f"Classes are counted in {unit}."), len(names) + 2, 1, 1, -1)

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self._form.addRow("Learn from", self.data)
        self._form.addRow("Slide", self.slide)
        self._form.addRow("Folder", self.folder)
        self._form.addRow("Drawn by", self.author)
        self._form.addRow("The rest is", self.elsewhere)
        self._form.addRow("Held out", self.held_out)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addLayout(self._form)
        self._layout.addWidget(self._table)
        self._layout.addWidget(self.note)
        self._layout.addWidget(self.look)

    def _connect(self) -> None:
        self.data.activated.connect(self._on_data)
        self.slide.activated.connect(self._on_slide)
        self.author.activated.connect(self._on_author)
        self.elsewhere.activated.connect(self._on_elsewhere)
        self.held_out.valueChanged.connect(self._on_held_out)
        self.folder.clicked.connect(self._on_folder)
        self.look.clicked.connect(self._on_look)

    def _on_data(self, index: int) -> None:
        self.data_chosen.emit(self.data.itemData(index))

    def _on_slide(self, index: int) -> None:
        if self.slide.itemData(index) is not None:
            self.slide_chosen.emit(self.slide.itemData(index))

    def _on_author(self, index: int) -> None:
        self.author_chosen.emit(self.author.itemData(index))

    def _on_elsewhere(self, index: int) -> None:
        self.elsewhere_chosen.emit(self.elsewhere.itemData(index))

    def _on_held_out(self, value: int) -> None:
        self.held_out_chosen.emit(value)

    def _on_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Learn from a folder")
        if chosen:
            self.folder_chosen.emit(Path(chosen))

    def _on_look(self) -> None:
        self.look_clicked.emit()


def _cell(text: str, *, right: bool = False, tip: str = "") -> QLabel:
    label = QLabel(text)
    label.setToolTip(tip)
    if right:
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return label


def _amount(count: int) -> str:
    """Return a count in four figures at most, as a narrow column takes it."""
    for size, letter in ((1_000_000, "M"), (10_000, "k")):
        if count >= size:
            return f"{count / (1_000_000 if letter == 'M' else 1000):.3g} {letter}"
    return f"{count:,}"


def _short(folder: Path) -> str:
    """Return the name of a folder, its middle left out where a button of it would widen the panel."""
    name = folder.name or str(folder)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[1 - _LONGEST // 2 :]}"
