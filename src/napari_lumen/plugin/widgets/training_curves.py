"""Curves of a training that goes on: losses over its steps, and a score with that of the model before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph as pg  # type: ignore[import-untyped]
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_lumen.plugin.widgets.controls import TextLabel, choice_box

if TYPE_CHECKING:
    from napari_lumen.plugin.live_training import Curve, LiveTraining

_HEIGHT = 150  # px
_FEW = 20  # points of a curve, which then show as such
_LEAST_STEPS = 5  # that an axis spans
_COLORS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167))
_FIRST = ("dice", "dice pooled", "mean IoU", "accuracy", "loss")  # the score that is shown first
_GREY = (150, 150, 150)


class TrainingCurves(QWidget):
    """Losses, and one of the scores of the held-out images."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.losses = _plot()
        self.scores = _plot()
        self.score = choice_box("Which score of the held-out images is shown.")
        self.score.activated.connect(self._on_score)
        self._live: LiveTraining | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(TextLabel("Loss of what is learned from, by step"))
        layout.addWidget(self.losses)
        layout.addWidget(TextLabel("Score of what is held out, by step"))
        layout.addWidget(self.score)
        layout.addWidget(self.scores)

    def show_live(self, live: LiveTraining) -> None:
        """Show how a training stands."""
        self._live = live
        names = list(dict.fromkeys([*live.scores, *live.before]))
        before = self.score.currentData()
        chosen = before if before in names else next((name for name in _FIRST if name in names), None)
        with QSignalBlocker(self.score):
            if [self.score.itemData(index) for index in range(self.score.count())] != names:
                self.score.clear()
                for name in names:
                    self.score.addItem(name, name)
            if chosen is not None:
                self.score.setCurrentIndex(names.index(chosen))
        _draw(self.losses, dict(live.losses), points=False)
        self._draw_score()

    def _on_score(self, index: int) -> None:
        self._draw_score()

    def _draw_score(self) -> None:
        name = self.score.currentData()
        if self._live is None or name is None:
            return
        curve = self._live.scores.get(name)
        _draw(self.scores, {} if curve is None else {name: curve}, points=True)
        before = self._live.before.get(name)
        if before is not None:
            pen = pg.mkPen(_GREY, width=1, style=Qt.PenStyle.DashLine)
            options = {"position": 0.1, "color": _GREY, "anchors": [(0, 0), (0, 1)]}
            line = pg.InfiniteLine(before, angle=0, pen=pen, label="before", labelOpts=options)
            self.scores.addItem(line)


def _plot() -> pg.PlotWidget:
    plot = pg.PlotWidget(background=None)
    plot.setFixedHeight(_HEIGHT)
    plot.setMouseEnabled(x=False, y=False)
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.setLimits(minXRange=_LEAST_STEPS)
    plot.showGrid(x=False, y=True, alpha=0.25)
    for side in ("left", "bottom"):
        axis = plot.getAxis(side)
        axis.setPen(_GREY)
        axis.setTextPen(_GREY)
        axis.enableAutoSIPrefix(False)
    # the wheel belongs to the panel, which scrolls
    plot.wheelEvent = lambda event: event.ignore()
    return plot


def _draw(plot: pg.PlotWidget, curves: dict[str, Curve], *, points: bool) -> None:
    plot.clear()
    for number, (steps, values) in enumerate(curves.values()):
        points |= len(steps) < _FEW
        color = _COLORS[number % len(_COLORS)]
        dots = {"symbol": "o", "symbolSize": 5, "symbolBrush": color, "symbolPen": None} if points else {}
        plot.plot(list(steps), list(values), pen=pg.mkPen(color, width=2), **dots)
