"""A small training of known outcome, for tests of the trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from napari_lumen.training.example import Batch, Example
from napari_lumen.training.phase import Choice, Draw, LossPhase, shuffled_batches
from napari_lumen.training.turn import Turn

TRUE_WEIGHTS = (2.0, -1.0, 0.5)


def small_network() -> nn.Module:
    """A network with dropout, whose draws must come again after a resume."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 1))


@dataclass
class LinePhase(LossPhase):
    """Learns a linear function of three numbers with noise from the example's generator."""

    name: str = "line"
    epochs: int = 3
    count: int = 20
    batch: int = 4
    rate: float = 0.01
    choice: Choice | None = field(default_factory=lambda: Choice("error", best="lowest"))
    before_step: Callable[[int, int], None] | None = None
    poisoned: int | None = None

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        return shuffled_batches(self.count, self.batch, rng)

    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        x = np.random.default_rng(index).normal(size=3).astype(np.float32)
        y = np.float32(x @ np.array(TRUE_WEIGHTS, np.float32) + 0.01 * rng.normal())
        if index == self.poisoned:
            y = np.float32("nan")
        return Example(f"example {index}", (torch.from_numpy(x),), {"y": torch.tensor([y])})

    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        return {"weights": SGD(network.parameters(), self.rate, momentum=0.9)}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        return (network(batch.image) - batch.targets["y"]).square().mean()

    def step(self, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        if self.before_step is not None:
            self.before_step(turn.epoch, turn.step)
        return super().step(turn, batches)

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        x = torch.from_numpy(np.random.default_rng(99).normal(size=(32, 3)).astype(np.float32))
        return {"error": (network(x) - x @ torch.tensor(TRUE_WEIGHTS)[:, None]).square().mean().item()}
