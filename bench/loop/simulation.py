"""The loop of labelling and learning, played through with labels that are known."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.loop.learner import Learner
from bench.loop.strategies import choose
from bench.loop.windows import Windows, consep_windows, dsb_windows
from napari_lumen.evaluation import dice
from napari_lumen.holding import write_text

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Loop:
    """One table: all strategies on the same windows, with the same first labels, network and steps.

    Attributes
    ----------
    name : str
        Of its results.
    title, setting : str
        For the reader of the table.
    windows : callable
        Makes the windows.
    numbers : dict
        All that decides a result besides strategy and seed.
    """

    name: str
    title: str
    setting: str
    windows: Callable[[], Windows]
    numbers: dict[str, Any]


@dataclass(frozen=True)
class LoopResult:
    """What one strategy came to with one seed: `dice[i]` with `labels[i]` windows labelled."""

    loop: str
    strategy: str
    seed: int
    labels: list[int]
    dice: list[float]
    seconds: float
    numbers: dict[str, Any]
    machine: str
    date: str

    def write(self, folder: Path) -> None:
        """Write it as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.strategy}-{self.seed}.json"
        write_text(file, json.dumps(asdict(self), indent=1) + "\n")


def loops() -> Iterator[Loop]:
    """Yield the loops that are played."""
    numbers = {
        "architecture": "attention_unet",
        "arguments": {"preset": "slim"},
        "groups": 8,
        "first": 8,
        "more": 8,
        "rounds": 6,
        "steps": 50,
        "batch": 4,
        "candidates": 128,
        "rate": 2e-3,
        "falling": 0.1,
    }
    setting = (
        "An Attention U-Net of 2.3 million weights, normalised by groups of channels, learns from 8 windows "
        "of 128 px drawn at random, the same for all; five times eight more are labelled, which a strategy "
        "chooses of 128 drawn at random. It goes on learning from all that are labelled, 50 batches of 4 "
        "each time. Dice over all pixels of the test windows."
    )
    yield Loop(
        "dsb2018",
        "What to correct next: nuclei of DSB 2018, all kinds of image",
        f"{setting} 534 images to choose from, 130 held out.",
        dsb_windows,
        numbers,
    )
    yield Loop(
        "consep",
        "What to correct next: epithelial nuclei of CoNSeP",
        f"{setting} 336 patches of 21 tiles to choose from, six tiles held out.",
        consep_windows,
        numbers,
    )


def play(loop: Loop, windows: Windows, strategy: str, seed: int) -> LoopResult:
    """Play a loop through once."""
    start = time.perf_counter()
    sys.stderr.write(f"{loop.name}: {strategy}, seed {seed}\n")
    numbers = loop.numbers
    rng = np.random.default_rng(seed)
    learner = Learner(
        numbers["architecture"],
        numbers["arguments"],
        numbers["groups"],
        numbers["rate"],
        numbers["falling"],
        numbers["batch"],
        seed,
    )
    labelled = rng.choice(windows.pool, numbers["first"], replace=False)
    labels, scores = [], []
    for done in range(numbers["rounds"]):
        learner.learn(windows.images[labelled], windows.masks[labelled], numbers["steps"])
        found = learner.say(windows.images[windows.test]).probability >= 0.5
        labels.append(len(labelled))
        scores.append(round(dice(found, windows.masks[windows.test]), 5))
        if done + 1 < numbers["rounds"]:
            left = np.setdiff1d(windows.pool, labelled)
            left = rng.choice(left, min(len(left), numbers["candidates"]), replace=False)
            more = choose(strategy, learner, windows.images, left, labelled, numbers["more"], rng)
            labelled = np.concatenate([labelled, more])
    return LoopResult(
        loop.name,
        strategy,
        seed,
        labels,
        scores,
        round(time.perf_counter() - start, 1),
        numbers,
        f"{platform.machine()}, cpu",
        datetime.now(UTC).date().isoformat(),
    )


def read_results(folder: Path, loop: Loop) -> dict[tuple[str, int], LoopResult]:
    """Read what is finished of a loop, by strategy and seed; what was played by other numbers is left out."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        result = LoopResult(**json.loads(file.read_text()))
        if result.numbers == loop.numbers:
            found[result.strategy, result.seed] = result
    return found
