"""The loop's part of `docs/papers.md`, from the results that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import mean, stdev

from bench.loop.fine_tuning import SIDE, WINDOWS, FineTuned
from bench.loop.simulation import SEEDS, Loop, LoopResult
from bench.loop.strategies import STRATEGIES

_NEAR = 0.98  # of what random comes to with all labels
_HEAD = """# Correcting and learning: the loop

Made by `python -m bench loop`, which keeps each finished run and goes on where it stopped. The labels are
those of the data, given out window by window as a person would. *Labels needed*: windows until the Dice first
reaches 98 % of what random choice comes to in the end (mean of its seeds). Mean and standard deviation over
the seeds that are finished.
"""


def section(
    loops: list[tuple[Loop, Mapping[tuple[str, int], LoopResult]]],
    tuned: Mapping[int, FineTuned],
    note: str,
) -> str:
    """Return the text: a table a loop, the note on them, and the table of fine-tuning."""
    parts = [_HEAD]
    for loop, results in loops:
        parts.append(f"## {loop.title}\n\n{loop.setting}\n")
        parts.append("\n".join(_table(results)) + "\n")
    parts.append(f"## What holds, and why\n\n{note.strip()}\n")
    parts.append(
        f"## Fine-tuning the shipped model of nuclei\n\nOn {WINDOWS} windows of {SIDE} px at 0.5 µm of "
        "CoNSeP, which it has not seen; measured on 24 windows of six tiles that are held out. Nuclei are "
        "told apart alike on both sides. The epoch is chosen on 16 windows of four other tiles, which are "
        "labels as well.\n"
    )
    parts.append("\n".join(_tuning(tuned)) + "\n")
    return "\n".join(parts)


def _table(results: Mapping[tuple[str, int], LoopResult]) -> Iterator[str]:
    yield "| strategy | labels needed | of random's | mean Dice over the loop | last Dice | seeds |"
    yield "|---" * 6 + "|"
    last = [result.dice[-1] for (strategy, _), result in results.items() if strategy == "random"]
    goal = _NEAR * mean(last) if last else None
    baseline = _needed(results, "random", goal)
    for strategy in STRATEGIES:
        done = [results[strategy, seed] for seed in SEEDS if (strategy, seed) in results]
        if not done:
            yield f"| {strategy} | | | | | 0 of {len(SEEDS)} |"
            continue
        needed = _needed(results, strategy, goal)
        missed = len(done) - len(needed)
        said = _spread([float(value) for value in needed], 0) + (f" ({missed} never)" if missed else "")
        ratio = f"{mean(needed) / mean(baseline):.2f}" if needed and baseline and not missed else ""
        curve, end = [mean(result.dice) for result in done], [result.dice[-1] for result in done]
        yield (
            f"| {strategy} | {said if goal else ''} | {ratio} | {_spread(curve)} | {_spread(end)} "
            f"| {len(done)} of {len(SEEDS)} |"
        )


def _needed(results: Mapping[tuple[str, int], LoopResult], strategy: str, goal: float | None) -> list[int]:
    """Return the labels that each run needed that reached the goal."""
    needed = []
    for seed in SEEDS:
        result = results.get((strategy, seed))
        if result is not None and goal is not None:
            reached = (
                labels for labels, dice in zip(result.labels, result.dice, strict=True) if dice >= goal
            )
            first = next(reached, None)
            needed += [] if first is None else [first]
    return needed


def _tuning(tuned: Mapping[int, FineTuned]) -> Iterator[str]:
    yield "| score | shipped | fine-tuned | gain | seeds |"
    yield "|---" * 5 + "|"
    for score, title in (("dice", "Dice"), ("panoptic quality", "panoptic quality")):
        before = [result.before[score] for result in tuned.values()]
        after = [result.after[score] for result in tuned.values()]
        gain = [late - early for early, late in zip(before, after, strict=True)]
        yield (
            f"| {title} | {_spread(before[:1])} | {_spread(after)} | {_spread(gain)} "
            f"| {len(tuned)} of {len(SEEDS)} |"
        )


def _spread(values: list[float], digits: int = 3) -> str:
    if not values:
        return ""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"
