"""Timing contestants in turn, so that a busy moment of the machine meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def interleaved(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each contestant over rounds in which every one runs once.

    Each runs once before, to warm up; the order is reversed from round to round.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    order = list(contestants)
    for _ in range(rounds):
        for name in order:
            start = time.perf_counter()
            contestants[name]()
            times[name].append(time.perf_counter() - start)
        order.reverse()
    return {name: median(values) for name, values in times.items()}
