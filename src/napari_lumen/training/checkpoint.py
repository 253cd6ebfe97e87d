"""The state of a training between two steps, in one file that is there whole or not at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from napari_lumen.errors import RunError
from napari_lumen.holding import appearing


@dataclass
class Place:
    """Where a training stands: the step to make next, and the best epoch so far.

    Attributes
    ----------
    phase, epoch, step : int
        Of the next step, each from 0.
    best : float or None
        Score of the best epoch.
    best_phase, best_epoch : int or None
        Which it was.
    rows : int
        Rows of the learning curves.
    tables : dict of str to int
        Rows of each other table.
    seconds : float
        Time spent so far.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_phase: int | None = None
    best_epoch: int | None = None
    rows: int = 0
    tables: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def write_checkpoint(path: Path, place: Place, state: dict[str, Any]) -> None:
    """Write where the training stands, with the state of network and optimisers.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    with appearing(path) as partial:
        try:
            with partial.open("wb") as file:
                torch.save({"place": asdict(place), **state}, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # of a full disk, to which torch adds its own failure
                raise error.__context__ from None
            raise


def read_checkpoint(path: Path) -> tuple[Place, dict[str, Any]] | None:
    """Read a checkpoint; None where there is none.

    Raises
    ------
    RunError
        When the file is damaged.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return Place(**state.pop("place")), state
    except Exception as error:  # torch raises whatever its reader of archives does
        raise RunError(
            f"{path} is damaged, so the training cannot go on from it. Begin in another folder, or delete "
            "that file to begin there anew."
        ) from error
