"""The slides of a project and how each stands."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from napari_lumen.project import SlideStanding

_HEADS = ("Slide", "Runs", "Dice", "Drawn by", "Corr.", "Patient")
_TIPS = {2: "Of the newest run that was scored, mean over the classes.", 4: "Corrected windows of all runs."}
_NUMBERS = (1, 2, 4)  # columns
_WIDEST = 140  # px of a column: in a narrow dock the table scrolls sideways, and names stay legible
_PATIENT = 5
_ROWS = 10
_AMISS = QColor(230, 145, 0)


class ProjectTable(QTableWidget):
    """A row a slide; a double click opens it."""

    slide_selected = Signal(str)
    slide_opened = Signal(str)

    def __init__(self) -> None:
        super().__init__(0, len(_HEADS))
        self.setHorizontalHeaderLabels(list(_HEADS))
        for column, tip in _TIPS.items():
            head = self.horizontalHeaderItem(column)
            if head is not None:
                head.setToolTip(tip)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setMinimumHeight(_ROWS * (self.fontMetrics().height() + 6))
        self.setToolTip("Double click opens a slide with its newest run and what each person has drawn.")
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and columns is not None:
            rows.setVisible(False)
            columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            columns.setMaximumSectionSize(_WIDEST)
            columns.setStretchLastSection(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._shown: tuple[SlideStanding, ...] = ()
        self.itemSelectionChanged.connect(self._on_selected)
        self.itemDoubleClicked.connect(self._on_opened)

    def show_slides(self, standings: tuple[SlideStanding, ...], selected: str | None) -> None:
        """Show the slides of a project and which is selected; emits nothing."""
        with QSignalBlocker(self):
            if standings != self._shown:
                self._shown = standings
                self.setRowCount(len(standings))
                for row, standing in enumerate(standings):
                    self._fill(row, standing)
                self.setColumnHidden(_PATIENT, not any(item.entry.patient for item in standings))
            names = [item.entry.name for item in standings]
            if selected in names and self.currentRow() != names.index(selected):
                self.selectRow(names.index(selected))

    def _fill(self, row: int, standing: SlideStanding) -> None:
        entry = standing.entry
        state = "" if standing.state == "here" else f" ({standing.state})"
        texts = (
            f"{entry.name}{state}",
            f"{standing.runs}" if standing.runs else "–",
            _dice(standing),
            ", ".join(standing.authors) or "–",
            f"{standing.corrected}" if standing.corrected else "–",
            entry.patient or "",
        )
        drawn = (f"Drawn by {', '.join(standing.authors)}",) if standing.authors else ()
        tip = "\n".join((texts[0], str(standing.place), *drawn, *_score(standing), *standing.problems))
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setToolTip(tip)
            if column in _NUMBERS:
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            if standing.problems and column == 0:
                item.setForeground(_AMISS)
            self.setItem(row, column, item)

    def _on_selected(self) -> None:
        row = self.currentRow()
        if 0 <= row < len(self._shown):
            self.slide_selected.emit(self._shown[row].entry.name)

    def _on_opened(self, item: QTableWidgetItem) -> None:
        self.slide_opened.emit(self._shown[item.row()].entry.name)


def _dice(standing: SlideStanding) -> str:
    """Return the mean over the classes that have one."""
    found = () if standing.score is None else standing.score.dice.values()
    known = [value for value in found if value is not None and not isnan(value)]
    return f"{sum(known) / len(known):.3f}" if known else "–"


def _score(standing: SlideStanding) -> tuple[str, ...]:
    score = standing.score
    if score is None:
        return ()
    run = f"{score.run}, corrected" if score.corrected else score.run
    each = ", ".join(
        f"{name} {'–' if value is None else f'{value:.3f}'}" for name, value in score.dice.items()
    )
    return (f"Dice of {run} against {score.author}: {each}",)
