"""Try a few steps of each phase of a training, to tell how long the whole of it takes."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import nn

from napari_lumen.training.feeding import Feeder, is_shared
from napari_lumen.training.memory import PeakMemory
from napari_lumen.training.phase import Draw, Phase
from napari_lumen.training.recipe import Plan
from napari_lumen.training.seeds import order_rng, step_seed
from napari_lumen.training.settings import Settings
from napari_lumen.training.turn import Turn

_PROBES = (0.0, 1.0, 0.5, 0.25, 0.75)  # epochs that are tried, of a phase: some do more in later ones
_PROBE_SECONDS, _PROBE_STEPS = 1.0, 8  # of each; at least two steps, the first of which warms up
_ENOUGH = 10.0  # seconds of a phase, after which only the first and the last epoch are tried
_VALIDATION_SECONDS, _LEAST_VALIDATED = 3.0, 3
_GREW = 1.5  # times as long, and a validation takes as long as it has images


@dataclass(frozen=True, slots=True)
class PhaseTrial:
    """What a phase will take.

    Attributes
    ----------
    name : str
    epochs, steps, validations : int
        Of the whole phase.
    begin_seconds : float
        Preparing it, which was done whole.
    step_seconds : float
        Of a step, a mean over its epochs.
    validation_seconds : float
        Of a validation.
    """

    name: str
    epochs: int
    steps: int
    validations: int
    begin_seconds: float
    step_seconds: float
    validation_seconds: float

    @property
    def seconds(self) -> float:
        """Of the whole phase."""
        steps, validations = self.steps * self.step_seconds, self.validations * self.validation_seconds
        return self.begin_seconds + steps + validations


@dataclass(frozen=True, slots=True)
class Trial:
    """What was measured.

    Attributes
    ----------
    phases : tuple of PhaseTrial
    weights : int
        Trained and other numbers of the network that a training keeps.
    memory : int
        Largest resident set of one process, bytes.
    gpu_memory : int or None
        Most that torch held on a GPU, bytes.
    """

    phases: tuple[PhaseTrial, ...]
    weights: int
    memory: int
    gpu_memory: int | None


def try_plan(plan: Plan, fabric: Fabric, settings: Settings, turn: Turn, seed: int) -> Trial:
    """Make a few steps of each phase and validate on a few images; nothing is written.

    The network of the plan has other weights afterwards.

    Raises
    ------
    Cancelled
        Within a step.
    RunError
        As in the training.
    """
    device = fabric.device
    network = turn.network
    gpus = [device.index or 0] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=gpus),
        PeakMemory(device) as memory,
        Feeder(seed, settings.workers_on(device)) as feeder,
    ):
        phases = tuple(
            _tried(number, phase, turn, feeder, fabric, seed) for number, phase in enumerate(plan.phases)
        )
    weights = sum(value.numel() for value in network.state_dict().values())
    return Trial(phases, weights, memory.peak, memory.gpu_peak)


def _tried(number: int, phase: Phase, turn: Turn, feeder: Feeder, fabric: Fabric, seed: int) -> PhaseTrial:
    turn.phase, turn.phase_name = number, phase.name
    begun = time.monotonic()
    phase.begin(turn.network, turn)
    begin_seconds = time.monotonic() - begun
    turn.use(phase.optimisers(turn.network))
    orders = [phase.order(epoch, order_rng(seed, number, epoch)) for epoch in range(phase.epochs)]
    counts = [sum(is_shared(draw, turn.world) for draw in order) for order in orders]
    by_probe: dict[int, float] = {}
    for place in _PROBES:
        epoch = round(place * (phase.epochs - 1))
        if epoch not in by_probe:
            by_probe[epoch] = _step_seconds(phase, epoch, orders[epoch], turn, feeder, seed)
        if turn.on_any_device(len(by_probe) > 1 and time.monotonic() - begun - begin_seconds > _ENOUGH):
            break
    total = sum(
        count * by_probe[min(by_probe, key=lambda probe: abs(probe - epoch))]
        for epoch, count in enumerate(counts)
    )
    validated = [
        epoch
        for epoch in range(1, phase.epochs + 1)
        if epoch == phase.epochs or not epoch % phase.validate_every
    ]
    seconds = _validation_seconds(phase, turn) if fabric.is_global_zero else 0.0
    fabric.barrier()
    turn.use({})
    return PhaseTrial(
        phase.name,
        phase.epochs,
        sum(counts),
        len(validated),
        begin_seconds,
        total / max(1, sum(counts)),
        seconds,
    )


def _step_seconds(
    phase: Phase, epoch: int, draws: Sequence[Draw], turn: Turn, feeder: Feeder, seed: int
) -> float:
    """Return how long a step of an epoch takes, its examples read."""
    turn.epoch, turn.step = epoch, 0
    phase.begin_epoch(turn.network, epoch)
    times = [time.monotonic()]
    for step, batches in feeder.steps(phase, draws[:_PROBE_STEPS], turn):
        turn.step = step
        turn.check_together()
        torch.manual_seed(step_seed(seed, turn.phase, epoch, step, turn.rank))
        phase.step(turn, batches)
        times.append(time.monotonic())
        if turn.on_any_device(len(times) > 2 and times[-1] - times[0] > _PROBE_SECONDS):
            break
    if len(times) > 2:
        del times[0]  # the first step waits for what the others find read
    return (times[-1] - times[0]) / max(1, len(times) - 1)


def _validation_seconds(phase: Phase, turn: Turn) -> float:
    """Return how long a validation takes, by one image and by as many as there is time for."""
    network: nn.Module = turn.network.eval()

    def timed(numbers: Sequence[int] | None) -> float:
        some = copy.copy(phase)
        if numbers is not None:
            some.validation = numbers
        begun = time.monotonic()
        with torch.no_grad(), turn.autocast():
            some.validate(network, turn)
        return time.monotonic() - begun

    held_out: Sequence[int] | None = getattr(phase, "validation", None)
    if not held_out or len(held_out) == 1:
        return timed(held_out)
    one = timed(held_out[:1])
    if one > _VALIDATION_SECONDS:
        return one * len(held_out)
    one = timed(held_out[:1])  # warm
    count = min(len(held_out), max(_LEAST_VALIDATED, int(_VALIDATION_SECONDS / one)))
    several = timed([held_out[place * len(held_out) // count] for place in range(count)])
    return several / count * len(held_out) if several > _GREW * one else several
