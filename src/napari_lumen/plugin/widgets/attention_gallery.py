"""The Gallery tool of the Attention panel: the strongest and weakest places as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from qtpy.QtCore import QSignalBlocker, QSize, Qt
from qtpy.QtGui import (
    QColor,
    QIcon,
    QImage,
    QKeyEvent,
    QPainter,
    QPixmap,
    QResizeEvent,
)
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QListView,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
)

from napari_lumen.plugin.controllers.attention_gallery import COUNTS, GalleryController, GalleryState
from napari_lumen.plugin.widgets.attention_tools import FollowingTool
from napari_lumen.plugin.widgets.controls import TextLabel, choice_box, fill

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_lumen.explain.ranking import Entry
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.panel import Closable

_SIDE, _BORDER = 68, 4  # px of the screen
_CELL = QSize(_SIDE + 2 * _BORDER + 4, _SIDE + 2 * _BORDER + 22)
_MOST_ROWS = 4  # in sight at once
_FRAME = 8  # px of the list around its pictures
_NO_CLASS, _EMPTY = (150, 150, 150), (225, 225, 225)
_ORDERS: list[tuple[str, object]] = [("Highest first", False), ("Lowest first", True)]
_STEPS = {Qt.Key.Key_Right: 1, Qt.Key.Key_Left: -1}


class Pictures(QListWidget):
    """Pictures in rows; the arrow to the right goes on to the next row at the end of one."""

    def __init__(self) -> None:
        super().__init__()
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(_SIDE + 2 * _BORDER, _SIDE + 2 * _BORDER))
        self.setGridSize(_CELL)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setToolTip("Click a picture to go there; the arrow keys go on to the next.")

    def fit_rows(self) -> None:
        """Be as high as the pictures need, up to four rows of them."""
        columns = max(1, (self.width() - _FRAME) // _CELL.width())
        rows = min(_MOST_ROWS, max(1, -(-self.count() // columns)))
        self.setFixedHeight(rows * _CELL.height() + _FRAME)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802  # Qt's name
        """Have more pictures in a row where there is room."""
        super().resizeEvent(event)
        self.fit_rows()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802  # Qt's name
        """Go to the next or the one before, across the ends of rows."""
        step = None if event is None else _STEPS.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
            return
        self.setCurrentRow(min(max(0, self.currentRow() + step), self.count() - 1))


class GalleryTool(FollowingTool):
    """What is ranked, the pictures, and saving them."""

    title: ClassVar[str] = "Gallery"
    tip: ClassVar[str] = "The places where the map is highest or lowest, as pictures."

    def __init__(self, controller: AttentionController) -> None:
        super().__init__(controller)
        self.controller = GalleryController(controller)
        self.kind = choice_box("What is ranked: tiles by the chosen map, or what the model has found.")
        self.order = choice_box("Which come first.")
        self.of_class = choice_box("Only what is mostly of one class, or all.")
        self.count = choice_box("How many.")
        self.heading, self.note = TextLabel(), TextLabel()
        self.pictures = Pictures()
        self.save_picture, self.save_table = QPushButton("Save picture …"), QPushButton("Save table …")
        self.save_picture.setToolTip("All pictures with their values, as PNG.")
        self.save_table.setToolTip("Values, classes and places in level-0 px and µm, as CSV.")
        self._entries: tuple[Entry, ...] = ()
        self._drawn = 0
        self._lay_out()
        self._connect()
        self._show(self.controller.state)

    def closables(self) -> tuple[Closable, ...]:
        """Return the controller of the gallery."""
        return (self.controller,)

    def watch(self, on: bool) -> None:
        """Follow the chosen map while the gallery is seen."""
        self.controller.watch(on)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.kind, 1)
        first.addWidget(self.order, 1)
        second.addWidget(self.of_class, 2)
        second.addWidget(self.count, 1)
        form.addRow("Show", first)
        form.addRow("Class", second)
        buttons = QHBoxLayout()
        buttons.addWidget(self.save_picture)
        buttons.addWidget(self.save_table)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        for widget in (self.heading, self.note, self.pictures):
            layout.addWidget(widget)
        layout.addLayout(buttons)

    def _connect(self) -> None:
        self.kind.activated.connect(self._on_kind)
        self.order.activated.connect(self._on_order)
        self.of_class.activated.connect(self._on_class)
        self.count.activated.connect(self._on_count)
        self.pictures.currentRowChanged.connect(self._on_row)
        self.pictures.itemClicked.connect(self._on_item)
        self.save_picture.clicked.connect(self._on_save_picture)
        self.save_table.clicked.connect(self._on_save_table)
        self.controller.changed.connect(self._show)

    def _show(self, state: GalleryState) -> None:
        fill(self.kind, [(title, key) for key, title in state.kinds], state.kind, "Nothing to rank")
        fill(self.order, _ORDERS, state.lowest, "")
        classes: list[tuple[str, object]] = [("All classes", None), *((name, name) for name in state.classes)]
        fill(self.of_class, classes, state.class_name, "")
        self.of_class.setEnabled(bool(state.classes))
        fill(self.count, [(f"{count}", count) for count in COUNTS], state.count, "")
        said = state.message
        if state.busy:
            said = (
                f"Reading {len(state.pictures)} of {len(state.entries)} …" if state.entries else "Looking …"
            )
        for label, text in (
            (self.heading, state.heading),
            (self.note, "\n".join(filter(None, (state.note, said)))),
        ):
            label.setText(text)
            label.setVisible(bool(text))
        self._show_entries(state)
        for button in (self.save_picture, self.save_table):
            button.setEnabled(state.complete)

    def _show_entries(self, state: GalleryState) -> None:
        """Show what has come since the last time."""
        if state.entries is not self._entries:
            self._entries, self._drawn = state.entries, 0
            with QSignalBlocker(self.pictures):
                self.pictures.clear()
                for entry in state.entries:
                    self.pictures.addItem(_item(entry))
            self.pictures.fit_rows()
        self.pictures.setVisible(bool(state.entries))
        for index in range(self._drawn, min(len(state.pictures), self.pictures.count())):
            item = self.pictures.item(index)
            if item is not None:
                item.setIcon(_framed(state.entries[index], state.pictures[index]))
                if state.pictures[index] is None:
                    item.setToolTip(f"{item.toolTip()}\nThe slide cannot be read here.")
        self._drawn = len(state.pictures)

    def _on_kind(self, index: int) -> None:
        if self.kind.itemData(index) is not None:
            self.controller.choose_kind(self.kind.itemData(index))

    def _on_order(self, index: int) -> None:
        self.controller.choose_order(self.order.itemData(index))

    def _on_class(self, index: int) -> None:
        self.controller.choose_class(self.of_class.itemData(index))

    def _on_count(self, index: int) -> None:
        self.controller.choose_count(self.count.itemData(index))

    def _on_row(self, row: int) -> None:
        if row >= 0:
            self.controller.go_to(row)

    def _on_item(self, item: QListWidgetItem) -> None:
        if self.pictures.row(item) == self.controller.state.at:  # clicked again: the view has moved since
            self.controller.go_to(self.pictures.row(item))

    def _on_save_picture(self) -> None:
        self._save("Save the gallery", "PNG (*.png)", ".png", self.controller.save_picture)

    def _on_save_table(self) -> None:
        self._save("Save the table", "CSV (*.csv)", ".csv", self.controller.save_table)

    def _save(self, title: str, kinds: str, suffix: str, save: Any) -> None:
        path, _ = QFileDialog.getSaveFileName(self, title, "", kinds)
        if path:
            save(Path(path if Path(path).suffix else path + suffix))


def _item(entry: Entry) -> QListWidgetItem:
    item = QListWidgetItem(entry.value_said)
    item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter)
    item.setToolTip(f"{entry.rank}. value {entry.value:.4g}\n{entry.class_name or 'no class'}")
    item.setIcon(_framed(entry, None))
    return item


def _framed(entry: Entry, picture: npt.NDArray[np.uint8] | None) -> QIcon:
    """Return a picture in a border of the colour of its class; grey until it is read."""
    side = _SIDE + 2 * _BORDER
    framed = QPixmap(side, side)
    framed.fill(QColor(*(entry.color or _NO_CLASS)))
    pen = QPainter(framed)
    if picture is None:
        pen.fillRect(_BORDER, _BORDER, _SIDE, _SIDE, QColor(*_EMPTY))
    else:
        height, width = picture.shape[:2]
        pixels = np.ascontiguousarray(picture).tobytes()  # held as long as Qt looks at them
        image = QImage(pixels, width, height, 3 * width, QImage.Format.Format_RGB888)
        pen.drawImage(
            _BORDER,
            _BORDER,
            image.scaled(
                _SIDE, _SIDE, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
            ),
        )
    pen.end()
    icon = QIcon(framed)
    icon.addPixmap(framed, QIcon.Mode.Selected)  # else Qt tints the one that is chosen
    return icon
