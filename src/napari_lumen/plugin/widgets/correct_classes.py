"""The classes that can be painted: key, colour, name, and what there is of each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QToolButton, QWidget

from napari_lumen.plugin.widgets.controls import TextLabel
from napari_lumen.plugin.widgets.legend import Swatch
from napari_lumen.plugin.wording import area

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.inference.run import ClassCount

_ERASED = (255, 255, 255)
_LAST_KEY = 9
_APART = 4  # px
_COUNT_TIP = (
    "With the corrections. Areas are exact; objects are counted anew in and around what was changed, as the "
    "run has counted them."
)


class PaintClasses(QWidget):
    """A row a class, background first; a click chooses what the brush paints."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(2)
        self._grid.setHorizontalSpacing(_APART)
        self._grid.setColumnStretch(2, 1)
        self._shown: tuple[object, object] = (None, None)
        self.buttons: dict[int, QToolButton] = {}

    def show_classes(self, classes: ClassTable | None, counts: tuple[ClassCount, ...]) -> None:
        """Show the classes and, where they are known, their counts."""
        if (classes, counts) == self._shown:
            return
        self._shown = (classes, counts)
        while (item := self._grid.takeAt(0)) is not None:
            before = item.widget()
            if before is not None:
                before.hide()
                before.deleteLater()
        self.buttons = {}
        if classes is None:
            return
        by_name = {count.name: count for count in counts}
        rows = [(0, "background", _ERASED), *((item.value, item.name, item.color) for item in classes)]
        if counts:
            for column, text in ((3, "Count"), (4, "Area")):
                self._grid.addWidget(_right(text), 0, column)
        for row, (value, name, color) in enumerate(rows, start=1):
            button = QToolButton()
            button.setText(str(row - 1) if row - 1 <= _LAST_KEY else " ")
            button.setCheckable(True)
            button.setToolTip(f"Paint {name}" + (f" (key {row - 1})" if row - 1 <= _LAST_KEY else ""))
            button.clicked.connect(partial(self._on_clicked, value))
            self.buttons[value] = button
            self._grid.addWidget(button, row, 0)
            self._grid.addWidget(Swatch(color), row, 1)
            self._grid.addWidget(TextLabel(name), row, 2)
            count = by_name.get(name)
            if count is not None:
                objects = "–" if count.objects is None else f"{count.objects:,}"
                self._grid.addWidget(_right(objects), row, 3)
                self._grid.addWidget(_right(area(count.area_mm2)), row, 4)

    def show_selected(self, value: int | None) -> None:
        """Show what the brush paints; None while no window is open."""
        for of, button in self.buttons.items():
            button.setChecked(of == value)
            button.setEnabled(value is not None)

    def _on_clicked(self, value: int) -> None:
        self.chosen.emit(value)


def _right(text: str) -> QLabel:
    label = QLabel(text)
    label.setToolTip(_COUNT_TIP)
    label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return label
