"""The genotype of NAS-SCAM: which operation stands on each edge of each attention cell.

What an architecture search finds, what a model card stores and what the rebuilt network is made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

POSITIONS = ("D1", "D2", "D3", "D4", "U1", "U2", "U3", "U4")
"""Ends of the four down-sampling and the four up-sampling blocks, in the order of the forward pass."""

EDGES = ("1-2", "1-3", "2-3", "1-4", "2-4", "3-4")
"""Edges of a cell, source and target node, in the order of genotypes and of tables of alphas."""

SAM_OPS = ("zero", "conv1", "conv3", "conv5", "dilated3", "dilated5")
"""2D operations of a spatial cell (Table 1): convolutions by kernel size, dilated ones with dilation 2."""

CAM_OPS = ("zero", "conv1", "conv3", "conv5", "conv9", "conv15", "dilated3", "dilated5")
"""1D operations of a channel cell (Table 1), over the sequence of channels."""

_OPS = {"sam": SAM_OPS, "cam": CAM_OPS}
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class ModuleGenotype(BaseModel):
    """Operations of the two cells at one position."""

    model_config = _FROZEN

    sam: tuple[str, ...] = Field(description="Operation on each edge of the spatial cell, in order of EDGES.")
    cam: tuple[str, ...] = Field(description="Operation on each edge of the channel cell, in order of EDGES.")

    @field_validator("sam", "cam")
    @classmethod
    def _one_operation_an_edge(cls, operations: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if len(operations) != len(EDGES):
            raise ValueError(
                f"needs {len(EDGES)} operations, one for each of the edges {', '.join(EDGES)}, "
                f"not {len(operations)}"
            )
        known = _OPS[info.field_name or ""]
        for edge, operation in zip(EDGES, operations, strict=True):
            if operation not in known:
                raise ValueError(f"edge {edge} has no operation {operation!r}; there is {', '.join(known)}")
        return operations

    def edges(self) -> dict[str, dict[str, str]]:
        """Return ``{"sam": {"1-2": "conv3", ...}, "cam": {...}}``."""
        return {
            "sam": dict(zip(EDGES, self.sam, strict=True)),
            "cam": dict(zip(EDGES, self.cam, strict=True)),
        }


class Genotype(BaseModel):
    """Operations of the spatial and the channel cell at all eight positions.

    Written to JSON by ``model_dump_json()`` or ``model_dump(mode="json")``, read by `read`:
    ``{"D1": {"sam": ["conv3", "zero", ...], "cam": ["conv9", ...]}, "D2": ..., "U4": ...}``, six
    operations a cell in order of `EDGES`.
    """

    model_config = _FROZEN

    D1: ModuleGenotype = Field(description="After the first down-sampling block.")
    D2: ModuleGenotype = Field(description="After the second down-sampling block.")
    D3: ModuleGenotype = Field(description="After the third down-sampling block.")
    D4: ModuleGenotype = Field(description="After the fourth down-sampling block.")
    U1: ModuleGenotype = Field(description="After the first up-sampling block.")
    U2: ModuleGenotype = Field(description="After the second up-sampling block.")
    U3: ModuleGenotype = Field(description="After the third up-sampling block.")
    U4: ModuleGenotype = Field(description="After the fourth up-sampling block.")

    @classmethod
    def read(cls, value: Genotype | Mapping[str, Any] | str) -> Genotype:
        """Return the genotype given as one, as the dictionary of its JSON, or as JSON text.

        Raises
        ------
        ValueError
            One sentence that names the position, the cell and the edge.
        """
        try:
            if isinstance(value, str):
                return cls.model_validate_json(value)
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(("genotype", *map(str, first["loc"])))
            raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error

    @classmethod
    def of_rows(cls, sam: Sequence[Sequence[str]], cam: Sequence[Sequence[str]]) -> Genotype:
        """Build from six operations for each position, or from one row that all positions share."""
        for cell, rows in (("sam", sam), ("cam", cam)):
            if len(rows) not in (1, len(POSITIONS)):
                raise ValueError(f"{cell} needs 1 row or {len(POSITIONS)}, not {len(rows)}")
        return cls.read(
            {
                position: {"sam": sam[index % len(sam)], "cam": cam[index % len(cam)]}
                for index, position in enumerate(POSITIONS)
            }
        )

    @classmethod
    def uniform(cls, sam: str, cam: str) -> Genotype:
        """Return the genotype with one operation on all edges of spatial, one on all of channel cells."""
        return cls.of_rows([[sam] * len(EDGES)], [[cam] * len(EDGES)])

    def __getitem__(self, position: str) -> ModuleGenotype:
        if position not in POSITIONS:
            raise KeyError(f"no position {position!r}; there is {', '.join(POSITIONS)}")
        module: ModuleGenotype = getattr(self, position)
        return module

    def edges(self) -> dict[str, dict[str, dict[str, str]]]:
        """Return the operation of each edge, ``edges["U4"]["sam"]["1-2"]``, for those who show it."""
        return {position: self[position].edges() for position in POSITIONS}
