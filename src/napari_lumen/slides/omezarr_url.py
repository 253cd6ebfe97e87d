"""OME-Zarr slides behind a URL: a server may be slow or fall silent, and nobody must stand still for it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import numpy as np

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Window
from napari_lumen.slides.cache import TileCache
from napari_lumen.slides.damage import Cell, greys_for, hatch
from napari_lumen.slides.fetches import Fetches
from napari_lumen.slides.omezarr import OmeZarrSlide
from napari_lumen.slides.slide import Pixels

_AT_ONCE = 16  # chunks on their way: a network is slow to answer, not to deliver


class OmeZarrUrlSlide(OmeZarrSlide):
    """An OME-Zarr image on a server, or wherever else fsspec gets at.

    Parameters
    ----------
    url : str
    cache : TileCache, optional
        As of `OmeZarrSlide`.
    """

    def __init__(self, url: str, cache: TileCache | None = None) -> None:
        super().__init__(url, cache)
        self.path = Path(unquote(url))  # its name is shown
        self._fetches = Fetches(self._name, lambda cell: self._tile(*cell), self.damage, _AT_ONCE)

    def close(self) -> None:
        """Stop fetching and free the cache."""
        super().close()
        self._fetches.close()

    def _read(self, level: int, window: Window) -> Pixels:
        cells, tiles = self._at_hand(level, window)
        tiles.update(self._fetches.get(cell for cell in cells if cell not in tiles))
        return self._joined(level, window, cells, tiles)

    def _read_now(self, level: int, window: Window) -> Pixels:
        cells, tiles = self._at_hand(level, window)
        tiles.update(self._fetches.get_in_time(cell for cell in cells if cell not in tiles))
        return self._joined(level, window, cells, tiles)

    def _at_hand(self, level: int, window: Window) -> tuple[dict[Cell, Window], dict[Cell, Pixels]]:
        """Return the part of a window in each cell, and the tiles that are in the cache."""
        if self._closed:
            raise SlideError(f"{self._name} is closed; open it again.")
        cells = {(level, row, column): part for row, column, part in self.levels[level].cells(window)}
        kept = {cell: self._cache.get(self._owner, cell) for cell in cells}
        return cells, {cell: tile for cell, tile in kept.items() if tile is not None}

    def _joined(
        self, level: int, window: Window, cells: dict[Cell, Window], tiles: dict[Cell, Pixels]
    ) -> Pixels:
        """Return a window made of its tiles; what is missing is hatched."""
        height, width = self.levels[level].tile
        greys = greys_for(self.samples, self.dtype, list(tiles.values())) if len(tiles) < len(cells) else None
        out = np.empty((window.height, window.width, self.samples), self.dtype)
        for (_, row, column), part in cells.items():
            target = Window(part.y - window.y, part.x - window.x, part.height, part.width)
            tile = tiles.get((level, row, column))
            if tile is not None:
                source = Window(part.y - row * height, part.x - column * width, part.height, part.width)
                out[target.slices] = tile[source.slices]
            elif greys is not None:
                out[target.slices] = hatch(part, greys)
        return out
