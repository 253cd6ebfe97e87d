"""NAS-SCAM: spatial and channel attention found by architecture search (Liu et al., MICCAI 2020).

A U-Net whose eight blocks are each followed by a spatial cell (NAS-SAM) and a channel cell (NAS-CAM).
The search network holds all operations of all cells and mixes them by coefficients that are learned; the
rebuilt network holds the operation that won on each edge. Equation numbers are those of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from napari_lumen.models.attention import mark_attention
from napari_lumen.models.genotype import CAM_OPS, EDGES, POSITIONS, SAM_OPS, Genotype
from napari_lumen.models.host_unet import HostUNet
from napari_lumen.models.nas_cells import ChannelCell, SpatialCell

_ALPHA_DEVIATION = 1e-3


class SCAM(nn.Module):
    """Spatial and channel joint attention module (section 2.1, Fig. 1).

    Parameters
    ----------
    channels : int
        Channels C of the features.
    mode : {"P", "S"}
        P, parallel: the elementwise maximum of the features weighted by the map (Eq. 1) and of those
        weighted by the gate (Eq. 3). S, serial: weighted by the map, then by the gate of the result.
    sam, cam : sequence of six sequences of str
        Operations on each edge of the two cells, see `Cell`.
    stride : int
        Of the recorded map.

    Notes
    -----
    Input and output (N, C, h, w).
    """

    def __init__(
        self,
        channels: int,
        mode: Literal["P", "S"],
        sam: tuple[tuple[str, ...], ...],
        cam: tuple[tuple[str, ...], ...],
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.sam = mark_attention(
            SpatialCell(channels, sam),
            "spatial",
            "Spatial weight map of the searched cell (NAS-SAM).",
            stride=stride,
        )
        self.cam = mark_attention(
            ChannelCell(cam), "channel", "Weight of each channel by the searched cell (NAS-CAM)."
        )

    def forward(self, x: Tensor, u_sam: Tensor | None = None, u_cam: Tensor | None = None) -> Tensor:
        """Weight the features; `u_sam` (6, 6) and `u_cam` (6, 8) are the coefficients during a search."""
        weighted: Tensor = self.sam(x, u_sam) * x
        gate: Tensor = self.cam(weighted if self.mode == "S" else x, u_cam)
        if self.mode == "S":
            return gate[:, :, None, None] * weighted
        return torch.maximum(weighted, gate[:, :, None, None] * x)


class Coefficients(nn.Module):
    """Coefficients of all operations on all edges: u, the softmax of alpha (Eq. 5).

    Parameters
    ----------
    sets : int
        Independent sets of alphas: 8 for a synchronous search (section 2.3), 1 shared by all positions.
    operations : int
        Operations that an edge chooses from.

    Attributes
    ----------
    alpha : Parameter (sets, 6, operations)
    """

    def __init__(self, sets: int, operations: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(_ALPHA_DEVIATION * torch.randn(sets, len(EDGES), operations))

    def forward(self) -> Tensor:
        """Return u (sets, 6, operations); each row sums to 1."""
        return self.alpha.softmax(dim=-1)


class NASSCAM(HostUNet):
    """NAS-SCAM: the search network, or the network rebuilt from a genotype.

    Parameters
    ----------
    mode : {"P", "S"}
        Parallel or serial attention, see `SCAM`.
    search : bool, optional
        Whether to hold all operations and alphas; by default, when no genotype is given.
    synchronous : bool
        Search each position on its own (section 2.3), or one cell of each kind for all positions.
    genotype : Genotype or mapping, optional
        Operations of the rebuilt network, as a `Genotype` or as the dictionary of its JSON, which is what
        model cards store.
    attention : {"nas_scam", "none"}
        ``none`` leaves the host U-Net, the first row of Table 2.
    classes, width : int
        See `HostUNet`.

    Notes
    -----
    Input (N, 3, H, W) in [0, 1], any H and W; output (N, classes, H, W) logits, a sigmoid for each class
    and none for the background. Batch normalisation in the cells needs more than one value a channel
    while training: one image must be larger than 16 px. ``torch.export.export`` works.

    Recorded, for each position D1 to D4 and U1 to U4: ``<position>.sam``, the spatial map, and
    ``<position>.cam``, the channel gate. While searching also the tables ``alpha_sam`` and ``alpha_cam``,
    the softmax of the alphas; `table_axes` names their axes.
    """

    def __init__(
        self,
        mode: Literal["P", "S"] = "P",
        search: bool | None = None,
        synchronous: bool = True,
        genotype: Genotype | Mapping[str, Any] | None = None,
        attention: Literal["nas_scam", "none"] = "nas_scam",
        classes: int = 4,
        width: int = 16,
    ) -> None:
        if mode not in ("P", "S"):
            raise ValueError(f"mode must be P (parallel) or S (serial), not {mode!r}")
        if attention not in ("nas_scam", "none"):
            raise ValueError(f"attention must be nas_scam or none, not {attention!r}")
        if attention == "none" and (search or genotype is not None):
            raise ValueError("attention is none, so there is nothing to search and no genotype to rebuild")
        if search and genotype is not None:
            raise ValueError("a genotype rebuilds a network that was searched: leave out search or genotype")
        if search is False and genotype is None and attention != "none":
            raise ValueError("a network that is not searched needs a genotype")
        found = None if genotype is None else Genotype.read(genotype)

        def module(position: str, channels: int, stride: int) -> SCAM:
            if found is None:
                return SCAM(channels, mode, (SAM_OPS,) * len(EDGES), (CAM_OPS,) * len(EDGES), stride)
            sam, cam = (tuple((op,) for op in cell) for cell in (found[position].sam, found[position].cam))
            return SCAM(channels, mode, sam, cam, stride)

        super().__init__(classes, width, None if attention == "none" else module)
        self._arguments: dict[str, Any] = {"mode": mode, "classes": classes, "width": width}
        self._genotype = found
        self.alpha_sam: Coefficients | None = None
        self.alpha_cam: Coefficients | None = None
        if attention == "nas_scam" and found is None:
            sets = len(POSITIONS) if synchronous else 1
            whose = "each position" if synchronous else "all positions"
            self.alpha_sam, self.alpha_cam = (
                mark_attention(
                    Coefficients(sets, len(operations)),
                    "table",
                    f"Coefficient of each operation on each edge of the {kind} cell, for {whose}.",
                )
                for kind, operations in (("spatial", SAM_OPS), ("channel", CAM_OPS))
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of images (N, 3, H, W) in [0, 1]."""
        if self.alpha_sam is None or self.alpha_cam is None:
            return super().forward(x)
        sets = [
            table.expand(len(POSITIONS), -1, -1).unbind() for table in (self.alpha_sam(), self.alpha_cam())
        ]
        coefficients = dict(zip(POSITIONS, zip(*sets, strict=True), strict=True))

        def attend(position: str, features: Tensor) -> Tensor:
            attended: Tensor = self.get_submodule(position)(features, *coefficients[position])
            return attended

        return self._segment(x, attend)

    def alphas(self) -> list[nn.Parameter]:
        """Return the parameters of the architecture, empty unless searching."""
        return [table.alpha for table in (self.alpha_sam, self.alpha_cam) if table is not None]

    def weights(self) -> list[nn.Parameter]:
        """Return all other parameters: w in the bilevel optimisation."""
        architecture = {id(alpha) for alpha in self.alphas()}
        return [parameter for parameter in self.parameters() if id(parameter) not in architecture]

    def genotype(self) -> Genotype:
        """Return the operation with the highest coefficient on each edge, or what this was rebuilt from.

        Raises
        ------
        ValueError
            For a network without attention.
        """
        if self._genotype is not None:
            return self._genotype
        if self.alpha_sam is None or self.alpha_cam is None:
            raise ValueError("a network without attention has no genotype")
        return Genotype.of_rows(_winners(self.alpha_sam, SAM_OPS), _winners(self.alpha_cam, CAM_OPS))

    def rebuilt(self, *, copy_weights: bool = False) -> NASSCAM:
        """Return the network of this one's genotype, on the CPU and in training mode.

        Its weights are new, as in the paper, or copies of those of the same operations here.
        """
        network = NASSCAM(genotype=self.genotype(), **self._arguments)
        if copy_weights:
            mine = self.state_dict()
            network.load_state_dict({name: mine[name] for name in network.state_dict()})
        return network

    def table_axes(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
        """Return, for each recorded table, the names along its axes: positions, edges, operations."""
        return {
            name: (
                POSITIONS if len(table.alpha) > 1 else (f"{POSITIONS[0]} to {POSITIONS[-1]}",),
                EDGES,
                operations,
            )
            for name, table, operations in (
                ("alpha_sam", self.alpha_sam, SAM_OPS),
                ("alpha_cam", self.alpha_cam, CAM_OPS),
            )
            if table is not None
        }


def _winners(table: Coefficients, operations: tuple[str, ...]) -> list[list[str]]:
    rows: list[list[int]] = table.alpha.argmax(dim=-1).tolist()
    return [[operations[index] for index in row] for row in rows]
