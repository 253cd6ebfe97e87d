"""Label, macro and thumbnail; what may carry a patient's name is shown only after a click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap, QResizeEvent
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_lumen.plugin.widgets.overview import pixmap_of

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.slide_state import AssociatedPicture

_PRIVATE = "Label and macro may show a patient's name."


class Associated(QWidget):
    """A button for each picture, and the picture below it once it is asked for."""

    asked = Signal(str, bool)  # name, whether to show it

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._names: tuple[str, ...] = ()
        self.buttons: dict[str, QPushButton] = {}
        self.images: dict[str, FittedPicture] = {}

    def show_pictures(self, pictures: tuple[AssociatedPicture, ...]) -> None:
        """Show the pictures of a slide; hidden without any."""
        names = tuple(picture.name for picture in pictures)
        if names != self._names:
            self._rebuild(pictures)
        for picture in pictures:
            button, image = self.buttons[picture.name], self.images[picture.name]
            button.setChecked(picture.shown)
            button.setText(f"{'Hide' if picture.shown else 'Show'} {picture.name}")
            image.setVisible(picture.shown)
            if picture.image is not None:
                image.show_pixmap(pixmap_of(picture.image))
            else:
                image.show_text(picture.problem or "Reading …")
        self.setVisible(bool(pictures))

    def _rebuild(self, pictures: tuple[AssociatedPicture, ...]) -> None:
        self._names = tuple(picture.name for picture in pictures)
        self.buttons, self.images = {}, {}
        while (item := self._layout.takeAt(0)) is not None:
            shown_before = item.widget()
            if shown_before is not None:
                shown_before.hide()  # deleted once the event loop runs, and drawn until then
                shown_before.deleteLater()
        self._layout.addWidget(QLabel("<b>Pictures of the glass</b>"))
        if any(picture.private for picture in pictures):
            warning = QLabel(_PRIVATE)
            warning.setWordWrap(True)
            self._layout.addWidget(warning)
        for picture in pictures:
            button = _PictureButton(picture.name)
            button.toggled_by_user.connect(self.asked.emit)
            self.buttons[picture.name] = button
            self.images[picture.name] = FittedPicture()
            self._layout.addWidget(button)
            self._layout.addWidget(self.images[picture.name])


class _PictureButton(QPushButton):
    """A button that says which picture it is for."""

    toggled_by_user = Signal(str, bool)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.setCheckable(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # a name may be long
        self.clicked.connect(self._on_clicked)

    def _on_clicked(self, checked: bool) -> None:
        self.toggled_by_user.emit(self._name, checked)


class FittedPicture(QLabel):
    """A picture as wide as the panel, in proportion, or a line of text."""

    def __init__(self) -> None:
        super().__init__()
        self._pixmap: QPixmap | None = None
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_text(self, text: str) -> None:
        """Show a line of text."""
        self._pixmap = None
        self.setMinimumHeight(0)
        self.setMaximumHeight(16_777_215)
        self.setText(text)

    def show_pixmap(self, pixmap: QPixmap) -> None:
        """Show a picture."""
        self._pixmap = pixmap
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802  # Qt's name
        """Keep the picture as wide as the panel."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self._pixmap is None or self.width() < 2:
            return
        width = min(self.width(), self._pixmap.width())
        fitted = self._pixmap.scaledToWidth(width, Qt.TransformationMode.SmoothTransformation)
        self.setFixedHeight(fitted.height())
        self.setPixmap(fitted)
