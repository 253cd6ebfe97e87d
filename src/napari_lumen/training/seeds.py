"""Randomness that follows from where a training stands, so that it can go on from anywhere."""

from __future__ import annotations

import numpy as np

_ORDER, _EXAMPLE, _STEP = range(3)


def order_rng(seed: int, phase: int, epoch: int) -> np.random.Generator:
    """Return the generator that orders the examples of an epoch."""
    return np.random.default_rng([seed, _ORDER, phase, epoch])


def example_rng(seed: int, phase: int, epoch: int, step: int, position: int) -> np.random.Generator:
    """Return the generator that augments one example of a step, wherever and whenever it is read."""
    return np.random.default_rng([seed, _EXAMPLE, phase, epoch, step, position])


def step_seed(seed: int, phase: int, epoch: int, step: int, rank: int) -> int:
    """Return the seed of what a network draws in one step, such as its dropout."""
    return int(np.random.SeedSequence([seed, _STEP, phase, epoch, step, rank]).generate_state(1)[0])
