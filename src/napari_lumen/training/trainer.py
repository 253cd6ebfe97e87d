"""The one loop of all recipes: epochs, validation, best weights, checkpoints, cancel, going on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from napari_lumen.errors import Cancelled, RunError
from napari_lumen.holding import appearing
from napari_lumen.models.allocator import memory_kept
from napari_lumen.training.checkpoint import Place, read_checkpoint, write_checkpoint
from napari_lumen.training.curves import Curves
from napari_lumen.training.feeding import Feeder
from napari_lumen.training.phase import Phase
from napari_lumen.training.progress import Event as Kind
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.samples import Sample
from napari_lumen.training.seeds import order_rng, step_seed
from napari_lumen.training.settings import Settings
from napari_lumen.training.tables import Tables
from napari_lumen.training.turn import Turn

CHECKPOINT, BEST, CURVES = "checkpoint.pt", "best.safetensors", "curves.parquet"
_TOLD_EVERY = 0.05  # seconds between told steps
_TOO_SOON = 2.0  # seconds of a phase that say nothing yet about the rest
_VALIDATION = 1 << 30  # a step that no epoch has, for the seed of its validation


class Trainer:
    """Trains one network through the phases of a recipe, in a folder that holds all its state.

    Parameters
    ----------
    fabric : Fabric
        Launched.
    settings : Settings
    folder : Path
        There, and held by the caller. Where it has a checkpoint, the training goes on from that.
    seed : int
    largest_gradient : float, optional
        Norm that gradients are clipped to.
    on_progress : callable, optional
        Called with each `TrainingProgress`, on the first device.
    cancel : Event, optional
        Set it to stop after the step that is being made, or within one of many parts.
    """

    def __init__(
        self,
        fabric: Fabric,
        settings: Settings,
        folder: Path,
        seed: int,
        *,
        largest_gradient: float | None = None,
        on_progress: Callable[[TrainingProgress], None] | None = None,
        cancel: Event | None = None,
    ) -> None:
        self._fabric, self._settings, self._folder, self._seed = fabric, settings, folder, seed
        self._largest_gradient = largest_gradient
        self._tell = on_progress if fabric.is_global_zero else None
        self._cancel = cancel or Event()
        self._curves, self._tables, self._place = Curves(), Tables(folder), Place()
        self._told = self._kept = float("-inf")

    def fit(self, network: nn.Module, phases: tuple[Phase, ...]) -> Place:
        """Train to the end of the last phase; the network then has the weights that were chosen.

        Returns
        -------
        Place
            With the best score and its epoch.

        Raises
        ------
        Cancelled
            When the user asked for it; the same call goes on from there.
        RunError
            When a loss or an answer is no number, or the checkpoint is damaged.
        """
        network = network.to(self._fabric.device)
        turn = Turn(
            self._fabric,
            network,
            micro_batch=self._settings.micro_batch,
            largest_gradient=self._largest_gradient,
            cancel=self._cancel,
        )
        workers = self._settings.workers_on(self._fabric.device)
        with self._reproducible(), memory_kept(), Feeder(self._seed, workers) as feeder:
            state = self._resume(network)
            self._begun, self._before = time.monotonic(), self._place.seconds
            while self._place.phase < len(phases):
                self._train_phase(phases[self._place.phase], turn, feeder, state)
                state = None
        return self._place

    def _train_phase(
        self, phase: Phase, turn: Turn, feeder: Feeder, state: Mapping[str, object] | None
    ) -> None:
        place, network = self._place, turn.network
        turn.phase, turn.phase_name = place.phase, phase.name
        begun = place.epoch > 0 or place.step > 0
        if not begun and place.phase and phase.choice is not None and phase.choice.anew:
            place.best = place.best_phase = place.best_epoch = None
        torch.manual_seed(step_seed(self._seed, place.phase, 0, _VALIDATION, 0))
        phase.begin(network, turn)
        turn.use(phase.optimisers(network))
        if state is not None:
            turn.restore(state)
        self._phase_begun, self._steps_made = time.monotonic(), 0
        self._report("phase", phase, 0, {}, turn, feeder)
        while place.epoch < phase.epochs:
            self._train_epoch(phase, turn, feeder)
            last = place.epoch + 1 == phase.epochs
            if last or (place.epoch + 1) % phase.validate_every == 0:
                try:
                    self._validate(phase, turn, feeder)
                except Cancelled:
                    self._keep(turn)
                    raise
            self._tables.add(phase.name, place.epoch, phase.tables(network))
            place.epoch, place.step = place.epoch + 1, 0
            if place.epoch < phase.epochs:
                self._keep(turn)
        if phase.choice is not None and phase.choice.restored and place.best is not None:
            self._fabric.barrier()
            network.load_state_dict(load_file(self._folder / BEST, device=str(turn.device)))
        if self._fabric.is_global_zero:
            phase.finish(network, self._folder)
        place.phase, place.epoch = place.phase + 1, 0
        turn.use({})
        self._keep(turn)

    def _train_epoch(self, phase: Phase, turn: Turn, feeder: Feeder) -> None:
        place = self._place
        turn.epoch, turn.step = place.epoch, place.step
        draws = phase.order(place.epoch, order_rng(self._seed, place.phase, place.epoch))
        for name, values in phase.rates(place.epoch).items():
            for group, rate in zip(turn.groups(name), values, strict=True):
                group["lr"] = rate
        phase.begin_epoch(turn.network, place.epoch)
        turn.touched = False
        try:
            for step, batches in feeder.steps(phase, draws, turn):
                turn.step = step
                turn.check_together()
                torch.manual_seed(step_seed(self._seed, place.phase, place.epoch, step, turn.rank))
                losses = phase.step(turn, batches)
                if not place.step:
                    self._curves.add(phase.name, place.epoch, 0, "rate", turn.rates())
                place.step, turn.touched = step + 1, False
                self._steps_made += 1
                self._curves.add(phase.name, place.epoch, place.step, "loss", losses)
                self._report("step", phase, len(draws), losses, turn, feeder)
                if time.monotonic() - self._kept > self._settings.checkpoint_seconds:
                    self._keep(turn)
        except Cancelled:
            if not turn.touched:  # else the last checkpoint stays
                self._keep(turn)
            self._fabric.barrier()
            raise
        place.step = len(draws)

    def _validate(self, phase: Phase, turn: Turn, feeder: Feeder) -> None:
        """Score the epoch on the first device, and keep the weights when they are the best so far."""
        turn.require_finite_weights()
        place, scores = self._place, {}
        samples: tuple[Sample, ...] = ()
        if self._fabric.is_global_zero:
            torch.manual_seed(step_seed(self._seed, place.phase, place.epoch, _VALIDATION, 0))
            turn.network.eval()
            with torch.no_grad(), turn.autocast():
                scores = dict(phase.validate(turn.network, turn))
                if self._settings.samples:
                    samples = tuple(phase.samples(turn.network, turn, self._settings.samples))
        scores = self._fabric.broadcast(scores)
        self._curves.add(phase.name, place.epoch, place.step, "score", scores)
        choice, is_best = phase.choice, False
        if choice is not None and place.epoch >= choice.first_epoch:
            is_best = choice.improves(scores[choice.score], place.best)
        if choice is not None and is_best:
            place.best, place.best_phase, place.best_epoch = scores[choice.score], place.phase, place.epoch
            if self._fabric.is_global_zero:
                _save_weights(self._folder / BEST, turn.network)
        self._report("validated", phase, place.step, scores, turn, feeder, is_best=is_best, samples=samples)

    def _resume(self, network: nn.Module) -> Mapping[str, object] | None:
        found = read_checkpoint(self._folder / CHECKPOINT)
        if found is None:
            self._kept = time.monotonic()
            return None
        self._place, state = found
        if self._place.best is not None:
            _require_whole(self._folder / BEST)
        network.load_state_dict(state["network"])
        if self._fabric.is_global_zero:
            self._curves = Curves.read(self._folder / CURVES, self._place.rows)
            self._tables.read(self._place.tables)
        self._kept = time.monotonic()
        return state

    def _keep(self, turn: Turn) -> None:
        """Write the checkpoint: curves and tables first, which may be ahead of it but never behind."""
        self._kept = time.monotonic()
        if self._fabric.is_global_zero:
            self._place.rows, self._place.seconds = len(self._curves), self._seconds()
            self._place.tables = self._tables.rows()
            self._curves.write(self._folder / CURVES)
            self._tables.write()
            state = {"network": turn.network.state_dict(), **turn.state()}
            write_checkpoint(self._folder / CHECKPOINT, self._place, state)

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._begun

    def _report(
        self,
        event: Kind,
        phase: Phase,
        steps: int,
        values: Mapping[str, float],
        turn: Turn,
        feeder: Feeder,
        *,
        is_best: bool = False,
        samples: Sequence[Sample] = (),
    ) -> None:
        now, place = time.monotonic(), self._place
        if self._tell is None or (event == "step" and place.step < steps and now - self._told < _TOLD_EVERY):
            return
        self._told = now
        spent = now - self._begun
        self._tell(
            TrainingProgress(
                event=event,
                phase=phase.name,
                epoch=place.epoch,
                epochs=phase.epochs,
                step=place.step,
                steps=steps,
                values=values,
                rates=turn.rates(),
                samples=samples,
                is_best=is_best,
                seconds_left=self._seconds_left(phase, steps),
                waited=feeder.waited / spent if spent else 0.0,
            )
        )

    def _seconds_left(self, phase: Phase, steps: int) -> float | None:
        """Estimate the time to the end of the phase by that of its steps so far, validations included."""
        spent = time.monotonic() - self._phase_begun
        if not self._steps_made or spent < _TOO_SOON:
            return None
        left = (phase.epochs - self._place.epoch) * steps - self._place.step
        return spent / self._steps_made * max(0, left)

    @contextmanager
    def _reproducible(self) -> Iterator[None]:
        """Draw and compute the same each time while the block runs, and leave torch as it was."""
        on_gpu = self._fabric.device.type == "cuda"
        gpus = [self._fabric.device.index or 0] if on_gpu else []
        was = torch.are_deterministic_algorithms_enabled()
        warned = torch.is_deterministic_algorithms_warn_only_enabled()
        with torch.random.fork_rng(devices=gpus):
            try:
                if on_gpu and self._settings.deterministic:  # a CPU is so by itself
                    torch.use_deterministic_algorithms(True, warn_only=True)
                yield
            finally:
                torch.use_deterministic_algorithms(was, warn_only=warned)


def _require_whole(path: Path) -> None:
    """Raise RunError where the weights of the best epoch, which a checkpoint counts on, are not there."""
    try:
        with safe_open(path, "pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path} is damaged or gone, so the training cannot go on from its checkpoint. Begin in another "
            f"folder, or delete {CHECKPOINT} to begin there anew."
        ) from error


def _save_weights(path: Path, network: nn.Module) -> None:
    with appearing(path) as partial:
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, partial)
