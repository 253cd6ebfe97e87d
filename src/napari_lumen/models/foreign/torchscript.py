"""Plain TorchScript: a program `NAME.pt` or `NAME.ts`, and beside it `NAME.json` that says what it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from napari_lumen.errors import ModelError
from napari_lumen.models.foreign.adapter import (
    Adapter,
    ForeignModel,
    default_overlap,
    is_file,
    make_card,
    read_json,
)
from napari_lumen.models.foreign.network import Channels
from napari_lumen.models.foreign.sidecar import Sidecar

_SUFFIXES = (".pt", ".ts")


class ScriptSidecar(Sidecar):
    """What must stand beside a TorchScript program, which says nothing of itself.

    ``mpp``, ``tile``, ``task``, ``activation`` and ``classes`` are needed, e.g. ``{"mpp": 0.5, "tile": 256,
    "task": "segmentation", "activation": "softmax", "classes": ["background", "gland"]}``.
    """

    tile: int = Field(gt=0, le=8192, description="Side of a square tile, px.")
    task: Literal["segmentation", "classification"] = Field(
        description="A class for each pixel, or for each tile."
    )
    activation: Literal["sigmoid", "softmax", "none"] = Field(
        description="What turns the answer to probabilities; none when it is those already."
    )
    classes: tuple[str, ...] = Field(min_length=1, description="Names of the network's channels.")
    input: int | None = Field(
        default=None, gt=0, le=8192, description="Side that tiles are resized to for the network, px."
    )


class TorchScript(Adapter):
    """Brings in TorchScript programs: a file, or a folder that holds one with its sidecar."""

    kind: ClassVar[str] = "TorchScript"
    danger: ClassVar[str] = "TorchScript"

    def knows(self, path: Path) -> bool:
        """Whether it is a .pt or .ts file, or a folder with one such file that has a sidecar."""
        return (path.suffix in _SUFFIXES and is_file(path)) or len(_programs(path)) == 1

    def read(self, path: Path) -> ForeignModel:
        """Read the sidecar."""
        program = path if is_file(path) else _programs(path)[0]
        file = program.with_suffix(".json")
        if not is_file(file):
            raise ModelError(
                f"{program} says nothing of itself: write {file.name} beside it, with mpp, tile, task, "
                "activation and classes."
            )
        told = read_json(file, ScriptSidecar, "description")
        channels = Channels.arrange(
            told.classes, told.task, None if told.activation == "none" else told.activation
        )
        overlap = default_overlap(told.task, told.tile) if told.overlap is None else told.overlap
        card = make_card(
            program,
            program,
            channels.classes,
            file,
            {
                "title": told.title,
                "summary": told.summary or f"TorchScript program that tells {', '.join(channels.classes)}.",
                "task": told.task,
                "architecture": "TorchScript",
                "activation": channels.activation,
                "input": {
                    "views": [{"size": told.tile, "mpp": told.mpp}],
                    "mean": told.mean or (0, 0, 0),
                    "std": told.std or (1, 1, 1),
                    "overlap": overlap,
                },
                "training": {"data": f"foreign: {told.data or 'unknown'}", "split": "unknown"},
                "licence": told.licence,
                "limits": told.limits,
            },
        )
        return ForeignModel(card, program, channels, told.input or told.tile)


def _programs(folder: Path) -> list[Path]:
    """Return the programs of a folder that have a sidecar."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  one that is no folder ends here, as do unreadable ones
    except (OSError, ValueError):  # a name with a NUL is not even asked for
        return []
    files = [folder / name for name in names]
    return [file for file in files if file.suffix in _SUFFIXES and is_file(file.with_suffix(".json"))]
