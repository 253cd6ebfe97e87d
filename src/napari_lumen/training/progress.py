"""What a training tells while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from napari_lumen.training.samples import Sample

Event = Literal["started", "step", "validated", "phase"]


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """One event of a training.

    Attributes
    ----------
    event : {"started", "step", "validated", "phase"}
        The model that the training begins with was measured; a step was made; an epoch was validated; a
        phase begins.
    phase : str
    epoch, epochs : int
        Of the phase, from 0.
    step, steps : int
        Steps made in this epoch, and all of it.
    values : mapping of str to float
        Losses of the step, or scores of the epoch or of the model that the training begins with.
    rates : mapping of str to float
        Learning rates, by optimiser and group.
    samples : sequence of Sample
        After a validation, as many as the settings ask for.
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
    rates: Mapping[str, float] = field(default_factory=dict)
    samples: Sequence[Sample] = ()
    is_best: bool = False
    seconds_left: float | None = None
    waited: float = 0.0
