"""The Compare tool: two maps, how they are shown, and how far they agree."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.plugin.controllers.attention_compare import CompareController
from napari_lumen.plugin.controllers.attention_compare_state import CompareState, Shown, Side, Where, Which
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.widgets.attention_legend import MapLegend
from napari_lumen.plugin.widgets.attention_swipe import Swipe
from napari_lumen.plugin.widgets.attention_tools import Tool
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill
from napari_lumen.plugin.wording import area

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.controllers.attention_compare_state import Compared
    from napari_lumen.plugin.panel import Closable

_SIDES: tuple[tuple[Which, str], ...] = (("first", "First"), ("second", "Second"))
_WHERE: tuple[tuple[Where, str], ...] = (("all", "All that both cover"), ("view", "Current view"))
_SHOWN: tuple[tuple[Shown, str, str], ...] = (
    ("beside", "Side by side", "Both maps over the tissue, with one camera."),
    ("swipe", "Swipe", "One map over the other: drag the line on the slide."),
    ("difference", "Difference", "The first map less the second: red above nothing, blue below it."),
    ("none", "Off", "Back to the map that was shown before."),
)
_LABEL = 56  # px: both names, so that their lists begin at one place
_STEPS = 50  # of a threshold, from the lowest value to the highest


class CompareTool(Tool):
    """Shows a `CompareState`.

    Parameters
    ----------
    attention : AttentionController
    controller : CompareController, optional
        For tests; made here otherwise.
    """

    title: ClassVar[str] = "Compare"
    tip: ClassVar[str] = "Two maps or models side by side, with a swipe line, their difference and numbers."

    def __init__(self, attention: AttentionController, controller: CompareController | None = None) -> None:
        super().__init__(attention)
        self.controller = controller or CompareController(attention, Jobs())
        self.sides = {which: _SideBox(title) for which, title in _SIDES}
        self.where = choice_box("What part of the slide the numbers and the difference are of.")
        self.compare = QPushButton("Compare")
        self.status = TextLabel()
        self.buttons = QButtonGroup(self)
        self.how = QWidget()
        self.numbers = TextLabel()
        self.numbers.setToolTip("Over the cells of which both maps have a value.")
        self.thresholds = {which: _threshold_box() for which, _ in _SIDES}
        self.overlap = TextLabel()
        self.legends = (MapLegend(), MapLegend())
        self.results = QWidget()
        self._swipe: Swipe | None = None
        self._lay_out()
        self._connect()
        self.show_state(self.controller.state)

    def closables(self) -> tuple[Closable, ...]:
        """Return the controller, which must be closed with the panel."""
        return (self.controller,)

    @property
    def swipe(self) -> Swipe:
        """The line over the canvas."""
        if self._swipe is None:
            self._swipe = Swipe(self.attention.viewer)
        return self._swipe

    def show_state(self, state: CompareState) -> None:
        """Show a state; emits nothing."""
        idle = not state.busy
        sources: list[tuple[str, object]] = [(title, key) for key, title in state.sources]
        for which, _ in _SIDES:
            self.sides[which].show_side(sources, getattr(state, which), idle=idle)
        fill(self.where, [(text, value) for value, text in _WHERE], state.where, "")
        self.compare.setEnabled(idle and state.blocked is None)
        said = state.busy or state.message or state.blocked or ""
        self.status.setText(said)
        self.status.setVisible(bool(said))
        found = state.found
        self.results.setVisible(found is not None)
        for index, (how, _, _) in enumerate(_SHOWN):
            button = self.buttons.button(index)
            if button is not None:
                button.setChecked(how == state.shown)
        if found is not None:
            self._show_found(found, state)
        self._show_swipe(state)

    def _show_found(self, found: Compared, state: CompareState) -> None:
        agreement = found.agreement
        lines = [
            f"Pearson {_number(agreement.pearson)}, Spearman {_number(agreement.spearman)}",
            f"{found.cells:,} cells of {_step(found)}",
        ]
        if math.isnan(agreement.pearson):
            lines.append("No correlation: one of the maps is the same everywhere.")
        if found.note:
            lines.append(found.note)
        self.numbers.setText("\n".join(lines))
        for (which, _), value in zip(_SIDES, state.thresholds, strict=True):
            box = self.thresholds[which]
            with QSignalBlocker(box):
                low, high = found.range
                step = (high - low) / _STEPS
                box.setDecimals(max(2, 1 - math.floor(math.log10(step)))) if step > 0 else None
                box.setRange(low, high)
                box.setSingleStep(step)
                if not box.hasFocus() or abs(box.value() - value) > step / 2:
                    box.setValue(value)
        self.overlap.setText(_overlap_said(state))
        shown = (found.legends[2], None) if state.shown == "difference" else found.legends[:2]
        for legend, what in zip(self.legends, shown, strict=True):
            legend.show_legend(what)

    def _show_swipe(self, state: CompareState) -> None:
        pair = self.controller.pair
        if state.shown == "swipe" and len(pair) == 2 and state.found is not None:
            self.swipe.start(pair[0], pair[1], state.found.titles)
        elif self._swipe is not None:
            self._swipe.stop()

    def _lay_out(self) -> None:
        how = QHBoxLayout(self.how)
        how.setContentsMargins(0, 0, 0, 0)
        how.setSpacing(2)
        for index, (_, text, tip) in enumerate(_SHOWN):
            button = QPushButton(text)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
            self.buttons.addButton(button, index)
            how.addWidget(button)
        row = QHBoxLayout()
        row.addWidget(self.where, 1)
        row.addWidget(self.compare, 1)
        at = QGridLayout()
        at.setContentsMargins(0, 0, 0, 0)
        for column, (which, text) in enumerate(_SIDES):
            at.addWidget(QLabel(f"{text} is high from"), 0, column)
            at.addWidget(self.thresholds[which], 1, column)
            at.setColumnStretch(column, 1)
        inside = QVBoxLayout(self.results)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.how)
        inside.addWidget(self.numbers)
        inside.addLayout(at)
        inside.addWidget(self.overlap)
        for legend in self.legends:
            inside.addWidget(legend)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        for box in self.sides.values():
            layout.addWidget(box)
        layout.addLayout(row)
        layout.addWidget(self.status)
        layout.addWidget(self.results)

    def _connect(self) -> None:
        controller = self.controller
        for which, _ in _SIDES:
            box = self.sides[which]
            box.source.activated.connect(partial(self._on_source, which))
            box.map.activated.connect(partial(self._on_map, which))
            box.take.clicked.connect(partial(self._on_take, which))
            self.thresholds[which].valueChanged.connect(partial(controller.set_threshold, which))
        self.where.activated.connect(self._on_where)
        self.compare.clicked.connect(self._on_compare)
        self.buttons.idClicked.connect(self._on_how)
        controller.changed.connect(self.show_state)

    def _on_source(self, which: Which, index: int) -> None:
        key = self.sides[which].source.itemData(index)
        if key is not None:
            self.controller.choose_source(which, key)

    def _on_map(self, which: Which, index: int) -> None:
        name = self.sides[which].map.itemData(index)
        if name is not None:
            self.controller.choose_map(which, name)

    def _on_take(self, which: Which, checked: bool = False) -> None:
        self.controller.take_chosen(which)

    def _on_where(self, index: int) -> None:
        self.controller.choose_where(self.where.itemData(index))

    def _on_compare(self) -> None:
        self.controller.compare()

    def _on_how(self, index: int) -> None:
        self.controller.show(_SHOWN[index][0])


class _SideBox(QWidget):
    """Source and map of one side."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.source: QComboBox = choice_box("Whose map: a run that is shown, or a field that was explained.")
        self.map: QComboBox = choice_box("Which of its maps.")
        self.take = QPushButton("Shown")
        self.take.setToolTip("Take the map that is chosen in the tree.")
        label = QLabel(title)
        label.setMinimumWidth(_LABEL)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        grid.addWidget(label, 0, 0)
        grid.addWidget(self.source, 0, 1, 1, 2)
        grid.addWidget(self.map, 1, 1)
        grid.addWidget(self.take, 1, 2)
        grid.setColumnStretch(1, 1)

    def show_side(self, sources: list[tuple[str, object]], side: Side, *, idle: bool) -> None:
        """Show what is chosen; emits nothing."""
        fill(self.source, sources, side.source, "No run is shown, no field explained")
        fill(self.map, [(title, name) for name, title in side.names], side.name, "No map")
        for control in (self.source, self.map, self.take):
            control.setEnabled(idle)


def _threshold_box() -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setKeyboardTracking(False)
    box.setToolTip("A place counts as high from this value on.")
    return box


def _overlap_said(state: CompareState) -> str:
    """Return the overlap in words; areas in mm² or µm²."""
    found, overlap = state.found, state.overlap
    if found is None or overlap is None:
        return "Counting …"
    if math.isnan(overlap.dice):
        return "Neither map is that high anywhere: choose lower thresholds."
    first, second, both = (area(found.mm2(part)) for part in (overlap.first, overlap.second, overlap.both))
    return (
        f"Overlap: Dice {overlap.dice:.3f}, IoU {overlap.iou:.3f}\n"
        f"High in the first {first}, in the second {second}, in both {both}"
    )


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _step(found: Compared) -> str:
    y, x = (step * mpp for step, mpp in zip(found.agreement.grid.step, found.mpp, strict=True))
    return f"{x:.3g} × {y:.3g} µm"
