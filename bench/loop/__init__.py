"""Labels needed to reach a Dice by what is corrected next, and what fine-tuning gains."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from statistics import mean

from bench.loop.fine_tuning import ConsepWindows, fine_tune
from bench.loop.fine_tuning import read_results as read_tuned
from bench.loop.simulation import SEEDS, loops, play, read_results
from bench.loop.strategies import STRATEGIES
from bench.loop.tables import section
from bench.papers.shared import LOOP_MARK, SHARED
from bench.report import Figure, Report

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results"
_NOTE = _HERE / "note.md"
_PAGE = _HERE.parent.parent / "docs" / "papers.md"
_TUNING = "fine-tuning"


def run(report: Report, only: Collection[str] = ()) -> None:
    """Play what is missing, one run after the other, and write the page after each.

    With `only`, of the loops, strategies and seeds of these names; `fine-tuning` is one of them.
    """
    if not SHARED.is_dir():
        report.remarks.append(f"The data are not there ({SHARED}), so nothing was measured.")
        return
    wanted = set(only)
    for seed in SEEDS:  # first all strategies once
        if wanted & set(map(str, SEEDS)) and str(seed) not in wanted:
            continue
        for loop in loops():
            names = {known.name for known in loops()} | {_TUNING}
            if wanted & names and loop.name not in wanted:
                continue
            missing = [
                strategy
                for strategy in STRATEGIES
                if (not wanted & set(STRATEGIES) or strategy in wanted)
                and (strategy, seed) not in read_results(_RESULTS / loop.name, loop)
            ]
            windows = loop.windows() if missing else None
            for strategy in missing:
                if windows is not None:
                    play(loop, windows, strategy, seed).write(_RESULTS / loop.name)
                    write_section()
        if (not wanted or _TUNING in wanted) and seed not in read_tuned(_RESULTS / _TUNING):
            fine_tune(ConsepWindows(), seed).write(_RESULTS / _TUNING)
            write_section()
    write_section()
    _add_figures(report)


def write_section() -> None:
    """Write the loop's part at the end of the page; what stands before it stays."""
    found = [(loop, read_results(_RESULTS / loop.name, loop)) for loop in loops()]
    loop_section = LOOP_MARK + section(found, read_tuned(_RESULTS / _TUNING), _NOTE.read_text())
    before = _PAGE.read_text().partition(LOOP_MARK)[0] if _PAGE.exists() else ""
    _PAGE.write_text(f"{before.rstrip()}\n\n{loop_section}" if before else loop_section)


def _add_figures(report: Report) -> None:
    for loop in loops():
        results = read_results(_RESULTS / loop.name, loop)
        by_strategy = {
            strategy: [mean(results[strategy, seed].dice) for seed in SEEDS if (strategy, seed) in results]
            for strategy in STRATEGIES
        }
        for strategy in STRATEGIES[1:]:
            if by_strategy[strategy] and by_strategy["random"]:
                report.figures.append(
                    Figure(
                        f"{loop.title}: {strategy}, mean Dice",
                        mean(by_strategy[strategy]),
                        mean(by_strategy["random"]),
                        "random",
                        "",
                    )
                )
    tuned = read_tuned(_RESULTS / _TUNING).values()
    if tuned:
        report.figures.append(
            Figure(
                "Fine-tuning on 20 windows: Dice",
                mean(result.after["dice"] for result in tuned),
                mean(result.before["dice"] for result in tuned),
                "the shipped model",
                "",
            )
        )
