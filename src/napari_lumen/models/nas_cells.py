"""Cells of NAS-SCAM: directed graphs of four nodes that compute a spatial map or a channel gate (Fig. 2).

One class serves the search and the rebuilt network: an edge that holds all operations is mixed by their
coefficients (Eq. 4), an edge that holds one is that operation. The weights of a rebuilt cell have the
names that they have in the search cell. Equation and section numbers are those of the NAS-SCAM paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.genotype import EDGES
from napari_lumen.models.single_channel import convolve_to_one

_HIDDEN = 32  # channels of nodes 2 and 3 (section 2.2)
_GATE = 4  # the node that is the map or the gate
_ENDS = tuple((int(source), int(target)) for source, target in (edge.split("-") for edge in EDGES))
_EDGES_INTO_GATE = sum(target == _GATE for _, target in _ENDS)
_MOMENTUM = 0.1  # of the running statistics; torch's default
_RESTING = 0.5  # sigmoid(0): what a zero operation on an edge into the gate gives

# kernel size and dilation
_KERNELS = {
    "conv1": (1, 1),
    "conv3": (3, 1),
    "conv5": (5, 1),
    "conv9": (9, 1),
    "conv15": (15, 1),
    "dilated3": (3, 2),
    "dilated5": (5, 2),
}
_CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORMS: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


class Operation(nn.Module):
    """Convolution that keeps the size, batch normalisation and activation: one o of Eq. 4.

    Parameters
    ----------
    name : str
        One of `SAM_OPS` or `CAM_OPS` except ``zero``, which has no weights and needs no module.
    inputs, outputs : int
        Channels.
    dimensions : {1, 2}
        Spatial dimensions of the convolution.
    activation : {"relu", "sigmoid"}
        Sigmoid on the edges into node 4, ReLU on the others (section 2.2).
    """

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        dimensions: Literal[1, 2],
        activation: Literal["relu", "sigmoid"],
    ) -> None:
        super().__init__()
        size, dilation = _KERNELS[name]
        self.conv = _CONVOLUTIONS[dimensions](
            inputs, outputs, size, padding=dilation * (size // 2), dilation=dilation
        )
        self.norm = _NORMS[dimensions](outputs, momentum=_MOMENTUM)
        self.activation = activation

    def forward(self, x: Tensor, coefficient: Tensor | None = None) -> Tensor:
        """Return ``coefficient * o(x)``; (N, inputs, ...) to (N, outputs, ...) of the same size.

        `coefficient`, u in Eq. 4, is a scalar that is not negative; without it, 1.
        """
        if self.activation == "sigmoid":
            gate: Tensor = self.norm(convolve_to_one(x, self.conv)).sigmoid()
            return gate if coefficient is None else coefficient * gate
        y: Tensor = self.conv(x)
        # u relu(y) = relu(u y) for u >= 0: scaling the affine part saves a pass over the features
        y = self.norm(y) if coefficient is None else self._scaled_norm(y, coefficient)
        return F.relu(y, inplace=True)

    def _scaled_norm(self, y: Tensor, scale: Tensor) -> Tensor:
        norm = self.norm
        if self.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        return F.batch_norm(
            y,
            norm.running_mean,
            norm.running_var,
            norm.weight * scale,
            norm.bias * scale,
            self.training,
            _MOMENTUM,
            norm.eps,
        )


class Cell(nn.Module):
    """Search space between node 1, the input, and node 4, the gate (section 2.2, Fig. 2).

    Node j is the sum over all i < j of what edge i-j makes of node i (Eq. 6). The three sigmoids that
    meet in node 4 are divided by 3, so that the gate lies in (0, 1).

    Parameters
    ----------
    inputs : int
        Channels of node 1.
    operations : sequence of six sequences of str
        Operations on each edge, in order of `EDGES`: all of them for a search, one to rebuild.
    dimensions : {1, 2}

    Notes
    -----
    A zero operation is exactly 0 before its activation: nothing on an edge into nodes 2 and 3, 0.5 on
    one into node 4. It is not computed; nor are edges of a rebuilt cell that lead to no gate, which have
    no weights either.
    """

    def __init__(self, inputs: int, operations: Sequence[Sequence[str]], dimensions: Literal[1, 2]) -> None:
        super().__init__()
        widths = {1: inputs, 2: _HIDDEN, 3: _HIDDEN, _GATE: 1}
        self._used = _edges_that_reach_the_gate(operations)
        self._zeros = sum(
            tuple(names) == ("zero",)
            for (_, target), names in zip(_ENDS, operations, strict=True)
            if target == _GATE
        )
        for edge in self._used:
            source, target = _ENDS[edge]
            self.add_module(
                _edge_name(edge),
                nn.ModuleDict(
                    {
                        name: Operation(
                            name,
                            widths[source],
                            widths[target],
                            dimensions,
                            "sigmoid" if target == _GATE else "relu",
                        )
                        for name in operations[edge]
                        if name != "zero"
                    }
                ),
            )

    def forward(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        """Return the gate, (N, inputs, ...) to (N, 1, ...) in (0, 1).

        `u` (6, operations) are the coefficients of the operations on each edge (Eq. 5), zero first; a
        rebuilt cell takes none.
        """
        coefficients = None if u is None else [row.unbind()[1:] for row in u.unbind()]
        nodes = {1: x}
        for target, width in ((2, _HIDDEN), (3, _HIDDEN), (_GATE, 1)):
            incoming = [edge for edge in self._used if _ENDS[edge][1] == target]
            total = _sum(term for edge in incoming for term in self._terms(edge, nodes, coefficients))
            if total is not None:
                nodes[target] = total
            elif target == _GATE or any(_ENDS[edge][0] == target for edge in self._used):
                nodes[target] = x.new_zeros(x.shape[0], width, *x.shape[2:])
        resting = self._zeros if u is None else u[-_EDGES_INTO_GATE:, 0].sum()
        return (nodes[_GATE] + _RESTING * resting) / _EDGES_INTO_GATE

    def _terms(
        self, edge: int, nodes: dict[int, Tensor], coefficients: list[tuple[Tensor, ...]] | None
    ) -> Iterator[Tensor]:
        operations = self.get_submodule(_edge_name(edge)).children()
        source = nodes[_ENDS[edge][0]]
        if coefficients is None:
            yield from (operation(source) for operation in operations)
        else:
            for operation, coefficient in zip(operations, coefficients[edge], strict=True):
                yield operation(source, coefficient)


class SpatialCell(Cell):
    """NAS-SAM: the spatial weight map n of Eq. 1, by 2D operations.

    Parameters
    ----------
    channels : int
        Channels C of the features.
    operations
        See `Cell`.
    """

    def __init__(self, channels: int, operations: Sequence[Sequence[str]]) -> None:
        super().__init__(channels, operations, dimensions=2)

    def forward(self, features: Tensor, u: Tensor | None = None) -> Tensor:
        """Return the map, (N, C, h, w) to (N, 1, h, w) in (0, 1); `u` as in `Cell`."""
        return super().forward(features, u)


class ChannelCell(Cell):
    """NAS-CAM: the channel weights of Eq. 3, by 1D operations over the means of the channels (Eq. 2).

    The means are a sequence of C steps with one channel, so the weights do not depend on C.

    Parameters
    ----------
    operations
        See `Cell`.
    """

    def __init__(self, operations: Sequence[Sequence[str]]) -> None:
        super().__init__(1, operations, dimensions=1)

    def forward(self, features: Tensor, u: Tensor | None = None) -> Tensor:
        """Return the gate of each channel, (N, C, h, w) to (N, C) in (0, 1); `u` as in `Cell`."""
        means = features.mean(dim=(2, 3)).unsqueeze(1)
        return super().forward(means, u).squeeze(1)


def _edge_name(edge: int) -> str:
    return "edge{}{}".format(*_ENDS[edge])


def _edges_that_reach_the_gate(operations: Sequence[Sequence[str]]) -> tuple[int, ...]:
    reaching, used = {_GATE}, []
    for edge in sorted(range(len(_ENDS)), key=lambda edge: -_ENDS[edge][1]):
        source, target = _ENDS[edge]
        if target in reaching and any(name != "zero" for name in operations[edge]):
            used.append(edge)
            reaching.add(source)
    return tuple(sorted(used))


def _sum(terms: Iterable[Tensor]) -> Tensor | None:
    """Sum as the terms come; in place from the third on, since the first two may be kept for gradients."""
    total: Tensor | None = None
    owned = False
    for term in terms:
        if total is None:
            total = term
        elif owned:
            total.add_(term)
        else:
            total, owned = total + term, True
    return total
