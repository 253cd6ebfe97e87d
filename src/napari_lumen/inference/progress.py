"""What a run tells while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["finding tissue", "running the model", "building the pyramid", "counting"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a run.

    Attributes
    ----------
    stage : str
        What is being done.
    done, total : int
        Tiles of the model's grid in the stage ``running the model``; steps otherwise.
    seconds_left : float or None
        Estimated until the end of the stage; None while too little is known.
    """

    stage: Stage
    done: int
    total: int
    seconds_left: float | None = None
