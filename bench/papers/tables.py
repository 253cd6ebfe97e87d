"""`docs/papers.md`: every table, from the results that are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import mean, stdev

from bench.papers.experiment import SEEDS, Experiment, Result

_HEAD = """# The papers' claims, measured here

Made by `python -m bench papers`, which keeps each finished training and goes on where it stopped. Every
table compares variants on the same images, the same split, the same epochs and the same rates;
nothing was tuned for one of them but where a setting says so. The epoch is chosen on the validation part
and the scores are of the test part. Mean and standard deviation over the seeds that are finished; the last
column says how many. The core-minutes are what the cores worked for a training and its search, of the
quickest seed; in brackets minutes by the clock, on one core beside other work, of trainings from before that
was counted or that were interrupted.

These are small configurations for two cores and the data at hand, not the papers' own: what they show is
whether a claim's direction holds when everything but the claim is equal. Where it does not, a note says
what we think why.
"""


def page(experiments: Iterable[tuple[Experiment, dict[tuple[str, int], Result], str]]) -> str:
    """Return the page: for each experiment its table, and the note that belongs to it."""
    parts = [_HEAD]
    for experiment, results, note in experiments:
        parts.append(f"## {experiment.title}\n\n{experiment.claim}\n\n{experiment.setting}\n")
        parts.append("\n".join(_table(experiment, results)) + "\n")
        if note:
            parts.append(note.strip() + "\n")
    return "\n".join(parts)


def _table(experiment: Experiment, results: dict[tuple[str, int], Result]) -> Iterator[str]:
    columns = [
        *experiment.scores.values(),
        f"ratio of {experiment.scores[experiment.ratio]}",
        "weights, M",
        "core-minutes",
        "seeds",
    ]
    yield f"| variant | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    baseline = _values(experiment, results, experiment.variants[0].name, experiment.ratio)
    for variant in experiment.variants:
        done = [results[variant.name, seed] for seed in SEEDS if (variant.name, seed) in results]
        if not done:
            yield f"| {variant.name} |" + " |" * (len(columns) - 1) + " 0 of 3 |"
            continue
        cells = [_spread(_values(experiment, results, variant.name, score)) for score in experiment.scores]
        own = _values(experiment, results, variant.name, experiment.ratio)
        ratio = f"{mean(own) / mean(baseline):.3f}" if baseline and mean(baseline) else ""
        yield (
            f"| {variant.name} | {' | '.join(cells)} | {ratio} | {done[0].weights / 1e6:.2f} "
            f"| {_quickest(done)} | {len(done)} of {len(SEEDS)} |"
        )


def _quickest(results: list[Result]) -> str:
    counted = [result.core_seconds for result in results if result.core_seconds is not None]
    if counted:
        return f"{min(counted) / 60:.0f}"
    return f"({min(result.seconds for result in results) / 60:.0f})"


def _values(
    experiment: Experiment, results: dict[tuple[str, int], Result], variant: str, score: str
) -> list[float]:
    found = [results[variant, seed].scores for seed in SEEDS if (variant, seed) in results]
    return [scores[score] for scores in found if score in scores]


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
