"""The legend: colours, names, counts and areas of the classes, and bars for the continuous maps."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_lumen.plugin.wording import area

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import Color
    from napari_lumen.inference.run import ClassCount, RunRecord
    from napari_lumen.plugin.layers import ColorScale

_COUNT_TIP = {
    "components": "Connected areas of at least {:g} µm². Objects that touch count as one.",
    "watershed": "Objects of at least {:g} µm². Those that touch are told apart where a neck shows.",
    "none": "This model finds areas, not objects.",
}
_CORRECTED_TIP = " With what people have corrected."
_BAR_HEIGHT = 12
_NARROW = 0.05  # a scale whose ends two digits would not tell apart


class Legend(QWidget):
    """Shows one run; hidden until there is one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._record: RunRecord | None = None
        self._table: QWidget | None = None
        self.setVisible(False)

    def show_run(self, record: RunRecord, scales: tuple[ColorScale, ...], slide: str) -> None:
        """Show the classes and maps of a run.

        Parameters
        ----------
        record : RunRecord
        scales : tuple of ColorScale
            Of the maps, in the order to show.
        slide : str
            Name of the slide.
        """
        while (item := self._layout.takeAt(0)) is not None:
            shown_before = item.widget()
            if shown_before is not None:
                shown_before.deleteLater()
        heading = QLabel(f"<b>{escape(record.model_title)}</b><br>{escape(slide)}")
        heading.setWordWrap(True)
        self._layout.addWidget(heading)
        self._record, self._table = record, _class_table(record, record.counts)
        self._layout.addWidget(self._table)
        for scale in scales:
            self._layout.addWidget(ScaleBar(scale))
        self.setVisible(True)

    def show_counts(self, counts: tuple[ClassCount, ...]) -> None:
        """Show other counts of the run: those with what people have corrected."""
        if self._record is None or self._table is None:
            return
        before, self._table = self._table, _class_table(self._record, counts)
        self._layout.replaceWidget(before, self._table)
        before.deleteLater()


class Swatch(QWidget):
    """A square of one colour."""

    def __init__(self, color: Color, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._color = QColor(*color)
        self.setFixedSize(14, 14)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Fill the square and give it a rim that shows on any theme."""
        painter = QPainter(self)
        painter.setBrush(self._color)
        painter.setPen(QColor(128, 128, 128))
        painter.drawRect(0, 0, 13, 13)


class ScaleBar(QWidget):
    """A continuous scale, drawn on white as it looks on glass, with its numbers."""

    def __init__(self, scale: ColorScale, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = _Gradient(scale)
        digits = 2 if scale.limits[1] - scale.limits[0] >= _NARROW else 4
        low, high = (QLabel(f"{value:.{digits}f}") for value in scale.limits)
        high.setAlignment(Qt.AlignmentFlag.AlignRight)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setVerticalSpacing(2)
        title = QLabel(scale.title[:1].upper() + scale.title[1:])
        title.setWordWrap(True)
        layout.addWidget(title, 0, 0, 1, 2)
        layout.addWidget(self._bar, 1, 0, 1, 2)
        layout.addWidget(low, 2, 0)
        layout.addWidget(high, 2, 1)


class _Gradient(QWidget):
    def __init__(self, scale: ColorScale) -> None:
        super().__init__()
        self._colors = scale.colors
        self.setFixedHeight(_BAR_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draw the colours over white."""
        painter = QPainter(self)
        rect = QRectF(0, 0, self.width(), self.height())
        painter.fillRect(rect, Qt.GlobalColor.white)
        gradient = QLinearGradient(rect.topLeft(), rect.topRight())
        for index, color in enumerate(self._colors):
            gradient.setColorAt(index / (len(self._colors) - 1), QColor.fromRgbF(*color))
        painter.fillRect(rect, gradient)


def _class_table(record: RunRecord, counts: tuple[ClassCount, ...]) -> QWidget:
    """Return a table: colour, class, objects, area; and the area that was looked at."""
    table = QWidget()
    grid = QGridLayout(table)
    grid.setContentsMargins(0, 4, 0, 0)
    grid.setColumnStretch(1, 1)
    tip = _COUNT_TIP[record.card.objects].format(record.min_object_um2)
    corrected = counts != record.counts  # not by a window in which nothing was changed
    tip += _CORRECTED_TIP if corrected else ""
    heading = "Class, corrected" if corrected else "Class"
    for column, text in ((1, heading), (2, "Count"), (3, "Area")):
        grid.addWidget(_cell(text, right=column > 1, tip=tip if column == 2 else ""), 0, column)
    for row, count in enumerate(counts, start=1):
        grid.addWidget(Swatch(record.classes[count.name].color), row, 0)
        grid.addWidget(_cell(count.name), row, 1)
        objects = "–" if count.objects is None else f"{count.objects:,}"
        grid.addWidget(_cell(objects, right=True, tip=tip), row, 2)
        grid.addWidget(_cell(area(count.area_mm2), right=True), row, 3)
    last = len(counts) + 1
    grid.addWidget(_cell("Analysed"), last, 1)
    grid.addWidget(_cell(area(record.analysed_mm2), right=True), last, 3)
    return table


def _cell(text: str, *, right: bool = False, tip: str = "") -> QLabel:
    label = QLabel(text)
    label.setToolTip(tip)
    if right:
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return label
