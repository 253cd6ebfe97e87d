"""Steps in which every class has its turn, however rare it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

import numpy as np


def class_balanced_steps(
    by_class: Sequence[Sequence[int]], steps: int, batch: int, rng: np.random.Generator
) -> list[list[int]]:
    """Take an example of each class in turn, and each class's examples over and over, in new random orders.

    With as many classes as examples in a step, every step has one of each (NAS-SCAM, section 3.2). With
    other numbers the turn goes on in the next step, so that all classes come equally often.

    Parameters
    ----------
    by_class : sequence of sequences of int
        Numbers of the examples of each class; one may be of several. A class without any has no turn.
    steps, batch : int
        How many, and the examples of each.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        When no class has an example.
    """
    turns = [_over_and_over(examples, rng) for examples in by_class if len(examples)]
    if not turns:
        raise ValueError("no class has an example")
    drawn = (next(turn) for turn in cycle(turns))
    return [list(islice(drawn, batch)) for _ in range(steps)]


def _over_and_over(examples: Sequence[int], rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(examples).tolist()
