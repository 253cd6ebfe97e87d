"""The legend of the errors, and the list of the worst places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_lumen.evaluation.errors import ERRORS
from napari_lumen.plugin.widgets.legend import Swatch
from napari_lumen.plugin.wording import area

if TYPE_CHECKING:
    from napari_lumen.comparison import SlideEvaluation
    from napari_lumen.comparison.error_map import Mistake, WrongPlace
    from napari_lumen.geometry import Pair

_ROWS = 8
_FIRST = 3  # mistakes that are named


class EvaluationPlaces(QWidget):
    """What each colour of the error map stands for, and where most is wrong; hidden until there is any."""

    place_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.areas = {item.value: QLabel() for item in ERRORS}
        self.title = QLabel()
        self.list = QListWidget()
        self.list.setMinimumHeight(_ROWS * (2 * self.fontMetrics().height() + 6))
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setToolTip("Click to go there.")
        legend = QGridLayout()
        legend.setContentsMargins(0, 4, 0, 0)
        legend.setColumnStretch(1, 1)
        for row, item in enumerate(ERRORS):
            legend.addWidget(Swatch(item.color), row, 0)
            legend.addWidget(QLabel(item.name[:1].upper() + item.name[1:]), row, 1)
            legend.addWidget(self.areas[item.value], row, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("<b>Errors</b>"))
        layout.addLayout(legend)
        layout.addWidget(self.title)
        layout.addWidget(self.list)
        self._shown: SlideEvaluation | None = None
        self.list.itemClicked.connect(self._on_clicked)
        self.list.itemActivated.connect(self._on_clicked)
        self.setVisible(False)

    def show_result(self, found: SlideEvaluation | None) -> None:
        """Show the errors of an evaluation, or nothing."""
        self.setVisible(found is not None)
        if found is None or found is self._shown:
            return
        self._shown = found
        for value, label in self.areas.items():
            label.setText(area(found.errors.area_um2(value) / 1e6))
        self.list.clear()
        mpp = found.run.record.mpp
        for index, place in enumerate(found.places):
            item = QListWidgetItem(f"{index + 1}. {_where(place, mpp)}\n{_words(place)}")
            item.setData(Qt.ItemDataRole.UserRole, index)
            item.setToolTip("\n".join(map(_mistake, place.mistakes)))
            self.list.addItem(item)
        self.list.setVisible(bool(found.places))
        self.title.setText("<b>Worst places</b>" if found.places else "Nothing is wrong.")

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self.place_clicked.emit(item.data(Qt.ItemDataRole.UserRole))


def _words(place: WrongPlace) -> str:
    return ", ".join(map(_mistake, place.mistakes[:_FIRST]))


def _mistake(mistake: Mistake) -> str:
    size = area(mistake.area_um2 / 1e6)
    if not mistake.predicted:
        return f"{mistake.truth} missed, {size}"
    if not mistake.truth:
        return f"false {mistake.predicted}, {size}"
    return f"{mistake.truth} taken for {mistake.predicted}, {size}"


def _where(place: WrongPlace, mpp: Pair) -> str:
    region = place.region
    y, x = (region.y + region.height / 2) * mpp[0], (region.x + region.width / 2) * mpp[1]
    return f"at x {x:,.0f} µm, y {y:,.0f} µm"
