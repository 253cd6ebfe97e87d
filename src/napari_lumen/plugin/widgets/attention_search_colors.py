"""The colours and short names of the operations that an architecture search tries."""

from __future__ import annotations

from qtpy.QtGui import QColor

# Okabe and Ito's colours, which people who see few colours tell apart
_COLORS = {
    "zero": "#8a8a8a",
    "conv1": "#56b4e9",
    "conv3": "#0072b2",
    "conv5": "#009e73",
    "conv9": "#f0e442",
    "conv15": "#e69f00",
    "dilated3": "#d55e00",
    "dilated5": "#cc79a7",
}
_SHORT = {"conv": "c", "dilated": "d"}


def operation_color(operation: str) -> QColor:
    """Return the colour of an operation."""
    return QColor(_COLORS.get(operation, _COLORS["zero"]))


def ink_on(color: QColor) -> QColor:
    """Return black or white, whichever can be read on a colour."""
    return QColor("black" if color.lightnessF() > 0.42 else "white")


def short_name(operation: str) -> str:
    """Return e.g. ``c3`` for ``conv3``, ``d5`` for ``dilated5``; a dash for none."""
    if operation == "zero":
        return "–"
    for name, short in _SHORT.items():
        operation = operation.replace(name, short)
    return operation
