"""What a run tells while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Literal

from napari_lumen.errors import Cancelled

Stage = Literal[
    "waiting for workers",
    "finding tissue",
    "finding the stain",
    "running the model",
    "classifying the slide",
    "writing",
    "counting",
]


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


@dataclass
class Teller:
    """Tells progress, watches for cancel and keeps the time of each stage.

    Attributes
    ----------
    cancel : threading.Event
    seconds : dict of str to float
        Wall time by stage.
    """

    tell: Callable[[Progress], None]
    cancel: Event

    def __post_init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage: Stage | None = None
        self._since = time.monotonic()
        self._done_before = 0

    def __call__(self, stage: Stage, done: int, total: int) -> None:
        """Tell one step.

        Raises
        ------
        Cancelled
            When the user asked for it.
        """
        if self.cancel.is_set():
            raise Cancelled("The run was cancelled.")
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._since, self._done_before = stage, now, done
        spent, fresh = now - self._since, done - self._done_before
        self.seconds[stage] = round(spent, 3)
        left = spent / fresh * (total - done) if fresh > 0 and spent > 0.5 else None
        self.tell(Progress(stage, done, total, left))

    def stage_ended(self) -> None:
        """Keep the time of the stage up to now."""
        if self._stage is not None:
            self.seconds[self._stage] = round(time.monotonic() - self._since, 3)
