"""Held-out images with what the network makes of them, beside what is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_lumen.plugin.widgets.associated import FittedPicture
from napari_lumen.plugin.widgets.controls import TextLabel

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import Color
    from napari_lumen.training.samples import Sample

_SIDE = 160  # px of the screen at most; two of them are as wide as the panel lets them
_OPAQUE = 0.35  # of the colour over a class
_IGNORE = 255


class TrainingSamples(QWidget):
    """A row for each image: what is true on the left, what the network says on the right."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        for column in (0, 1):
            self._grid.setColumnStretch(column, 1)
        self._shown: Sequence[Sample] = ()
        self.setVisible(False)

    def show_samples(self, samples: Sequence[Sample], colors: Mapping[int, Color]) -> None:
        """Show images.

        Parameters
        ----------
        samples : sequence of Sample
        colors : mapping of int to Color
            Of the values of label images.
        """
        if samples is self._shown:
            return
        self._shown = samples
        while (item := self._grid.takeAt(0)) is not None:
            shown_before = item.widget()
            if shown_before is not None:
                shown_before.deleteLater()
        self.setVisible(bool(samples))
        if not samples:
            return
        pixels = samples[0].predicted is not None
        for column, title in enumerate(("As labelled", "As the model says") if pixels else ("Held out", "")):
            self._grid.addWidget(TextLabel(title), 0, column)
        for row, sample in enumerate(samples, start=1):
            self._grid.addWidget(_picture(sample, sample.truth, colors), row, 0)
            if pixels:
                self._grid.addWidget(_picture(sample, sample.predicted, colors), row, 1)
            else:
                self._grid.addWidget(TextLabel(sample.said), row, 1)


def _picture(
    sample: Sample, labels: npt.NDArray[np.uint8] | None, colors: Mapping[int, Color]
) -> FittedPicture:
    image = np.ascontiguousarray(sample.image if labels is None else _painted(sample.image, labels, colors))
    height, width = image.shape[:2]
    picture = QImage(image.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    shown = FittedPicture()
    shown.setToolTip(sample.name)
    shown.show_pixmap(
        QPixmap.fromImage(picture).scaled(
            _SIDE, _SIDE, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
    )
    return shown


def _painted(
    image: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], colors: Mapping[int, Color]
) -> npt.NDArray[np.uint8]:
    """Return the image with the classes over it: clear inside, full at their edges; grey without a label."""
    out = image.astype(np.float32)
    for value, color in colors.items():
        inside = labels == value
        edge = inside & ~(
            np.roll(inside, 1, 0) & np.roll(inside, -1, 0) & np.roll(inside, 1, 1) & np.roll(inside, -1, 1)
        )
        out[inside] = (1 - _OPAQUE) * out[inside] + _OPAQUE * np.array(color, np.float32)
        out[edge] = color
    unknown = labels == _IGNORE
    out[unknown] = 0.5 * out[unknown] + 64
    return out.astype(np.uint8)
