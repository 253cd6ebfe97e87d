"""The Project form: shows a `ProjectState` and says what the user wants."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill
from napari_lumen.plugin.widgets.project_places import DifferencePlaces
from napari_lumen.plugin.widgets.project_table import ProjectTable

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.project_state import ProjectState

_STEPS = 1000
_NAME = 3  # letters at least
_NONE = "No project is open. Open one, or make one of a new folder."


class ProjectForm(QWidget):
    """The project, its slides, and what can be done with the one that is selected."""

    create_clicked = Signal(Path)
    open_clicked = Signal(Path)
    look_clicked = Signal()
    add_open_clicked = Signal()
    add_clicked = Signal(Path)
    find_clicked = Signal(Path)
    classes_chosen = Signal(Path)
    author_named = Signal(str)
    keep_clicked = Signal()
    compare_clicked = Signal(str, str)
    score_clicked = Signal(str)
    cancel_clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.open, self.new = QPushButton("Open …"), QPushButton("New …")
        self.title = TextLabel()
        self.table = ProjectTable()
        self.look = QPushButton("Look again")
        self.look.setToolTip("What others have added, and whether all files are there.")
        self.add_open = QPushButton("Add open slide")
        self.add_open.setToolTip("The slide in use, with its runs that are shown.")
        self.add_file = QPushButton("Add file …")
        self.add_file.setToolTip("A slide, or annotations of the selected slide.")
        self.add_folder = QPushButton("Add folder …")
        self.add_folder.setToolTip("A run, corrections, a model, or a slide that is a folder.")
        self.moved = QPushButton("Find moved …")
        self.moved.setToolTip(
            "Look in a folder for slides that are not where they were, whatever their names."
        )
        self.classes = QPushButton("Classes …")
        self.author = QLineEdit()
        self.author.setToolTip("Under whose name what is drawn is kept. Each person's stays apart.")
        self.keep = QPushButton("Keep what is drawn")
        self.first, self.second = choice_box("Who has drawn."), choice_box("With whom they are compared.")
        for people in (self.first, self.second):
            people.setMinimumContentsLength(_NAME)  # two stand side by side
        self.compare = QPushButton("Compare")
        self.compare.setToolTip(
            "Dice and Cohen's kappa of the two on the selected slide, and a map of what differs if open."
        )
        self.score = QPushButton("Score the run")
        self.score.setToolTip("The newest run of the selected slide against what the first has drawn.")
        self.agreement = TextLabel()
        self.places = DifferencePlaces()
        self.bar = QProgressBar()
        self.cancel = QPushButton("Cancel")
        self.status = TextLabel()
        self._lay_out()
        self._connect()

    def show_state(self, state: ProjectState) -> None:
        """Show a state; emits nothing."""
        idle, there = not state.busy, state.folder is not None
        count = len(state.standings)
        self.title.setText(
            f"{state.name}: {count:,} slide{'' if count == 1 else 's'}\n{state.folder}" if there else _NONE
        )
        self._inside.setVisible(there)
        self.table.show_slides(state.standings, state.selected)
        for button in (
            self.open,
            self.new,
            self.look,
            self.add_file,
            self.add_folder,
            self.moved,
            self.classes,
        ):
            button.setEnabled(idle)
        self.add_open.setEnabled(idle and state.can_add)
        self.classes.setToolTip(
            f"Classes of the project: {', '.join(state.classes) or 'none yet'}. Take others from a model's "
            "card.json, a run.json, annotations, or a table."
        )
        with QSignalBlocker(self.author):
            if not self.author.hasFocus():
                self.author.setText(state.author)
        self.keep.setEnabled(idle and bool(state.drawn))
        kept = f"Write the layer {state.drawn} into the project."
        self.keep.setToolTip(kept if state.drawn else "Draw on a slide of the project first.")
        standing = state.standing
        authors = () if standing is None else standing.authors
        choices = [(author, author) for author in authors]
        fill(self.first, list(choices), self.first.currentData(), "nobody")
        second = self.second.currentData()
        if second is None or second == self.first.currentData():
            second = next((name for name in authors if name != self.first.currentData()), None)
        fill(self.second, list(choices), second, "nobody")
        self.compare.setEnabled(idle and len(authors) > 1)
        self.score.setEnabled(idle and bool(authors) and standing is not None and standing.runs > 0)
        self.agreement.setText(_agreement(state))
        self.agreement.setVisible(state.agreement is not None)
        self.places.show_state(state)
        self.bar.setVisible(not idle)
        self.cancel.setVisible(not idle)
        self.cancel.setEnabled(not state.cancelling)
        self.bar.setRange(0, 0 if state.done is None else _STEPS)
        self.bar.setValue(round((state.done or 0) * _STEPS))
        said = "Cancelling …" if state.cancelling else state.busy or state.message
        self.status.setText(said)
        self.status.setVisible(bool(said))

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.open)
        top.addWidget(self.new)
        buttons = QGridLayout()
        for place, button in enumerate((self.add_open, self.look, self.add_file, self.add_folder)):
            buttons.addWidget(button, place // 2, place % 2)
        buttons.addWidget(self.moved, 2, 0)
        buttons.addWidget(self.classes, 2, 1)
        draw = QHBoxLayout()
        draw.addWidget(QLabel("Author"))
        draw.addWidget(self.author, 1)
        people = QHBoxLayout()
        people.addWidget(self.first, 1)
        people.addWidget(QLabel("and"))
        people.addWidget(self.second, 1)
        judge = QHBoxLayout()
        judge.addWidget(self.compare)
        judge.addWidget(self.score)
        self._inside = QWidget()
        inside = QVBoxLayout(self._inside)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.table)
        inside.addLayout(buttons)
        inside.addLayout(draw)
        inside.addWidget(self.keep)
        inside.addWidget(QLabel("<b>Two people on the selected slide</b>"))
        inside.addLayout(people)
        inside.addLayout(judge)
        inside.addWidget(self.agreement)
        inside.addWidget(self.places)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(top)
        layout.addWidget(self.title)
        layout.addWidget(self.bar)
        layout.addWidget(self.cancel)
        layout.addWidget(self.status)
        layout.addWidget(self._inside)

    def _connect(self) -> None:
        self.open.clicked.connect(self._on_open)
        self.new.clicked.connect(self._on_create)
        self.look.clicked.connect(self._on_look)
        self.add_open.clicked.connect(self._on_add_open)
        self.add_file.clicked.connect(self._on_add_file)
        self.add_folder.clicked.connect(self._on_add_folder)
        self.moved.clicked.connect(self._on_find)
        self.classes.clicked.connect(self._on_classes)
        self.author.editingFinished.connect(self._on_author)
        self.keep.clicked.connect(self._on_keep)
        self.compare.clicked.connect(self._on_compare)
        self.score.clicked.connect(self._on_score)
        self.cancel.clicked.connect(self._on_cancel)

    def _folder(self, title: str) -> Path | None:
        folder = QFileDialog.getExistingDirectory(self, title)
        return Path(folder) if folder else None

    def _on_open(self) -> None:
        if (folder := self._folder("Folder of the project")) is not None:
            self.open_clicked.emit(folder)

    def _on_create(self) -> None:
        if (folder := self._folder("Folder for a new project")) is not None:
            self.create_clicked.emit(folder)

    def _on_look(self) -> None:
        self.look_clicked.emit()

    def _on_add_open(self) -> None:
        self.add_open_clicked.emit()

    def _on_add_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "A slide or annotations")
        if path:
            self.add_clicked.emit(Path(path))

    def _on_add_folder(self) -> None:
        if (folder := self._folder("A run, corrections, a model or a slide")) is not None:
            self.add_clicked.emit(folder)

    def _on_find(self) -> None:
        if (folder := self._folder("Where to look for moved slides")) is not None:
            self.find_clicked.emit(folder)

    def _on_classes(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Take the classes of a file")
        if path:
            self.classes_chosen.emit(Path(path))

    def _on_author(self) -> None:
        self.author_named.emit(self.author.text())

    def _on_keep(self) -> None:
        self.keep_clicked.emit()

    def _on_compare(self) -> None:
        self.compare_clicked.emit(self.first.currentData(), self.second.currentData())

    def _on_score(self) -> None:
        self.score_clicked.emit(self.first.currentData())

    def _on_cancel(self) -> None:
        self.cancel_clicked.emit()


def _agreement(state: ProjectState) -> str:
    """Return in lines how far two people agree."""
    found = state.agreement
    if found is None or state.compared is None:
        return ""
    slide, first, second = state.compared
    lines = [
        f"{name}: Dice {_number(found.dice[name])}, kappa {_number(found.kappa[name])}" for name in found.dice
    ]
    overall = f"All classes: kappa {_number(found.overall)}"
    return "\n".join([f"{slide}: {first} and {second}", *lines, overall])


def _number(value: float) -> str:
    return "–" if isnan(value) else f"{value:.3f}"
