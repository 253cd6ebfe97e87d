"""The Threshold tool of the Attention panel: a slider, the area above it, and annotations made of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
)

from napari_lumen.plugin.controllers.attention_threshold import ThresholdController
from napari_lumen.plugin.controllers.attention_threshold_state import ThresholdState
from napari_lumen.plugin.widgets.attention_tools import FollowingTool
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill
from napari_lumen.plugin.wording import area

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.panel import Closable

_STEPS = 1000  # of the slider
_FIGURES = 4  # of a value, across the range
_LARGEST_UM2 = 1e6


class ThresholdTool(FollowingTool):
    """Slider, value, area and share, the outline, and making annotations."""

    title: ClassVar[str] = "Threshold"
    tip: ClassVar[str] = "Outline where the map is high, with its area, and make annotations of it."

    def __init__(self, controller: AttentionController) -> None:
        super().__init__(controller)
        self.controller = ThresholdController(controller)
        self.heading = QLabel()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, _STEPS)
        self.slider.setToolTip("What is at least this counts as high.")
        self.value = QDoubleSpinBox()
        self.value.setKeyboardTracking(False)
        self.area, self.share, self.areas = QLabel(), QLabel(), QLabel()
        self.on = QCheckBox("Show the outline")
        self.smooth = QCheckBox("Smooth")
        self.smooth.setToolTip(
            "Let the outline run between the middles of the map's cells. Along their edges it encloses "
            "exactly the area that is told."
        )
        self.of_class = choice_box("What the annotations become.")
        self.least = QDoubleSpinBox()
        self.least.setRange(0, _LARGEST_UM2)
        self.least.setDecimals(0)
        self.least.setSingleStep(50)
        self.least.setSuffix(" µm²")
        self.least.setToolTip("Smaller areas become no annotations.")
        self.annotate = QPushButton("Make annotations")
        self.annotate.setToolTip("Add the outlines to the slide's annotations, with model and run.")
        self.said = TextLabel()
        self._lay_out()
        self._connect()
        self._show(self.controller.state)

    def closables(self) -> tuple[Closable, ...]:
        """Return the controller of the threshold."""
        return (self.controller,)

    def watch(self, on: bool) -> None:
        """Follow the chosen map while the threshold is seen."""
        self.controller.watch(on)

    def _lay_out(self) -> None:
        self.heading.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.slider, 1)
        row.addWidget(self.value)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self.areas.setToolTip("As many annotations it would make.")
        form.addRow("Area above", self.area)
        form.addRow("Of the tissue", self.share)
        form.addRow("Areas", self.areas)
        outline = QHBoxLayout()
        outline.addWidget(self.on)
        outline.addWidget(self.smooth)
        outline.addStretch(1)
        target = QFormLayout()
        target.setContentsMargins(0, 0, 0, 0)
        target.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        target.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        target.addRow("Class", self.of_class)
        target.addRow("Leave out below", self.least)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.heading)
        for part in (row, form, outline, target):
            layout.addLayout(part)
        layout.addWidget(self.annotate)
        layout.addWidget(self.said)

    def _connect(self) -> None:
        self.slider.valueChanged.connect(self._on_slider)
        self.value.valueChanged.connect(self._on_value)
        self.on.toggled.connect(self._on_shown)
        self.smooth.toggled.connect(self._on_smooth)
        self.of_class.activated.connect(self._on_class)
        self.least.valueChanged.connect(self._on_least)
        self.annotate.clicked.connect(self._on_annotate)
        self.controller.changed.connect(self._show)

    def _show(self, state: ThresholdState) -> None:
        there = state.limits is not None
        self.heading.setText(state.title)
        self.heading.setVisible(bool(state.title))
        for control in (self.slider, self.value, self.on, self.smooth, self.of_class, self.least):
            control.setEnabled(there)
        if state.limits is not None:
            self._show_threshold(state.limits, state.threshold)
        self.area.setText(area(state.area_mm2) if there else "–")
        self.share.setText(_share(state) if there else "–")
        self.areas.setText(_areas(state) if there else "–")
        for box, checked in ((self.on, state.on), (self.smooth, state.smooth)):
            with QSignalBlocker(box):
                box.setChecked(checked)
        classes: list[tuple[str, object]] = [("No class", None), *((name, name) for name in state.classes)]
        fill(self.of_class, classes, state.class_name, "")
        self.annotate.setEnabled(there and not state.busy)
        said = "\n".join(filter(None, (state.busy or state.message, state.note)))
        self.said.setText(said)
        self.said.setVisible(bool(said))

    def _show_threshold(self, limits: tuple[float, float], threshold: float) -> None:
        low, high = limits
        with QSignalBlocker(self.slider), QSignalBlocker(self.value):
            if not self.slider.isSliderDown():
                self.slider.setValue(round((threshold - low) / (high - low) * _STEPS))
            decimals = max(0, _FIGURES - 1 - math.floor(math.log10(high - low)))
            self.value.setDecimals(decimals)
            self.value.setRange(low, high)
            self.value.setSingleStep((high - low) / 100)
            if not self.value.hasFocus() or abs(self.value.value() - threshold) > 10**-decimals:
                self.value.setValue(threshold)

    def _on_slider(self, step: int) -> None:
        limits = self.controller.state.limits
        if limits is not None:
            self.controller.set_threshold(limits[0] + (limits[1] - limits[0]) * step / _STEPS)

    def _on_value(self, value: float) -> None:
        self.controller.set_threshold(value)

    def _on_shown(self, on: bool) -> None:
        self.controller.show_outline(on)

    def _on_smooth(self, on: bool) -> None:
        self.controller.smooth(on)

    def _on_class(self, index: int) -> None:
        self.controller.choose_class(self.of_class.itemData(index))

    def _on_least(self, value: float) -> None:
        self.controller.leave_out(value)

    def _on_annotate(self) -> None:
        self.controller.annotate()


def _areas(state: ThresholdState) -> str:
    if state.areas is None:
        return "–"
    return f"about {state.areas:,}" if state.about else f"{state.areas:,}"


def _share(state: ThresholdState) -> str:
    if math.isnan(state.share):
        return "looking for the tissue …" if state.busy else "not known"
    return f"{state.share * 100:.3g} % of {area(state.tissue_mm2)}"
