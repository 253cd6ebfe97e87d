"""What the colours of a map stand for, and a list of its places that can be gone to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_lumen.plugin.widgets.controls import TextLabel
from napari_lumen.plugin.widgets.legend import Swatch
from napari_lumen.plugin.wording import area

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.comparison.error_map import ErrorMap, Mistake, WrongPlace
    from napari_lumen.geometry import Pair

_ROWS = 8
_FIRST = 3  # mistakes that are named


class PlacesList(QWidget):
    """A legend with areas, and where most of it lies; hidden until there is any.

    Parameters
    ----------
    title : str
        Over the legend.
    list_title, nothing : str
        Over the list, and where there is none.
    """

    place_clicked = Signal(int)

    def __init__(self, title: str, list_title: str, nothing: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.areas: dict[int, QLabel] = {}
        self.title = QLabel()
        self.list = QListWidget()
        self.list.setMinimumHeight(_ROWS * (2 * self.fontMetrics().height() + 6))
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setToolTip("Click to go there.")
        self._titles = list_title, nothing
        self._legend = QWidget()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(QLabel(f"<b>{title}</b>"))
        self._layout.addWidget(self._legend)
        self._layout.addWidget(self.title)
        self._layout.addWidget(self.list)
        self.list.itemClicked.connect(self._on_clicked)
        self.list.itemActivated.connect(self._on_clicked)
        self.setVisible(False)

    def show_map(
        self,
        kinds: ClassTable,
        found: ErrorMap,
        places: Sequence[WrongPlace],
        mpp: Pair,
        words: Callable[[Mistake], str],
    ) -> None:
        """Show a map.

        Parameters
        ----------
        kinds : ClassTable
            What its values stand for.
        found : ErrorMap
        places : sequence of WrongPlace
        mpp : (float, float)
            µm per level-0 pixel.
        words : callable
            Says what a mistake is, without its area.
        """

        def said(mistake: Mistake) -> str:
            return f"{words(mistake)}, {area(mistake.area_um2 / 1e6)}"

        self._show_legend(kinds, found)
        self.list.clear()
        for index, place in enumerate(places):
            first = "; ".join(map(said, place.mistakes[:_FIRST]))
            item = QListWidgetItem(f"{index + 1}. {_where(place, mpp)}\n{first}")
            item.setData(Qt.ItemDataRole.UserRole, index)
            item.setToolTip("\n".join(map(said, place.mistakes)))
            self.list.addItem(item)
        self.list.setVisible(bool(places))
        title, nothing = self._titles
        self.title.setText(f"<b>{title}</b>" if places else nothing)

    def _show_legend(self, kinds: ClassTable, found: ErrorMap) -> None:
        old, self._legend = self._legend, QWidget()
        self._layout.replaceWidget(old, self._legend)
        old.deleteLater()
        legend = QGridLayout(self._legend)
        legend.setContentsMargins(0, 4, 0, 0)
        legend.setColumnStretch(1, 1)
        self.areas = {item.value: QLabel(area(found.area_um2(item.value) / 1e6)) for item in kinds}
        for row, item in enumerate(kinds):
            legend.addWidget(Swatch(item.color), row, 0)
            legend.addWidget(TextLabel(item.name[:1].upper() + item.name[1:]), row, 1)
            legend.addWidget(self.areas[item.value], row, 2)

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self.place_clicked.emit(item.data(Qt.ItemDataRole.UserRole))


def _where(place: WrongPlace, mpp: Pair) -> str:
    region = place.region
    y, x = (region.y + region.height / 2) * mpp[0], (region.x + region.width / 2) * mpp[1]
    return f"at x {x:,.0f} µm, y {y:,.0f} µm"
