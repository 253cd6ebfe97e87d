"""The Correct form: shows the state of the controller and says what the user wants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.correct_state import CorrectState

_KEYS = (
    "Keys: W open · A accept · S skip · N next · 0 to 9 class · P brush · E eraser · F fill · G polygon · "
    "Z or Space move · [ and ] brush size · B leave other classes alone · Ctrl+Z undo · Ctrl+Shift+Z redo\n"
    "Objects: D delete · C split · J merge · R reclassify · I add · U ask the model"
)


class CorrectForm(QWidget):
    """Chooser of what to correct, and the buttons of an edit window."""

    slide_chosen = Signal(str)
    run_chosen = Signal(str)
    size_chosen = Signal(float)
    classes_named = Signal(str)
    folder_chosen = Signal(Path)
    author_named = Signal(str)
    screen_brush_set = Signal(bool)
    preserve_set = Signal(bool)
    open_clicked = Signal()
    accept_clicked = Signal()
    skip_clicked = Signal()
    next_clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slide: QComboBox = choice_box("The slide to correct on.")
        self.run: QComboBox = choice_box("The run whose result is corrected; its own labels stay.")
        self.pixels: QComboBox = choice_box("Pixel size of the next edit window.")
        self.classes = QLineEdit()
        self.classes.setPlaceholderText("nucleus, stroma")
        self.classes.setToolTip("Names of the classes to paint, with commas between them.")
        self.folder = QPushButton("Choose …")
        self.author = QLineEdit()
        self.author.setToolTip("Your name, kept with each window that you correct.")
        self.open = QPushButton("Correct what is in view (W)")
        self.coarser = QPushButton()
        self.accept = QPushButton("Accept (A)")
        self.accept.setToolTip("Save what was changed. With nothing changed: keep it as looked at and right.")
        self.skip = QPushButton("Skip (S)")
        self.skip.setToolTip("Close the window without saving.")
        self.next = QPushButton("Next (N)")
        self.next.setToolTip("Accept the open window, and open the next field that is not corrected yet.")
        self.screen_brush = QCheckBox("Brush keeps its size on screen")
        self.preserve = QCheckBox("Leave other classes alone (B)")
        self.preserve.setToolTip("The brush paints on background only, and the eraser erases its class only.")
        self.status = TextLabel()
        self.keys = QLabel(_KEYS)
        self.keys.setWordWrap(True)
        self._coarser: float | None = None
        self._lay_out()
        self._connect()

    def show_state(self, state: CorrectState) -> None:
        """Show a state; emits nothing."""
        fill(self.slide, [(name, name) for name in state.slides], state.slide, "No slide is open")
        fill(self.run, [(title, path) for path, title in state.runs], state.run, "No slide is open")
        fill(self.pixels, [(text, factor) for factor, text in state.sizes], state.size, "–")
        without_run = bool(state.runs) and not state.run
        for widget in (self.classes, self.folder):
            self._form.setRowVisible(widget, without_run)
        self.folder.setText(state.folder.name if state.folder is not None else "Choose …")
        self.folder.setToolTip(f"Where corrections are kept: {state.folder or 'not chosen yet'}")
        for line, text in ((self.classes, state.class_names), (self.author, state.author)):
            if not line.hasFocus():
                with QSignalBlocker(line):
                    line.setText(text)
        for control in (self.slide, self.run, self.pixels, self.classes, self.folder):
            control.setEnabled(not state.open and not state.busy)
        for box, on in ((self.screen_brush, state.screen_brush), (self.preserve, state.preserve)):
            with QSignalBlocker(box):
                box.setChecked(on)
        self.open.setVisible(not state.open)
        self.open.setEnabled(state.blocked is None and not state.busy)
        self.accept.setVisible(state.open)
        self.skip.setVisible(state.open)
        for button in (self.accept, self.skip):
            button.setEnabled(not state.busy)
        self.next.setEnabled(state.blocked is None and not state.busy)
        self._coarser = state.coarser
        words = dict(state.sizes).get(state.coarser) if state.coarser is not None else None
        self.coarser.setText(f"Open it at {words}")
        self.coarser.setVisible(words is not None and not state.open)
        self.status.setText(state.busy or state.message or state.blocked or "")
        self.status.setVisible(bool(self.status.text()))

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        for title, widget in (
            ("Slide", self.slide),
            ("Run", self.run),
            ("Classes", self.classes),
            ("Folder", self.folder),
            ("Window at", self.pixels),
            ("Author", self.author),
        ):
            self._form.addRow(title, widget)
        buttons = QGridLayout()
        buttons.addWidget(self.open, 0, 0, 1, 2)
        buttons.addWidget(self.coarser, 1, 0, 1, 2)
        buttons.addWidget(self.accept, 2, 0)
        buttons.addWidget(self.skip, 2, 1)
        buttons.addWidget(self.next, 3, 0, 1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._form)
        layout.addLayout(buttons)
        for below in (self.status, self.screen_brush, self.preserve):
            layout.addWidget(below)

    def _connect(self) -> None:
        self.slide.activated.connect(self._on_slide)
        self.run.activated.connect(self._on_run)
        self.pixels.activated.connect(self._on_size)
        self.classes.editingFinished.connect(self._on_classes)
        self.author.editingFinished.connect(self._on_author)
        self.folder.clicked.connect(self._on_folder)
        self.screen_brush.toggled.connect(self.screen_brush_set.emit)
        self.preserve.toggled.connect(self.preserve_set.emit)
        self.open.clicked.connect(self._on_open)
        self.coarser.clicked.connect(self._on_coarser)
        self.accept.clicked.connect(self._on_accept)
        self.skip.clicked.connect(self._on_skip)
        self.next.clicked.connect(self._on_next)

    def _on_slide(self, index: int) -> None:
        name = self.slide.itemData(index)
        if name is not None:
            self.slide_chosen.emit(name)

    def _on_run(self, index: int) -> None:
        run = self.run.itemData(index)
        if run is not None:
            self.run_chosen.emit(run)

    def _on_size(self, index: int) -> None:
        size = self.pixels.itemData(index)
        if size is not None:
            self.size_chosen.emit(size)

    def _on_classes(self) -> None:
        self.classes_named.emit(self.classes.text())

    def _on_author(self) -> None:
        self.author_named.emit(self.author.text())

    def _on_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the corrections")
        if chosen:
            self.folder_chosen.emit(Path(chosen))

    def _on_open(self) -> None:
        self.open_clicked.emit()

    def _on_coarser(self) -> None:
        if self._coarser is not None:
            self.size_chosen.emit(self._coarser)
            self.open_clicked.emit()

    def _on_accept(self) -> None:
        self.accept_clicked.emit()

    def _on_skip(self) -> None:
        self.skip_clicked.emit()

    def _on_next(self) -> None:
        self.next_clicked.emit()
