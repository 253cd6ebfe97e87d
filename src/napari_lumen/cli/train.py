"""`napari-lumen train`: train a model by the recipe of a paper."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from napari_lumen.training.progress import TrainingProgress
    from napari_lumen.training.train import Training


def train(
    config: Annotated[
        Path,
        typer.Argument(help="YAML file of recipe, data and split; see docs/training.md.", metavar="CONFIG"),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the training: new, empty, or of the same training.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field, such as recipe.epochs=5."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="How many GPUs, or processes on a CPU, train together.")
    ] = None,
) -> None:
    """Train a model by the recipe of a paper; stopped at any moment, the same command goes on.

    OUT gets the split, the best weights, the learning curves and, at the end, the model with its card.
    """
    from napari_lumen.cli.console import results
    from napari_lumen.cli.progress import cancel_on_interrupt
    from napari_lumen.errors import Cancelled
    from napari_lumen.training.config import TrainingConfig
    from napari_lumen.training.train import train as fit

    settings = {"device": device, "devices": devices}
    asked = [f"settings.{name}={value}" for name, value in settings.items() if value is not None]
    read = TrainingConfig.read(config.expanduser(), [*(changes or []), *asked])
    out = out.expanduser()
    with cancel_on_interrupt() as cancel, _bar() as show:
        try:
            training = fit(read, out, on_progress=show, cancel=cancel)
        except Cancelled as error:
            raise Cancelled(f"{error} What is learned stays in {out}.") from error
    console = results()
    for line in _report(training):
        console.print(line, soft_wrap=True)


@contextmanager
def _bar() -> Iterator[Callable[[TrainingProgress], None]]:
    """Show a line for each phase: its epoch, the step, the loss, and each validation as it comes."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from napari_lumen.cli.console import notes

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}  {task.fields[values]}"),
        TimeElapsedColumn(),
        console=notes(),
    )
    tasks: dict[str, Any] = {}

    def show(event: TrainingProgress) -> None:
        now: dict[str, Any] = {"epoch": event.epoch + 1, "epochs": event.epochs}
        if event.phase not in tasks:
            tasks[event.phase] = bar.add_task(event.phase, total=event.epochs, values="", **now)
            bar.start()
        task = tasks[event.phase]
        if event.event == "validated":
            best = " (best)" if event.is_best else ""
            bar.console.print(f"{event.phase}, epoch {event.epoch + 1}: {_values(event.values)}{best}")
            bar.update(task, completed=event.epoch + 1, **now)
        elif event.event == "step":
            done = event.epoch + event.step / max(1, event.steps)
            bar.update(task, completed=done, values=_values(event.values), **now)

    try:
        yield show
    finally:
        if tasks:
            bar.stop()


def _values(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _report(training: Training) -> Iterator[Any]:
    from rich.table import Table
    from rich.text import Text

    table = Table("score", "value", box=None, padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    for name, value in training.scores.items():
        table.add_row(Text(name), f"{value:.4f}")
    yield table
    state = training.state
    best = f", best epoch {state.best_epoch}" if state.best_epoch is not None else ""
    yield Text(f"Trained in {state.seconds:,.0f} s{best}.")
    yield Text(f"Model: {training.model}")
    yield Text(f"Run it: napari-lumen predict SLIDE --model {shlex.quote(str(training.model))} --out RUN")
