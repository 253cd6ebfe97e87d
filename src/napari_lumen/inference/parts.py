"""Dividing a run among workers: parts of whole blocks, so that no two workers write one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import accumulate

from napari_lumen.inference.plan import BLOCK, Cell, Plan

_TWICE = 0.05  # share of the tiles that may be computed twice, at the borders of parts

Block = tuple[int, int]
_Tiles = Mapping[Block, Set[int]]  # by block, the indices of the tiles that its cells wait for


@dataclass(frozen=True)
class Part:
    """Blocks of a run that one worker answers for.

    Attributes
    ----------
    plan : Plan
        That of the run, with the tiles that the cells wait for and no others.
    cells : tuple of (int, int)
        To be finished; all of the run's that are missing in these blocks.
    """

    plan: Plan
    cells: tuple[Cell, ...]


def block_of(cell: Cell) -> Block:
    """Return the row and column of the block that a cell is written with."""
    return cell[0] // BLOCK, cell[1] // BLOCK


def divide(plan: Plan, cells: Iterable[Cell], workers: int) -> list[Part]:
    """Divide what is missing of a run into parts of about equal work.

    A tile at the border of two parts goes through the network in both. There are as many parts as keep
    this below 5 % of the tiles, so that little is lost with a worker and none waits long for the last; but
    one for each worker, as far as there are blocks. The largest comes first: else the others would wait for
    the worker that had begun with it last.

    Parameters
    ----------
    plan : Plan
    cells : iterable of (int, int)
        Those that are missing.
    workers : int
        At least 1.
    """
    missing: dict[Block, list[Cell]] = {}
    for cell in cells:
        missing.setdefault(block_of(cell), []).append(cell)
    tiles = _tiles_by_block(plan, {cell for group in missing.values() for cell in group})
    wanted = len(set().union(*tiles.values()))
    chosen = _halved(list(tiles), tiles, workers)
    while len(chosen) < len(tiles):
        finer = _halved(list(tiles), tiles, 2 * len(chosen))
        if sum(len(_union(group, tiles)) for group in finer) > wanted * (1 + _TWICE):
            break
        chosen = finer
    return [
        Part(
            replace(plan, tiles=tuple(plan.tiles[index] for index in sorted(_union(group, tiles)))),
            tuple(cell for block in group for cell in missing[block]),
        )
        for group in sorted(chosen, key=lambda group: -len(_union(group, tiles)))
    ]


def _tiles_by_block(plan: Plan, missing: Set[Cell]) -> dict[Block, set[int]]:
    tiles: dict[Block, set[int]] = {}
    for index, tile in enumerate(plan.tiles):
        for cell in plan.cells_of(tile):
            if cell in missing:
                tiles.setdefault(block_of(cell), set()).add(index)
    return tiles


def _union(blocks: Iterable[Block], tiles: _Tiles) -> set[int]:
    return set().union(*(tiles[block] for block in blocks))


def _halved(blocks: Sequence[Block], tiles: _Tiles, count: int) -> list[Sequence[Block]]:
    """Cut blocks across their longer side, again and again, into `count` groups of about as many tiles."""
    if not blocks:
        return []
    if count <= 1 or len(blocks) == 1:
        return [blocks]
    rows, columns = ({block[axis] for block in blocks} for axis in (0, 1))
    across = 0 if max(rows) - min(rows) >= max(columns) - min(columns) else 1
    ordered = sorted(blocks, key=lambda block: (block[across], block[1 - across]))
    sizes = list(accumulate(len(tiles[block]) for block in ordered))
    first = count // 2
    goal = sizes[-1] * first / count
    cut = min(range(1, len(ordered)), key=lambda at: abs(sizes[at - 1] - goal))
    return [*_halved(ordered[:cut], tiles, first), *_halved(ordered[cut:], tiles, count - first)]
