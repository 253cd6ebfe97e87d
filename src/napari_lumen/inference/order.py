"""The order of a run: what the user looks at first, then outwards; else block by block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Region, Window
from napari_lumen.inference.plan import BLOCK, Cell, Plan

Focus = Callable[[], Region | None]


class Order:
    """Hands out the tiles of a plan, each once, cell by cell.

    Cells of one block come together, so that few blocks of the result are open at a time. With a focus,
    cells in it come first, the nearest to its centre before the others, then blocks from there outwards; a
    focus that moves changes what comes next.

    Parameters
    ----------
    plan : Plan
    cells : iterable of (int, int)
        Cells that are to be finished; tiles that touch none of them are left out.
    focus : callable, optional
        Returns what is looked at, in level-0 px, or None; called each time tiles are taken.

    Attributes
    ----------
    total : int
        Tiles in all.
    """

    def __init__(self, plan: Plan, cells: Iterable[Cell], focus: Focus | None = None) -> None:
        self._plan = plan
        self._focus = focus or (lambda: None)
        self._looked_at: Region | None = None
        self._tiles: dict[Cell, list[int]] = {cell: [] for cell in cells}
        taken = 0
        for index, tile in enumerate(plan.tiles):
            touched = [cell for cell in plan.cells_of(tile) if cell in self._tiles]
            taken += bool(touched)
            for cell in touched:
                self._tiles[cell].append(index)
        self.total = taken
        self._given: set[int] = set()
        self._queue = deque(self._sorted(None))

    def __bool__(self) -> bool:
        return len(self._given) < self.total

    def take(self, count: int) -> list[Window]:
        """Return the next tiles, at most `count`."""
        looked_at = self._focus()
        if looked_at != self._looked_at:
            self._looked_at = looked_at
            self._queue = deque(self._sorted(looked_at))
        found: list[Window] = []
        while self._queue and len(found) < count:
            for index in self._tiles[self._queue[0]]:
                if index not in self._given:
                    self._given.add(index)
                    found.append(self._plan.tiles[index])
                    if len(found) == count:
                        break
            else:
                self._queue.popleft()
        return found

    def _sorted(self, focus: Region | None) -> list[Cell]:
        """Return the cells that still have tiles to give, next first."""
        waiting = [cell for cell, tiles in self._tiles.items() if not self._given.issuperset(tiles)]
        if not waiting:
            return []
        cells = np.array(waiting)
        blocks = cells // BLOCK
        if focus is None:
            keys = [cells[:, 1], cells[:, 0], blocks[:, 1], blocks[:, 0]]
        else:
            grid = self._plan.grid
            step = np.array(grid.step) * self._plan.cell
            centre = np.array([focus.y + focus.height / 2, focus.x + focus.width / 2])
            middle = (centre - grid.origin) / step
            half = np.array([focus.height, focus.width]) / step / 2 + 0.5
            away = cells + 0.5 - middle
            seen = (np.abs(away) < half).all(axis=1)
            near = np.hypot(*away.T)
            of_block = np.hypot(*((blocks + 0.5) * BLOCK - middle).T)
            of_block[seen] = -1  # one block, whatever lies there
            blocks = np.where(seen[:, None], 0, blocks)
            keys = [near, blocks[:, 1], blocks[:, 0], of_block]
        order: npt.NDArray[np.intp] = np.lexsort(keys)
        return [waiting[index] for index in order]
