"""Reading the views of a tile: the tile itself and, for networks that want it, its context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import Cancelled, LumenError, first_line
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference.slide_watch import SlideWatch
from napari_lumen.models import View
from napari_lumen.slides import Slide
from napari_lumen.stain.colour_table import ColourTable

Views = tuple[npt.NDArray[np.uint8], ...]


@dataclass
class TileReader:
    """Reads tiles of a slide, each once more when it fails.

    Parameters
    ----------
    slide : Slide
    grid : Grid
        That tiles are windows of, at the mpp of the first view.
    views : sequence of View
        What the network eats. All views of a tile share its centre; what lies outside the slide is white.
    stain : ColourTable, optional
        Brings all views to the stain that the network was trained on.

    Attributes
    ----------
    failures : dict of Window to str
        Tiles that could not be read even the second time, and why.
    watch : SlideWatch
        Whether the slide is still there.
    """

    slide: Slide
    grid: Grid
    views: Sequence[View]
    stain: ColourTable | None = None
    failures: dict[Window, str] = field(default_factory=dict)
    watch: SlideWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = SlideWatch(self.slide, self.failures)

    def read(self, tile: Window) -> Views | None:
        """Return one (size, size, 3) uint8 array a view, or None when the tile cannot be read."""
        for attempt in (1, 2):
            try:
                views = tuple(self._view(tile, view) for view in self.views)
                return views if self.stain is None else tuple(map(self.stain.apply, views))
            except (Cancelled, MemoryError):
                raise
            except Exception as error:  # readers and codecs raise types of their own: one tile is bad
                if attempt == 2:
                    self.failures[tile] = (
                        str(error)
                        if isinstance(error, LumenError)
                        else f"{type(error).__name__}: {first_line(error)}"
                    )
        return None

    def _view(self, tile: Window, view: View) -> npt.NDArray[np.uint8]:
        if view is self.views[0]:
            return self.slide.read_grid(self.grid, tile)
        region = self.grid.region_of(tile)
        mpp = self.slide.require_mpp()
        step = (view.mpp / mpp[0], view.mpp / mpp[1])
        origin = (
            region.y + (region.height - view.size * step[0]) / 2,
            region.x + (region.width - view.size * step[1]) / 2,
        )
        return self.slide.read_grid(
            Grid((view.size, view.size), step, origin), Window(0, 0, view.size, view.size)
        )
