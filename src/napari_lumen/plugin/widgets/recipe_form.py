"""The numbers of a recipe: a row for each, what it means as its tooltip, the usual ones first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QSpinBox, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_lumen.plugin.recipe_fields import read, written
from napari_lumen.plugin.widgets.controls import choice_box

if TYPE_CHECKING:
    from napari_lumen.plugin.recipe_fields import RecipeChoice, RecipeField

_LARGEST = 10_000_000
_TITLES = {"mpp": "µm per pixel", "size": "size (px)", "patch": "patch (px)"}


class RecipeForm(QWidget):
    """Shows the numbers of one recipe at a time."""

    number_set = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._recipe: RecipeChoice | None = None
        self._controls: dict[str, QWidget] = {}
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)

    def show_recipe(self, recipe: RecipeChoice | None, numbers: Mapping[str, Any]) -> None:
        """Show a recipe with the numbers that are other than its own; emits nothing."""
        if recipe is not self._recipe:
            self._recipe = recipe
            self._build()
        for field in () if recipe is None else recipe.fields:
            self._show(field, numbers.get(field.name, field.default))

    def control(self, name: str) -> QWidget:
        """Return what shows a number."""
        return self._controls[name]

    def _build(self) -> None:
        while (item := self._layout.takeAt(0)) is not None:
            shown_before = item.widget()
            if shown_before is not None:
                shown_before.deleteLater()
        self._controls = {}
        if self._recipe is None:
            return
        basic, folded = QWidget(), QWidget()
        rows = {True: _form(basic), False: _form(folded)}
        for field in self._recipe.fields:
            control = self._control(field)
            control.setToolTip(_tip(field))
            self._controls[field.name] = control
            rows[field.basic].addRow(_TITLES.get(field.name, field.name.replace("_", " ")), control)
            label = rows[field.basic].labelForField(control)
            if label is not None:
                label.setToolTip(_tip(field))
        more = QCollapsible("All other numbers")
        more.setContent(folded)
        self._layout.addWidget(basic)
        self._layout.addWidget(more)
        more.collapse(animate=False)

    def _control(self, field: RecipeField) -> QWidget:
        if field.kind == "choice":
            box = choice_box("")
            for choice in field.choices:
                box.addItem(choice, choice)
            box.activated.connect(partial(self._on_choice, field.name, box))
            return box
        if field.kind == "bool":
            check = QCheckBox()
            check.clicked.connect(partial(self._on_value, field.name))
            return check
        if field.kind == "int":
            spin = QSpinBox()
            spin.setRange(field.least, _LARGEST)
            spin.valueChanged.connect(partial(self._on_value, field.name))
            spin.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            return spin
        line = QLineEdit()
        line.setPlaceholderText("not set")
        line.editingFinished.connect(partial(self._on_text, field.name, line))
        return line

    def _show(self, field: RecipeField, value: Any) -> None:
        control = self._controls[field.name]
        with QSignalBlocker(control):
            if isinstance(control, QComboBox):
                control.setCurrentIndex(max(0, control.findData(str(value))))
            elif isinstance(control, QCheckBox):
                control.setChecked(bool(value))
            elif isinstance(control, QSpinBox):
                if not control.hasFocus():
                    control.setValue(int(value))
            elif isinstance(control, QLineEdit) and read(control.text()) != value:
                control.setText(written(value))
                control.setCursorPosition(0)

    def _on_choice(self, name: str, box: QComboBox, index: int) -> None:
        self.number_set.emit(name, box.itemData(index))

    def _on_value(self, name: str, value: Any) -> None:
        self.number_set.emit(name, value)

    def _on_text(self, name: str, line: QLineEdit) -> None:
        self.number_set.emit(name, read(line.text()))


def _form(parent: QWidget) -> QFormLayout:
    form = QFormLayout(parent)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return form


def _tip(field: RecipeField) -> str:
    usual = f"Usually {written(field.default)}." if field.default is not None else "Usually not set."
    return f"{field.tip}\n\n{usual}" if field.tip else usual
