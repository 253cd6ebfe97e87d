"""Windows of a slide with the tiles that cannot be decoded hatched, as a viewer and a run want them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Window
from napari_lumen.slides.damage import Damage, greys_for, hatch
from napari_lumen.slides.level import Level

Pixels = npt.NDArray[Any]
Read = Callable[[int, Window], Pixels]

_LOOK = 1024  # px: side of what is looked at for the greys that damage is hatched with


class MarkedReader:
    """Reads what can be decoded of a window and hatches the rest; the first of it is told of.

    It is handed how to read with each call: kept, that would tie the slide to itself, and one that is
    dropped without being closed would live on until the garbage is collected.

    Parameters
    ----------
    levels : sequence of Level
    samples : int
        Values per pixel.
    dtype : dtype
    damage : Damage
        Where the tiles that cannot be decoded are remembered.
    """

    def __init__(self, levels: Sequence[Level], samples: int, dtype: np.dtype[Any], damage: Damage) -> None:
        self._levels = levels
        self._samples = samples
        self._dtype = dtype
        self._damage = damage
        self._greys: Pixels | None = None

    def read(self, read: Read, level: int, window: Window) -> Pixels:
        """Return a window inside a level, (h, w, samples), by `read` of a level and a window inside it."""
        damage = self._damage
        cells = list(self._levels[level].cells(window))
        if not any((level, row, column) in damage for row, column, _ in cells):
            try:
                return read(level, window)
            except SlideError as error:
                damage.tell(error)
        out = np.empty((window.height, window.width, self._samples), self._dtype)
        for row, column, part in cells:
            place = Window(part.y - window.y, part.x - window.x, part.height, part.width)
            cell = (level, row, column)
            if cell not in damage:
                try:
                    out[place.slices] = read(level, part)
                    continue
                except SlideError as error:
                    damage.add(cell, error)
            if self._greys is None:
                self._greys = self._find_greys(read)
            out[place.slices] = hatch(part, self._greys)
        return out

    def _find_greys(self, read: Read) -> Pixels:
        """Return two greys for each sample, by the middle of the coarsest level."""
        seen = []
        if self._dtype != np.uint8:
            level = len(self._levels) - 1
            height, width = self._levels[level].shape
            middle = Window((height - _LOOK) // 2, (width - _LOOK) // 2, _LOOK, _LOOK)
            for _, _, part in self._levels[level].cells(middle.intersect(Window(0, 0, height, width))):
                with suppress(SlideError):
                    seen.append(read(level, part))
        return greys_for(self._samples, self._dtype, seen)
