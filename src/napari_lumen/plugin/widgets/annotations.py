"""The Annotations form: layers, classes, files, undo; says what the user wants and shows what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_lumen.plugin.widgets.annotation_classes import ClassesTable
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.annotations_state import AnnotationsState

_NOTHING = (
    "Drop a file of annotations on the window, import one, or make a new layer and draw with napari's tools."
)
_PAINTED = (
    "More than 10,000 outlines are painted; up to 1,000 in view are outlined, too. Classes can be edited."
)
_BUTTONS = (
    ("new", "New layer", "An empty layer over the slide, with the same classes."),
    ("import_", "Import …", "Open GeoJSON, ASAP, ImageScope, BACH, MoNuSAC, HoVer-Net or NCRF files."),
    ("export", "Export …", "Save this layer for QuPath, ASAP, ImageScope, as a table or as OME-Zarr labels."),
    ("add", "Add class", "Add a class to the table."),
    ("merge", "Merge …", "Make all of the selected class part of another."),
    ("remove", "Remove class", "Remove the selected class. One in use is merged instead."),
    ("undo", "Undo", "Take back what was done last to this layer or its classes."),
    ("redo", "Redo", "Do again what was undone last."),
    ("load", "Classes from …", "Take the classes of a model card, a table or another file of annotations."),
    ("save", "Save classes …", "Save the class table as JSON or CSV."),
)


class AnnotationsForm(QWidget):
    """Chooser of the layer, its class table, and the buttons."""

    layer_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layer: QComboBox = choice_box(
            "The annotations whose classes are shown. Selecting a layer changes it."
        )
        self.classes = ClassesTable()
        self.hint = TextLabel(_NOTHING)
        self.busy = TextLabel()
        self.buttons: dict[str, QPushButton] = {}
        for name, text, tip in _BUTTONS:
            self.buttons[name] = QPushButton(text)
            self.buttons[name].setToolTip(tip)
        self._lay_out()
        self.layer.activated.connect(self._on_layer)

    def show_state(self, state: AnnotationsState) -> None:
        """Show what there is; emits nothing."""
        there = state.layer is not None
        fill(self.layer, [(name, name) for name in state.layers], state.layer, "No annotations are open")
        self.layer.setToolTip(state.layer or _NOTHING)
        self.classes.show_rows(state.rows, state.chosen)
        self.classes.setVisible(there)
        self.hint.setText(_NOTHING if not there else "" if state.editable else _PAINTED)
        self.hint.setVisible(bool(self.hint.text()))
        self.busy.setText(state.busy)
        self.busy.setVisible(bool(state.busy))
        for name in ("export", "save"):
            self.buttons[name].setEnabled(there and not state.busy)
        for name in ("import_", "load"):
            self.buttons[name].setEnabled(not state.busy)
        self.buttons["merge"].setEnabled(sum(bool(row.name) for row in state.rows) > 1)
        self.buttons["remove"].setEnabled(bool(state.rows))
        for name, what in (("undo", state.undo), ("redo", state.redo)):
            self.buttons[name].setEnabled(what is not None)
            title = name.capitalize()
            self.buttons[name].setToolTip(f"{title}: {what}" if what else f"Nothing to {name}.")

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (self.layer, self._row("new", "import_", "export"), self.hint, self.busy):
            layout.addWidget(widget)
        layout.addWidget(QLabel("<b>Classes</b>"))
        layout.addWidget(self.classes)
        for names in (("add", "merge", "remove"), ("undo", "redo"), ("load", "save")):
            layout.addWidget(self._row(*names))

    def _row(self, *names: str) -> QWidget:
        row = QWidget()
        grid = QGridLayout(row)
        grid.setContentsMargins(0, 0, 0, 0)
        for column, name in enumerate(names):
            grid.addWidget(self.buttons[name], 0, column)
        return row

    def _on_layer(self, index: int) -> None:
        name = self.layer.itemData(index)
        if name is not None:
            self.layer_chosen.emit(name)
