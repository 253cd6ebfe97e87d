"""The scores of an evaluation: over all classes, by class, and what was taken for what."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_lumen.evaluation.defined import ratio
from napari_lumen.plugin.widgets.controls import TextLabel

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import Color
    from napari_lumen.comparison import SlideEvaluation
    from napari_lumen.evaluation import Evaluation, Score

_BY_CLASS = (
    ("dice", "Dice"),
    ("iou", "IoU"),
    ("precision", "Prec."),
    ("recall", "Recall"),
    ("panoptic_quality", "PQ"),
)
_OVER_ALL = (("accuracy", "Accuracy"), ("kappa", "Kappa"), ("mean_iou", "Mean IoU"))
_BLUE = (33, 102, 172)  # as of the report
_LIGHT, _DARK = QColor(255, 255, 255), QColor(34, 34, 34)
_HALF = 0.55  # of a row: its blue needs light letters


class EvaluationTables(QWidget):
    """Shows one evaluation; hidden until there is one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.summary = TextLabel()
        self.classes = _table("Pooled over all pixels that count.")
        self.confusion = _table("Rows are the truth, columns what was found; shares of the row.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.summary)
        layout.addWidget(QLabel("<b>By class</b>"))
        layout.addWidget(self.classes)
        layout.addWidget(QLabel("<b>Confusion</b> (rows: truth, columns: run)"))
        layout.addWidget(self.confusion)
        self._shown: SlideEvaluation | None = None
        self.setVisible(False)

    def show_evaluation(self, outcome: SlideEvaluation | None) -> None:
        """Show an evaluation, or nothing."""
        self.setVisible(outcome is not None)
        if outcome is None or outcome is self._shown:
            return
        self._shown, found = outcome, outcome.evaluation
        pooled = {(score.name, score.class_name): score for score in found.scores if score.over == "pooled"}
        over_all = [
            f"{text} {_words(score)}"
            for name, text in _OVER_ALL
            if (score := pooled.get((name, "all classes"))) is not None
        ]
        self.summary.setText("\n".join([outcome.title, *over_all]))
        self._show_classes(found, pooled)
        self._show_confusion(found)

    def _show_classes(self, found: Evaluation, pooled: dict[tuple[str, str], Score]) -> None:
        scores = [(name, text) for name, text in _BY_CLASS if any(key == name for key, _ in pooled)]
        rows = [item for item in found.classes if item.value]
        table = self.classes
        table.setColumnCount(len(scores))
        table.setRowCount(len(rows))
        table.setHorizontalHeaderLabels([text for _, text in scores])
        for row, item in enumerate(rows):
            table.setVerticalHeaderItem(row, _head(item.name, item.color))
            for column, (name, _) in enumerate(scores):
                score = pooled.get((name, item.name))
                cell = _cell("–" if score is None or isnan(score.value) else f"{score.value:.3f}")
                if score is not None:
                    cell.setToolTip(f"{name.replace('_', ' ')} of {item.name}: {_words(score)}")
                table.setItem(row, column, cell)
        _fit(table)

    def _show_confusion(self, found: Evaluation) -> None:
        table, items = self.confusion, list(found.classes)
        shares = np.nan_to_num(ratio(found.confusion, found.confusion.sum(1, keepdims=True)))
        table.setColumnCount(len(items))
        table.setRowCount(len(items))
        table.setHorizontalHeaderLabels([item.name for item in items])
        for row, item in enumerate(items):
            table.setVerticalHeaderItem(row, _head(item.name, item.color))
            for column, other in enumerate(items):
                share, count = float(shares[row, column]), int(found.confusion[row, column])
                cell = _cell(f"{share:.1%}")
                cell.setToolTip(f"{count:,} pixels of {item.name} were found to be {other.name}")
                cell.setBackground(_mixed(share))
                cell.setForeground(_LIGHT if share > _HALF else _DARK)
                table.setItem(row, column, cell)
        _fit(table)


def _table(tip: str) -> QTableWidget:
    table = QTableWidget()
    table.setToolTip(tip)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    for header in (table.horizontalHeader(), table.verticalHeader()):
        if header is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    return table


def _fit(table: QTableWidget) -> None:
    """Make a table as high as its rows: the panel scrolls, not each table in it."""
    header, bar = table.horizontalHeader(), table.horizontalScrollBar()
    rows = sum(table.rowHeight(row) for row in range(table.rowCount()))
    heads = 0 if header is None else header.sizeHint().height()
    bars = 0 if bar is None else bar.sizeHint().height()
    table.setFixedHeight(rows + heads + bars + 2 * table.frameWidth())


def _head(name: str, color: Color) -> QTableWidgetItem:
    swatch = QPixmap(12, 12)
    swatch.fill(QColor(*color))
    return QTableWidgetItem(QIcon(swatch), name)


def _cell(text: str) -> QTableWidgetItem:
    cell = QTableWidgetItem(text)
    cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return cell


def _mixed(share: float) -> QColor:
    red, green, blue = (round(255 + (channel - 255) * share) for channel in _BLUE)
    return QColor(red, green, blue)


def _words(score: Score) -> str:
    if isnan(score.value):
        return "–"
    return f"{score.value:.3f}" + ("" if isnan(score.low) else f" ({score.low:.3f} to {score.high:.3f})")
