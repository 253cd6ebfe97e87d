"""What a dry run says, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from napari_lumen.cli.tables import print_rows, print_table

if TYPE_CHECKING:
    from napari_lumen.training.estimate import Estimate

_BYTES_OF_A_WEIGHT = 4


def print_estimates(estimates: Iterable[Estimate]) -> None:
    """Print what trainings would do: facts, parts of the split, phases."""
    from napari_lumen.cli.console import results

    console = results()
    for estimate in estimates:
        print_rows(console, _facts(estimate))
        console.print()
        head = ("part", "images", "class", estimate.contents.unit, "in")
        print_table(console, head, list(_parts(estimate)))
        console.print()
        columns = ("phase", "epochs", "steps", "validations", "a step", "a validation", "in all")
        print_table(console, columns, list(_phases(estimate)))
        console.print()
    console.print(
        "Nothing was written. Times are of a few steps and validations that were made.", soft_wrap=True
    )


def _facts(estimate: Estimate) -> Iterator[tuple[str, str]]:
    from napari_lumen.cli.progress import duration

    start = "from random weights" if estimate.start is None else f"beginning with {estimate.start}"
    size = estimate.weights * _BYTES_OF_A_WEIGHT
    yield "model", estimate.name
    yield "recipe", estimate.recipe
    yield "network", f"{estimate.weights:,} weights ({_amount(size)}), {start}"
    yield "device", f"{estimate.devices} x {estimate.device}, {estimate.precision}"
    yield "steps", f"{estimate.steps:,}"
    yield "time", f"about {duration(max(1.0, estimate.seconds))}"
    each = " for each process" if estimate.devices > 1 else ""
    yield "memory", f"{_amount(estimate.memory)}{each}, and up to {_amount(estimate.cache)} of decoded images"
    if estimate.gpu_memory is not None:
        yield "GPU memory", _amount(estimate.gpu_memory)


def _parts(estimate: Estimate) -> Iterator[tuple[str, ...]]:
    for part in estimate.contents.parts:
        name, images = part.name, f"{part.images:,}"
        for item in part.classes:
            shown = f"{item.images:,} image{'' if item.images == 1 else 's'}"
            yield name, images, item.name, f"{item.amount:,}", shown
            name = images = ""


def _phases(estimate: Estimate) -> Iterator[tuple[str, ...]]:
    from napari_lumen.cli.progress import duration

    for phase in estimate.phases:
        yield (
            phase.name,
            f"{phase.epochs:,}",
            f"{phase.steps:,}",
            f"{phase.validations:,}",
            f"{phase.step_seconds:.3g} s",
            f"{phase.validation_seconds:.3g} s",
            duration(max(1.0, phase.seconds)),
        )


def _amount(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
