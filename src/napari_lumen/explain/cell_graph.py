"""The cells of a genotype as graphs to draw.

NAS-SCAM (Liu et al., MICCAI 2020), section 2.2 and Fig. 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_lumen.explain.search_history import CellKind, SearchHistory, Weights
from napari_lumen.models.genotype import POSITIONS, Genotype

CELLS: dict[CellKind, str] = {"sam": "spatial cell", "cam": "channel cell"}
_GATE = 4
_POINTS = 17  # of a line that is drawn
_RISE = 0.55  # of a bow over the nodes that it passes, in distances of nodes


@dataclass(frozen=True)
class Node:
    """A node of a cell: 1 is its input, 4 the map or the gate."""

    number: int
    label: str
    x: float
    y: float


@dataclass(frozen=True)
class Edge:
    """An operation between two nodes of a cell.

    Attributes
    ----------
    source, target : int
        Nodes.
    operation : str
    weight : float or None
        Its softmax during a search.
    used : bool
        Whether it has a part in the gate; a zero operation has none, nor has what leads nowhere.
    points : tuple of (x, y)
        The line from node to node.
    label : (float, float)
        Where the operation is written, (x, y).
    """

    source: int
    target: int
    operation: str
    weight: float | None
    used: bool
    points: tuple[tuple[float, float], ...]
    label: tuple[float, float]


@dataclass(frozen=True)
class CellGraph:
    """One cell, to be drawn: x from 0 to 3, y upwards from -0.55 to 1.1.

    Attributes
    ----------
    position : str
    cell : {"sam", "cam"}
    title : str
    nodes : tuple of Node
    edges : tuple of Edge
        In the order of `EDGES`.
    """

    position: str
    cell: CellKind
    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def cell_graph(
    genotype: Genotype, position: str, cell: CellKind, weights: Weights | None = None
) -> CellGraph:
    """Lay a cell out in a row of nodes, with bows over those that an edge passes.

    Parameters
    ----------
    genotype : Genotype
    position : str
        D1 to U4.
    cell : {"sam", "cam"}
    weights : Weights, optional
        Of a search, whose last epoch gives each edge its weight.
    """
    operations = genotype[position].edges()[cell]
    reaching = _reaching(operations)
    ends = ("input", "", "", "map" if cell == "sam" else "gate")
    nodes = tuple(Node(number, ends[number - 1], float(number - 1), 0.0) for number in range(1, _GATE + 1))
    edges = []
    for index, (name, operation) in enumerate(operations.items()):
        source, target = (int(end) for end in name.split("-"))
        weight = None
        if weights is not None:
            weight = float(weights.values[-1, index, weights.operations.index(operation)])
        points, label = _line(source, target)
        used = operation != "zero" and target in reaching
        edges.append(Edge(source, target, operation, weight, used, points, label))
    return CellGraph(position, cell, f"{position}, {CELLS[cell]}", nodes, tuple(edges))


def cell_graphs(genotype: Genotype, history: SearchHistory | None = None) -> tuple[CellGraph, ...]:
    """Return the graphs of all positions side by side: spatial before channel, in order of the pass."""
    cells: tuple[CellKind, ...] = ("sam", "cam")
    return tuple(
        cell_graph(genotype, position, cell, None if history is None else history.of(position, cell))
        for position in POSITIONS
        for cell in cells
    )


def _reaching(operations: dict[str, str]) -> set[int]:
    """Return the nodes from which something reaches the gate."""
    reaching = {_GATE}
    for name, operation in sorted(operations.items(), key=lambda edge: -int(edge[0].split("-")[1])):
        source, target = (int(end) for end in name.split("-"))
        if operation != "zero" and target in reaching:
            reaching.add(source)
    return reaching


def _line(source: int, target: int) -> tuple[tuple[tuple[float, float], ...], tuple[float, float]]:
    """Return the points of an edge and the place of its label: straight to the next node, else a bow.

    1-3 and 2-4 would cross, so one goes above the row and the other below it.
    """
    span = target - source
    rise = (span - 1) * _RISE * (-1 if (source, target) == (2, _GATE) else 1)
    along = np.linspace(0, 1, _POINTS)
    x = source - 1 + along * span
    y = 4 * rise * along * (1 - along)
    points = tuple(zip(x.round(6).tolist(), y.round(6).tolist(), strict=True))
    return points, (float(x[_POINTS // 2]), float(rise))
