"""What a training looks like while it goes on, gathered on its thread: none of its scores may be dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from napari_lumen.training.progress import TrainingProgress
    from napari_lumen.training.samples import Sample

_MOST = 2000  # points of a curve that are shown
Curve = tuple[Sequence[float], Sequence[float]]  # steps, values


@dataclass(frozen=True, slots=True)
class LiveTraining:
    """A moment of a training.

    Attributes
    ----------
    phase : str
    epoch, epochs, step, steps : int
        Of the phase and of the epoch, as of `TrainingProgress`.
    losses, scores : mapping of str to Curve
        By name, over the steps of the whole training.
    before : mapping of str to float
        Scores of the model that the training began with.
    rates : mapping of str to float
    memory : int
        Resident set, bytes.
    seconds_left : float or None
        Of the phase.
    best : str
        Which epoch is the best so far, empty before there is one.
    samples : sequence of Sample
        Of the best validation of the phase, whose weights will be kept; of the latest before there is one.
    """

    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    losses: Mapping[str, Curve] = field(default_factory=dict)
    scores: Mapping[str, Curve] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    memory: int = 0
    seconds_left: float | None = None
    best: str = ""
    samples: Sequence[Sample] = ()


class Watch:
    """Gathers the events of a training.

    Parameters
    ----------
    curves : DataFrame, optional
        Of the sessions before, see `Training.curves`.
    """

    def __init__(self, curves: pd.DataFrame | None = None) -> None:
        self._losses: dict[str, tuple[list[float], list[float]]] = {}
        self._scores: dict[str, tuple[list[float], list[float]]] = {}
        self._before: Mapping[str, float] = {}
        self._samples: Sequence[Sample] = ()
        self._best = self._best_phase = ""
        self._at = 0  # steps made in all
        self._last: tuple[str, int, int] = ("", -1, 0)
        if curves is not None:
            for row in curves.itertuples():
                self._go_to(str(row.phase), int(row.epoch), int(row.step))
                if row.kind in ("loss", "score"):
                    kept = self._losses if row.kind == "loss" else self._scores
                    _add(kept, str(row.name), self._at, float(row.value))

    def note(self, event: TrainingProgress, memory: int) -> LiveTraining:
        """Take in an event and return how things look now."""
        if event.event == "started":
            self._before = event.values
        else:
            self._go_to(event.phase, event.epoch, event.step)
        if event.event in ("step", "validated"):
            kept = self._losses if event.event == "step" else self._scores
            for name, value in event.values.items():
                _add(kept, name, self._at, value)
        if event.event == "validated":
            if event.is_best or event.phase != self._best_phase:
                self._samples = event.samples
            if event.is_best:
                self._best, self._best_phase = f"epoch {event.epoch + 1} of {event.phase}", event.phase
        return LiveTraining(
            phase=event.phase,
            epoch=event.epoch,
            epochs=event.epochs,
            step=event.step,
            steps=event.steps,
            losses=_thinned(self._losses),
            scores=_thinned(self._scores),
            before=self._before,
            rates=event.rates,
            memory=memory,
            seconds_left=event.seconds_left,
            best=self._best,
            samples=self._samples,
        )

    def _go_to(self, phase: str, epoch: int, step: int) -> None:
        same = self._last[:2] == (phase, epoch)
        self._at += max(0, step - self._last[2]) if same else step
        self._last = (phase, epoch, step)


def _add(kept: dict[str, tuple[list[float], list[float]]], name: str, at: int, value: float) -> None:
    steps, values = kept.setdefault(name, ([], []))
    steps.append(at)
    values.append(value)


def _thinned(kept: Mapping[str, tuple[list[float], list[float]]]) -> dict[str, Curve]:
    found: dict[str, Curve] = {}
    for name, (steps, values) in kept.items():
        every = 1 + len(steps) // _MOST
        found[name] = steps[::-every][::-1], values[::-every][::-1]  # the newest is always there
    return found
