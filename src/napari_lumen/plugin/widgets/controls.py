"""Controls that our forms share."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QSizePolicy

_LARGEST_PIXEL = 100.0  # µm


def pixel_size_box() -> QDoubleSpinBox:
    """Return a box for the pixel size in µm of a slide whose file states none; 0 stands for unknown."""
    box = QDoubleSpinBox()
    box.setDecimals(4)
    box.setRange(0.0, _LARGEST_PIXEL)
    box.setSingleStep(0.01)
    box.setSpecialValueText("unknown")
    box.setSuffix(" µm")
    box.setToolTip("The file does not state how large a pixel is. Typical: 0.25 µm at 40x, 0.5 µm at 20x.")
    return box


def choice_box(tip: str) -> QComboBox:
    """Return a drop-down list that never widens its panel."""
    box = QComboBox()
    box.setToolTip(tip)
    # a long file name must not widen the dock and push the canvas away
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


def text_label() -> QLabel:
    """Return a label for plain text that wraps and can be copied."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


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
