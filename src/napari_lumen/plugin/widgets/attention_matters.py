"""The Matters tool of the Attention panel: whether it matters where the map is high."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout

from napari_lumen.plugin.attention_matters_work import EFFORTS
from napari_lumen.plugin.controllers.attention_matters import MattersController, MattersState, verdict
from napari_lumen.plugin.widgets.attention_tools import Tool
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lumen.explain.coverage import Coverage
    from napari_lumen.explain.faithfulness import Curve
    from napari_lumen.plugin.attention_matters_work import Checked
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.panel import Closable

_HEIGHT = 160  # px of a plot
_STEPS = 1000  # of the bar
_MAP, _RANDOM = (86, 180, 233), (150, 150, 150)
_BASELINES: list[tuple[str, object]] = [("Blurred field", "blur"), ("Mean colour", "mean")]


class MattersTool(Tool):
    """What is checked, the curves, and the covered boxes."""

    title: ClassVar[str] = "Matters"
    tip: ClassVar[str] = "Whether what the map marks decides what the model says."

    def __init__(self, controller: AttentionController) -> None:
        super().__init__(controller)
        self.controller = MattersController(controller)
        self.what = TextLabel()
        self.of_class = choice_box("Whose probability is followed while cells are taken away.")
        self.effort = choice_box("More passes give finer curves and more random orders.")
        self.baseline = choice_box("What stands in the place of cells that are taken away.")
        self.check, self.cancel = QPushButton("Check"), QPushButton("Cancel")
        self.check.setToolTip(
            "Take away the cells of the field, the highest of the map first, and put them back in the same "
            "order; the same in random orders."
        )
        self.bar, self.said = QProgressBar(), TextLabel()
        self.key = QLabel(
            f'<span style="color: {_css(_MAP)}">■</span> by the map &nbsp; '
            f'<span style="color: {_css(_RANDOM)}">■</span> random orders'
        )
        self.titles = QLabel(), QLabel()
        self.plots = _plot("cells taken away (%)"), _plot("cells put back (%)")
        self.verdict = TextLabel()
        self.boxes = QPushButton("Count covered boxes")
        self.boxes.setToolTip(
            "Which share of the boxes around what is outlined by hand on the slide has at least half its "
            "area where the map is high: of a network that answers tile by tile, high in its tile."
        )
        self.covered = TextLabel()
        self._checked: Checked | None = None
        self._lay_out()
        self._connect()
        self._show(self.controller.state)

    def closables(self) -> tuple[Closable, ...]:
        """Return the controller of the checks."""
        return (self.controller,)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.addRow("Class", self.of_class)
        form.addRow("Effort", self.effort)
        form.addRow("In its place", self.baseline)
        buttons = QHBoxLayout()
        buttons.addWidget(self.check, 2)
        buttons.addWidget(self.cancel, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.what)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.said)
        layout.addWidget(self.verdict)
        layout.addWidget(self.key)
        for title, plot in zip(self.titles, self.plots, strict=True):
            title.setWordWrap(True)
            layout.addWidget(title)
            layout.addWidget(plot)
        layout.addWidget(self.boxes)
        layout.addWidget(self.covered)

    def _connect(self) -> None:
        self.of_class.activated.connect(self._on_class)
        self.effort.activated.connect(self._on_effort)
        self.baseline.activated.connect(self._on_baseline)
        self.check.clicked.connect(self._on_check)
        self.cancel.clicked.connect(self._on_cancel)
        self.boxes.clicked.connect(self._on_boxes)
        self.controller.changed.connect(self._show)

    def _show(self, state: MattersState) -> None:
        idle, there = not state.busy, bool(state.title)
        self.what.setText(
            f"{state.title}, {state.where}"
            if there
            else "Choose a map in the tree to check whether it matters."
        )
        classes: list[tuple[str, object]] = [
            ("The most probable", None),
            *((name, name) for name in state.classes),
        ]
        fill(self.of_class, classes, state.class_name, "")
        efforts: list[tuple[str, object]] = [
            (f"{item.title} ({item.passes} passes)", item.key) for item in EFFORTS
        ]
        fill(self.effort, efforts, state.effort, "")
        fill(self.baseline, _BASELINES, state.baseline, "")
        for control in (self.of_class, self.effort, self.baseline):
            control.setEnabled(idle and there)
        self.check.setEnabled(idle and there)
        self.boxes.setEnabled(idle and there)
        self.cancel.setEnabled(not idle and not state.cancelling)
        self.bar.setVisible(not idle)
        self.bar.setRange(0, 0 if state.done is None else _STEPS)
        self.bar.setValue(round((state.done or 0) * _STEPS))
        said = "Cancelling …" if state.cancelling else state.busy or state.message
        self.said.setText(said)
        self.said.setVisible(bool(said))
        self._show_checked(state.checked)
        self.covered.setText("" if state.coverage is None else _covered(state.coverage, state.covered_title))
        self.covered.setVisible(state.coverage is not None)

    def _show_checked(self, checked: Checked | None) -> None:
        for widget in (self.verdict, self.key, *self.titles, *self.plots):
            widget.setVisible(checked is not None)
        if checked is None or checked is self._checked:
            return
        self._checked = checked
        result, region, mpp = checked.result, checked.region, checked.mpp
        y, x = (region.y + region.height / 2) * mpp[0], (region.x + region.width / 2) * mpp[1]
        self.verdict.setText(
            f"{verdict(result)}\n{checked.title}, "
            f"field of {region.width * mpp[1]:,.0f} × {region.height * mpp[0]:,.0f} µm "
            f"at x {x:,.0f} µm, y {y:,.0f} µm."
        )
        for plot, title, name, curve, others, better in (
            (self.plots[0], self.titles[0], "Delete", result.deletion, result.random_deletion, "lower"),
            (self.plots[1], self.titles[1], "Insert", result.insertion, result.random_insertion, "higher"),
        ):
            mean = float(np.mean([other.area for other in others]))
            title.setText(f"{name}: area <b>{curve.area:.3f}</b>, random {mean:.3f} ({better} is better)")
            _draw(plot, curve, others)

    def _on_class(self, index: int) -> None:
        self.controller.choose_class(self.of_class.itemData(index))

    def _on_effort(self, index: int) -> None:
        self.controller.choose_effort(self.effort.itemData(index))

    def _on_baseline(self, index: int) -> None:
        self.controller.choose_baseline(self.baseline.itemData(index))

    def _on_check(self) -> None:
        self.controller.check()

    def _on_cancel(self) -> None:
        self.controller.cancel()

    def _on_boxes(self) -> None:
        self.controller.count_boxes()


def _plot(below: str) -> pg.PlotWidget:
    plot = pg.PlotWidget(background=None)
    plot.setFixedHeight(_HEIGHT)
    plot.setMouseEnabled(x=False, y=False)
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.showGrid(x=False, y=True, alpha=0.25)
    plot.getPlotItem().setContentsMargins(0, 6, 14, 6)
    plot.setXRange(0, 100, padding=0.04)
    plot.setYRange(0, 1, padding=0.12)  # room for the outermost labels
    plot.setLabel("bottom", below)
    plot.setLabel("left", "probability")
    ticks = {"left": (0, 0.5, 1), "bottom": (0, 25, 50, 75, 100)}
    for side, values in ticks.items():
        axis = plot.getAxis(side)
        axis.setTicks([[(value, f"{value:g}") for value in values]])
        axis.setStyle(hideOverlappingLabels=False)  # else the outermost go
        axis.setPen(_RANDOM)
        axis.setTextPen(_RANDOM)
        axis.enableAutoSIPrefix(False)
    # the wheel belongs to the panel, which scrolls
    plot.wheelEvent = lambda event: event.ignore()
    return plot


def _draw(plot: pg.PlotWidget, curve: Curve, others: Sequence[Curve]) -> None:
    plot.clear()
    for other in others:
        plot.plot(
            other.shares * 100, other.scores, pen=pg.mkPen(_RANDOM, width=1, style=Qt.PenStyle.DashLine)
        )
    plot.plot(
        curve.shares * 100,
        curve.scores,
        pen=pg.mkPen(_MAP, width=2),
        fillLevel=0,
        brush=(*_MAP, 50),  # the area that is told
    )


def _covered(found: Coverage, title: str) -> str:
    count, covered = len(found.shares), round(found.covered * len(found.shares))
    of = "each tile" if found.by_tile else "the map"
    return (
        f"Of {count} {'box' if count == 1 else 'boxes'}, {covered} ({found.covered * 100:.0f} %) lie by at "
        f"least half where {title} is above half-way from the lowest to the highest value of {of}. The paper "
        "of gated attention, which takes image by image, reports 72 % for its own network and boxes."
    )


def _css(color: tuple[int, int, int]) -> str:
    return "rgb({}, {}, {})".format(*color)
