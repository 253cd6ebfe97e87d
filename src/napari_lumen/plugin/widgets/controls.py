"""Controls that our forms share."""

from __future__ import annotations

import math

from qtpy.QtCore import QSignalBlocker, QSize, QSizeF, Qt
from qtpy.QtGui import QTextOption, QWheelEvent
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QFrame, QListWidget, QSizePolicy, QTextEdit

PIXEL_SIZE = "Pixel size (µm/px)"  # what stands beside the box for it
_LARGEST_PIXEL = 100.0  # µm
_NARROW = 60  # px
_MARGIN = 2  # px
_LIST_ROWS = 6


def pixel_size_box() -> QDoubleSpinBox:
    """Return a box for the pixel size (µm/px) of a slide whose file states none; 0 stands for unknown."""
    box = QDoubleSpinBox()
    box.setDecimals(4)
    box.setRange(0.0, _LARGEST_PIXEL)
    box.setSingleStep(0.01)
    box.setSpecialValueText("unknown")
    box.setToolTip("The file does not state how large a pixel is. Typical: 0.25 µm at 40x, 0.5 µm at 20x.")
    return box


def choice_box(tip: str) -> QComboBox:
    """Return a drop-down list that never widens its panel."""
    box = QComboBox()
    box.setToolTip(tip)
    # a long file name must not widen the dock and push the canvas away
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


def short_list() -> QListWidget:
    """Return a list of six rows, which are cut at the right rather than scrolled."""
    rows = QListWidget()
    rows.setFixedHeight(_LIST_ROWS * rows.fontMetrics().height() + 2 * _LIST_ROWS)
    rows.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    rows.setTextElideMode(Qt.TextElideMode.ElideRight)
    return rows


def fill(box: QComboBox, items: list[tuple[str, object]], chosen: object, empty: str) -> None:
    """Show items (text, value) and the chosen one, touching the box only where it differs."""
    items = items or [(empty, None)]
    with QSignalBlocker(box):
        if [(box.itemText(index), box.itemData(index)) for index in range(box.count())] != items:
            box.clear()
            for text, value in items:
                box.addItem(text, value)
        values = [value for _, value in items]
        box.setCurrentIndex(values.index(chosen) if chosen in values else 0)


class TextLabel(QTextEdit):
    """Plain text as high as it is, which can be copied; it wraps, and breaks words that are too long.

    A QLabel never breaks a word: a file named by 64 hexadecimal digits would widen its panel.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setStyleSheet("background: transparent; border: none; padding: 0; margin: 0;")
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        document = self.document()
        assert document is not None
        layout = document.documentLayout()
        assert layout is not None
        document.setDocumentMargin(_MARGIN)
        layout.documentSizeChanged.connect(self._on_size)
        self.setText(text)

    def setText(self, text: str | None) -> None:  # noqa: N802  # as of QLabel
        """Show a text."""
        if text != self.text():
            self.setPlainText(text)

    def text(self) -> str:
        """Return what is shown."""
        return self.toPlainText()

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Ask for no more width than there is."""
        return QSize(_NARROW, self.height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Take any width: words break."""
        return QSize(_NARROW, self.height())

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802  # Qt's name
        """Leave the wheel to the panel."""
        if event is not None:
            event.ignore()

    def _on_size(self, size: QSizeF) -> None:
        self.setFixedHeight(math.ceil(size.height()))
