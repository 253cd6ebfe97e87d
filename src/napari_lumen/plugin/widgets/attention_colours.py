"""The Colours tool of the Attention panel: colormap, opacity, gamma, and between which values colours run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QDoubleSpinBox, QFormLayout, QHBoxLayout, QLabel, QPushButton, QSlider, QWidget

from napari_lumen.plugin.widgets.attention_tools import Tool
from napari_lumen.plugin.widgets.controls import choice_box, fill

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.controllers.attention_state import AttentionState

COLORMAPS = ("attention", "viridis", "magma", "inferno", "turbo", "grey", "difference")
_MODES: list[tuple[str, object]] = [
    ("Percentiles", "percentile"),
    ("Lowest to highest", "min-max"),
    ("Range of the network", "range"),
]
_OVERS: list[tuple[str, object]] = [
    ("of the slide", "slide"),
    ("of the tile", "tile"),
    ("of the selection or view", "selection"),
]
_BETWEEN: list[tuple[str, object]] = [("Nearest: cells as they are", "nearest"), ("Linear", "linear")]
_STEPS, _STRONGEST = 100, 4.0  # of gamma: from 1/4 to 4, evenly in its logarithm


class ColoursTool(Tool):
    """How the shown map is drawn."""

    title: ClassVar[str] = "Colours"
    tip: ClassVar[str] = "Colormap, opacity, gamma, and between which values the colours run."

    def __init__(self, controller: AttentionController) -> None:
        super().__init__(controller)
        self.colormap = choice_box("Attention leaves tissue clear where the map is low.")
        self.opacity = _slider("How much of the tissue the map covers.")
        self.gamma = _slider("Below 1 low values stand out, above 1 high ones.")
        self.mode = choice_box("What the two ends of the colours are.")
        self.over = choice_box(
            "Whose values count: all, those of one tile, or of selected shapes or the view."
        )
        self.again = QPushButton("Again")
        self.again.setToolTip("Take the values of what is selected, or in view, now.")
        self.low, self.high = _percent(0.0), _percent(100.0)
        self.between = choice_box("What is shown between the middles of two cells.")
        self.opacity_said, self.gamma_said = QLabel(), QLabel()
        self._lay_out()
        self._connect()
        self._show(controller.state)

    def _show(self, state: AttentionState) -> None:
        look, run = state.look, state.source != "field"
        fill(self.colormap, [(name.capitalize(), name) for name in COLORMAPS], look.colormap, "")
        fill(self.mode, _MODES, look.mode, "")
        overs: list[tuple[str, object]] = _OVERS if run else [("of the field", look.over)]
        fill(self.over, overs, look.over, "")
        fill(self.between, _BETWEEN, look.interpolation, "")
        self.over.setEnabled(run)
        self.again.setVisible(run and look.over != "slide")
        for slider, value in ((self.opacity, look.opacity * _STEPS), (self.gamma, _step(look.gamma))):
            with QSignalBlocker(slider):
                slider.setValue(round(value))
        self.opacity_said.setText(f"{look.opacity:.2f}")
        self.gamma_said.setText(f"{look.gamma:.2f}")
        for box, value in ((self.low, look.low), (self.high, look.high)):
            with QSignalBlocker(box):
                box.setValue(value)
            box.setEnabled(look.mode == "percentile")

    def _lay_out(self) -> None:
        form = QFormLayout(self)
        form.setContentsMargins(0, 4, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.addRow("Colours", self.colormap)
        form.addRow("Opacity", _row(self.opacity, self.opacity_said))
        form.addRow("Gamma", _row(self.gamma, self.gamma_said))
        form.addRow("Contrast", self.mode)
        form.addRow("", _row(self.over, self.again))
        form.addRow("Percent", _row(self.low, QLabel("to"), self.high))
        form.addRow("Between", self.between)

    def _connect(self) -> None:
        self.attention.changed.connect(self._show)
        self.colormap.activated.connect(self._on_colormap)
        self.opacity.valueChanged.connect(self._on_opacity)
        self.gamma.valueChanged.connect(self._on_gamma)
        self.mode.activated.connect(self._on_mode)
        self.over.activated.connect(self._on_over)
        self.again.clicked.connect(self._on_again)
        self.low.valueChanged.connect(self._on_percent)
        self.high.valueChanged.connect(self._on_percent)
        self.between.activated.connect(self._on_between)

    def _on_colormap(self, index: int) -> None:
        self.attention.choose_look(colormap=self.colormap.itemData(index))

    def _on_opacity(self, value: int) -> None:
        self.attention.choose_look(opacity=value / _STEPS)

    def _on_gamma(self, value: int) -> None:
        self.attention.choose_look(gamma=round(_STRONGEST ** (2 * value / _STEPS - 1), 3))

    def _on_mode(self, index: int) -> None:
        self.attention.choose_look(mode=self.mode.itemData(index))

    def _on_over(self, index: int) -> None:
        self.attention.choose_look(over=self.over.itemData(index))

    def _on_again(self) -> None:
        self.attention.recolour()

    def _on_percent(self) -> None:
        low, high = self.low.value(), self.high.value()
        if low < high:
            self.attention.choose_look(low=low, high=high)

    def _on_between(self, index: int) -> None:
        self.attention.choose_look(interpolation=self.between.itemData(index))


def _step(gamma: float) -> float:
    return (math.log(gamma, _STRONGEST) + 1) / 2 * _STEPS


def _slider(tip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, _STEPS)
    slider.setToolTip(tip)
    return slider


def _percent(value: float) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0.0, 100.0)
    box.setDecimals(1)
    box.setSuffix(" %")
    box.setValue(value)
    box.setKeyboardTracking(False)
    return box


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for index, widget in enumerate(widgets):
        row.addWidget(widget, 1 if index == 0 or isinstance(widget, QDoubleSpinBox) else 0)
    return row
