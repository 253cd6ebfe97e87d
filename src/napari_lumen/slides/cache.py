"""A byte-bounded cache of decoded tiles."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

import numpy as np
import numpy.typing as npt


class TileCache:
    """Least recently used tiles up to a number of bytes; safe from many threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._size = 0
        self._tiles: OrderedDict[Hashable, npt.NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> npt.NDArray[np.uint8] | None:
        """Return a tile, now the most recently used, or None."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: Hashable, tile: npt.NDArray[np.uint8]) -> None:
        """Keep a tile and drop the least recently used beyond the capacity."""
        with self._lock:
            if key in self._tiles:
                return
            self._tiles[key] = tile
            self._size += tile.nbytes
            while self._size > self._capacity and self._tiles:
                _, dropped = self._tiles.popitem(last=False)
                self._size -= dropped.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._size

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._tiles.clear()
            self._size = 0
