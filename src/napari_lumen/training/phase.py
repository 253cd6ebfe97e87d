"""A phase of a training: epochs with their own examples, optimisers, rates and rule for the best epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_lumen.training.example import Batch, Example
from napari_lumen.training.samples import Sample

if TYPE_CHECKING:
    from napari_lumen.training.turn import Turn

TRAIN = "train"
Draw = Mapping[str, Sequence[int]]  # indices of the examples of one step, by the role they play


@dataclass(frozen=True)
class Choice:
    """Which epoch is the best.

    Attributes
    ----------
    score : str
        Name of one of the phase's validation scores.
    best : {"highest", "lowest"}
    first_epoch : int
        No earlier one is chosen.
    restored : bool
        Whether the best weights are put back when the phase ends; the last ones stay otherwise.
    anew : bool
        Whether the epochs of earlier phases do not compete.
    """

    score: str
    best: Literal["highest", "lowest"] = "highest"
    first_epoch: int = 0
    restored: bool = True
    anew: bool = True

    def improves(self, value: float, best: float | None) -> bool:
        """Tell whether a score is better than the best so far; the first of equals stays."""
        if value != value:  # nan: nothing could be measured
            return False
        if best is None:
            return True
        return value > best if self.best == "highest" else value < best


class Phase(ABC):
    """What the trainer asks of a recipe for some epochs.

    Everything random in it comes from the generators it is given: they follow from the seed, the epoch and
    the position alone, so a training that was interrupted goes on as if it had not been.

    Attributes
    ----------
    name : str
        Shown to the user and written to the learning curves.
    epochs : int
    batch : int
        Examples of a step, of each role.
    validation : sequence of int
        Numbers of the images or slides that are held out; a phase of other data has none.
    choice : Choice or None
        None keeps the last epoch.
    validate_every : int
        Epochs between validations; the last epoch is always validated.
    """

    name: str
    epochs: int
    batch: int
    validation: Sequence[int]
    choice: Choice | None = None
    validate_every: int = 1

    @abstractmethod
    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return the steps of an epoch: which examples each takes, by role; most have one role, `TRAIN`."""

    @abstractmethod
    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        """Read and augment one example; called from several threads at once."""

    @abstractmethod
    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        """Build the optimisers of the phase by name; parameters in none of them are not trained."""

    def rates(self, epoch: int) -> Mapping[str, Sequence[float]]:
        """Return the learning rates of an epoch by optimiser, one a parameter group; none leaves them."""
        return {}

    def begin(self, network: nn.Module, turn: Turn) -> None:  # noqa: B027  most need nothing
        """Prepare what the phase needs of the network as it is now; called again when a training goes on."""

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        """Set modes before the first step of an epoch; all modules train by default."""
        network.train()

    @abstractmethod
    def step(self, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        """Make one step and return its losses by name."""

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        """Measure the network, in evaluation mode and without gradients, on the validation data."""
        return {}

    def samples(self, network: nn.Module, turn: Turn, most: int) -> Sequence[Sample]:
        """Return some held-out images with what the network makes of them, as `validate` is called."""
        return ()

    def tables(self, network: nn.Module) -> Mapping[str, pd.DataFrame]:
        """Describe the network after an epoch, for tables over time: each is kept as ``<name>.parquet``."""
        return {}

    def finish(self, network: nn.Module, folder: Path) -> None:  # noqa: B027  most find weights alone
        """Write into the training's folder what was found beside weights, which are the chosen ones now."""


class LossPhase(Phase):
    """A phase whose steps descend one loss."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Batch) -> Tensor | dict[str, Tensor]:
        """Return the loss of a batch, a mean over its examples; of several terms, ``loss`` is descended."""

    def step(self, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        """Make one step and return its losses by name."""
        return turn.descend("weights", batches[TRAIN], self.loss)


def shuffled_batches(
    count: int, size: int, rng: np.random.Generator, *, role: str = TRAIN, keep_last: bool = True
) -> list[Draw]:
    """Return every index once, in random order, in steps of `size`.

    Parameters
    ----------
    keep_last : bool
        Whether a last, smaller step is kept; batch normalisation cannot take one of a single example.
    """
    order = rng.permutation(count)
    steps = [order[start : start + size].tolist() for start in range(0, count, size)]
    if not keep_last and len(steps) > 1 and len(steps[-1]) < size:
        steps.pop()
    return [{role: step} for step in steps]
