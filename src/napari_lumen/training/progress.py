"""What a training tells while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Event = Literal["step", "validated", "phase"]


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """One event of a training.

    Attributes
    ----------
    event : {"step", "validated", "phase"}
        A step was made; an epoch was validated; a phase begins.
    phase : str
    epoch, epochs : int
        Of the phase, from 0.
    step, steps : int
        Steps made in this epoch, and all of it.
    values : mapping of str to float
        Losses of the step, or scores of the epoch.
    is_best : bool
        Whether this epoch is the best so far.
    seconds_left : float or None
        Estimated until the end of the phase; None while too little is known.
    waited : float
        Share of this session's time that steps waited for their examples, 0 to 1.
    """

    event: Event
    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    values: Mapping[str, float] = field(default_factory=dict)
    is_best: bool = False
    seconds_left: float | None = None
    waited: float = 0.0
