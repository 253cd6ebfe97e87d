"""The class table: shown or not, colour, name, key, count; the chosen class is what is drawn next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QColorDialog, QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_lumen.annotations.classes import Color
    from napari_lumen.plugin.controllers.annotations_state import ClassRow

SHOWN, COLOR, NAME, KEY, COUNT, IGNORE = range(6)
_HEADINGS = ("", "", "Class", "Key", "Count", "Ignore")
_TIPS = (
    "Show what is of the class.",
    "Double-click to choose another colour.",
    "Double-click to rename. The chosen class is what you draw next.",
    "Number key that chooses the class while a layer of annotations is selected.",
    "Annotations of the class in this layer.",
    "Training and scores pass over what is ignored.",
)
_NO_CLASS = "no class"
# an empty box of napari's theme is as dark as the row it lies in
_BOXES = "QTableView::indicator:unchecked { width: 11px; height: 11px; border: 1px solid gray; }"
_MOST_ROWS = 12


class ClassesTable(QTableWidget):
    """A row a class."""

    chosen = Signal(str)
    renamed = Signal(str, str)
    recoloured = Signal(str, tuple)
    keyed = Signal(str, object)
    shown = Signal(str, bool)
    ignored = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADINGS), parent)
        self._rows: tuple[ClassRow, ...] = ()
        self.setHorizontalHeaderLabels(list(_HEADINGS))
        for column, tip in enumerate(_TIPS):
            heading = self.horizontalHeaderItem(column)
            assert heading is not None
            heading.setToolTip(tip)
        header = self.horizontalHeader()
        assert header is not None
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(24)
        side = self.verticalHeader()
        assert side is not None
        side.hide()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setStyleSheet(_BOXES)
        self.itemChanged.connect(self._on_changed)
        self.itemSelectionChanged.connect(self._on_selected)
        self.cellDoubleClicked.connect(self._on_double_click)

    def show_rows(self, rows: tuple[ClassRow, ...], chosen: str | None) -> None:
        """Show the classes; emits nothing."""
        with QSignalBlocker(self):
            if rows != self._rows:
                self._rows = rows
                self.setRowCount(len(rows))
                for place, row in enumerate(rows):
                    self._fill(place, row)
                self._fit()
            self.clearSelection()
            names = [row.name for row in rows]
            if chosen in names:
                self.selectRow(names.index(chosen))

    def selected(self) -> str | None:
        """Return the name of the selected class."""
        rows = {index.row() for index in self.selectedIndexes()}
        return self._rows[rows.pop()].name or None if rows else None

    def _fill(self, place: int, row: ClassRow) -> None:
        fixed = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        texts = ("", "", row.name or _NO_CLASS, "" if row.key is None else str(row.key), f"{row.count:,}", "")
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setFlags(fixed)
            item.setToolTip(row.name if column == NAME else _TIPS[column])
            if column in (NAME, KEY) and row.name:
                item.setFlags(fixed | Qt.ItemFlag.ItemIsEditable)
            if column == SHOWN or (column == IGNORE and row.name):
                item.setFlags(fixed | Qt.ItemFlag.ItemIsUserCheckable)
                checked = row.shown if column == SHOWN else row.ignore
                item.setCheckState(Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked)
            if column == COLOR:
                item.setData(Qt.ItemDataRole.DecorationRole, QColor(*row.color))
            if column in (KEY, COUNT):
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.setItem(place, column, item)

    def _fit(self) -> None:
        """Be as high as the classes are, up to a dozen."""
        header = self.horizontalHeader()
        assert header is not None
        rows = sum(self.rowHeight(place) for place in range(min(max(1, self.rowCount()), _MOST_ROWS)))
        self.setFixedHeight(header.sizeHint().height() + rows + 2 * self.frameWidth() + 4)

    def _on_changed(self, item: QTableWidgetItem) -> None:
        before, chosen = self._rows, self.selected()
        row, column = before[item.row()], item.column()
        self._rows = ()  # what is shown now is the user's: the next state is filled in anew
        checked = item.checkState() == Qt.CheckState.Checked
        if column == SHOWN:
            self.shown.emit(row.name, checked)
        elif column == IGNORE:
            self.ignored.emit(row.name, checked)
        elif column == NAME:
            self.renamed.emit(row.name, item.text())
        elif column == KEY:
            text = item.text().strip()
            # what is no number is refused as a number that is no key
            self.keyed.emit(row.name, None if not text else int(text) if text.isdecimal() else -1)
        if not self._rows:  # it was refused, and nothing has changed
            self.show_rows(before, chosen)

    def _on_selected(self) -> None:
        name = self.selected() if self._rows else None
        if name is not None:
            self.chosen.emit(name)

    def _on_double_click(self, place: int, column: int) -> None:
        row = self._rows[place] if place < len(self._rows) else None
        if column != COLOR or row is None or not row.name:
            return
        color = QColorDialog.getColor(QColor(*row.color), self, f"Colour of {row.name}")
        if color.isValid():
            chosen: Color = (color.red(), color.green(), color.blue())
            self.recoloured.emit(row.name, chosen)
