"""The Slide form: shows a slide's facts, overview and pictures, and says what the user wants to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_lumen.plugin.widgets.associated import Associated
from napari_lumen.plugin.widgets.controls import PIXEL_SIZE, TextLabel, choice_box, fill, pixel_size_box
from napari_lumen.plugin.widgets.overview import Overview
from napari_lumen.plugin.widgets.scanner_facts import ScannerFacts
from napari_lumen.plugin.wording import IN_VIEW, magnification

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.slide_state import InView, Pictures, SlideState

_NO_SLIDE = "Open a slide: drop it on the window, or File > Open Sample > Lumen."


class SlideForm(QWidget):
    """Chooser, overview, facts, pictures of the glass and the scanner's own facts."""

    slide_chosen = Signal(str)
    moved = Signal(tuple)
    picture_asked = Signal(str, bool)
    pixel_size_given = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slide: QComboBox = choice_box("The slide to show. Selecting a layer of another one changes it.")
        self.overview = Overview()
        self.hint = TextLabel()
        self.hint.setText(_NO_SLIDE)
        self.facts = QWidget()
        self._grid = QGridLayout(self.facts)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        self.values: dict[str, TextLabel] = {}
        self.pixel_size = pixel_size_box()
        self.give = QPushButton("Set")
        self._asking = QWidget()
        self.associated = Associated()
        self.scanner = ScannerFacts()
        self._lay_out()
        self.slide.activated.connect(self._on_slide)
        self.give.clicked.connect(self._on_give)
        line = self.pixel_size.lineEdit()
        assert line is not None
        line.returnPressed.connect(self._on_give)
        self.overview.moved.connect(self.moved.emit)
        self.associated.asked.connect(self.picture_asked.emit)

    def show_state(self, state: SlideState) -> None:
        """Show what is known of a slide; emits nothing."""
        there = state.slide is not None
        fill(self.slide, [(name, name) for name in state.slides], state.slide, "No slide is open")
        self.slide.setToolTip(state.slide or _NO_SLIDE)
        self.overview.show_slide(state.shape)
        self.overview.setVisible(there)
        self._show_facts(state.facts)
        self.hint.setVisible(not there)
        self._asking.setVisible(state.asks_pixel_size)
        with QSignalBlocker(self.pixel_size):
            if not self.pixel_size.hasFocus():
                self.pixel_size.setValue(state.pixel_size or 0.0)
        self.scanner.show_properties(state.properties)
        self.scanner.setVisible(bool(state.properties))

    def show_view(self, view: InView) -> None:
        """Show what is in view."""
        self.overview.show_view(view.region, view.centre)
        if IN_VIEW in self.values:
            self.values[IN_VIEW].setText(magnification(view.magnification))

    def show_pictures(self, pictures: Pictures) -> None:
        """Show the overview and the pictures of the glass as far as they were read."""
        self.overview.show_picture(pictures.overview, "Reading …")
        self.associated.show_pictures(pictures.associated)

    def _show_facts(self, facts: tuple[tuple[str, str], ...]) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            shown_before = item.widget()
            if shown_before is not None:
                shown_before.hide()  # deleted once the event loop runs, and drawn until then
                shown_before.deleteLater()
        self.values = {}
        for row, (name, value) in enumerate(facts):
            title, text = QLabel(name), TextLabel(value)
            if name == "Name":
                text.setToolTip(value)
            for column, label in enumerate((title, text)):
                self._grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignTop)
            self.values[name] = text

    def _lay_out(self) -> None:
        asking = QGridLayout(self._asking)
        asking.setContentsMargins(0, 0, 0, 0)
        asking.setColumnStretch(0, 1)
        asking.addWidget(QLabel(PIXEL_SIZE), 0, 0, 1, 2)
        asking.addWidget(self.pixel_size, 1, 0)
        asking.addWidget(self.give, 1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for widget in (
            self.slide,
            self.hint,
            self.overview,
            self.facts,
            self._asking,
            self.associated,
            self.scanner,
        ):
            layout.addWidget(widget)

    def _on_slide(self, index: int) -> None:
        name = self.slide.itemData(index)
        if name is not None:
            self.slide_chosen.emit(name)

    def _on_give(self) -> None:
        if self.pixel_size.value():
            self.pixel_size_given.emit(self.pixel_size.value())
