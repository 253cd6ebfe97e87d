"""What can stand on either side of an evaluation."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy.typing as npt

from napari_lumen.comparison.whole_objects import Boxes
from napari_lumen.geometry import Grid, Window

Labels = npt.NDArray[Any]
Objects = Literal["areas", "numbers"]


class Source(Protocol):
    """One side of an evaluation."""

    @property
    def grid(self) -> Grid | None:
        """Its own pixels, or None where it has none and takes those of the other side."""

    def labels(self, grid: Grid, window: Window) -> Labels:
        """Return the label values (h, w) in a window of a grid."""

    def objects(self, grid: Grid, window: Window) -> Labels:
        """Return the numbers of the objects (h, w) in a window of a grid, 0 outside."""

    def boxes(self, grid: Grid) -> Boxes | None:
        """Return what says where objects lie; None where their numbers mean something in one window only."""
