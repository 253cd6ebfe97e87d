"""`napari-lumen train` and `search`: train a model by the recipe of a paper, search an architecture."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_lumen.cli.estimates import print_estimates

if TYPE_CHECKING:
    from napari_lumen.training.config import TrainingConfig
    from napari_lumen.training.progress import TrainingProgress
    from napari_lumen.training.search import Search
    from napari_lumen.training.train import Training

ConfigArgument = Annotated[
    Path, typer.Argument(help="TOML file of recipe, data and split, see docs/training.md.", metavar="FILE")
]
OutOption = Annotated[
    Path | None, typer.Option(help="Folder of the training: new, empty, or of the same training.")
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Only say what would happen, and in what time and memory; nothing is written."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field, such as recipe.epochs=5."),
]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
DevicesOption = Annotated[
    int | None, typer.Option(min=1, help="How many GPUs, or processes on a CPU, train together.")
]


def train(
    config: ConfigArgument,
    out: OutOption = None,
    changes: SetOption = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Train a model by the recipe of a paper; stopped at any moment, the same command goes on.

    OUT gets the split, the best weights, the learning curves and, at the end, the model with its card.
    """
    from napari_lumen.training.estimate import dry_run as tried
    from napari_lumen.training.train import train as fit

    read = _read(config, changes, device, devices)
    if dry_run:
        print_estimates([_tried(tried, read)])
        return
    training = _carried_out(fit, read, out)
    _print(_report(training))


def search(
    config: ConfigArgument,
    out: OutOption = None,
    changes: SetOption = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Search an architecture (recipe nas_scam_search), and train what was found from scratch.

    OUT gets the folders search, with the coefficients over the epochs, and rebuilt, with the model.
    """
    from napari_lumen.training.estimate import dry_run_search
    from napari_lumen.training.search import search as look

    read = _read(config, changes, device, devices)
    if dry_run:
        print_estimates(_tried(dry_run_search, read))
        return
    found = _carried_out(look, read, out)
    _print(_genotype(found))
    _print(_report(found.rebuilt))


def _read(config: Path, changes: list[str] | None, device: str | None, devices: int | None) -> TrainingConfig:
    from napari_lumen.training.config import TrainingConfig

    settings = {"device": device, "devices": devices}
    asked = [f"settings.{name}={value}" for name, value in settings.items() if value is not None]
    return TrainingConfig.read(config.expanduser(), [*(changes or []), *asked])


def _carried_out(work: Callable[..., Any], config: TrainingConfig, out: Path | None) -> Any:
    from napari_lumen.cli.progress import cancel_on_interrupt
    from napari_lumen.errors import Cancelled

    if out is None:
        raise typer.BadParameter("say where the training is to be kept", param_hint="--out")
    out = out.expanduser()
    with cancel_on_interrupt() as cancel, _bar() as show:
        try:
            return work(config, out, on_progress=show, cancel=cancel)
        except Cancelled as error:
            raise Cancelled(f"{error} What is learned stays in {out}.") from error


def _tried(work: Callable[..., Any], config: TrainingConfig) -> Any:
    from napari_lumen.cli.console import notes
    from napari_lumen.cli.progress import cancel_on_interrupt

    with cancel_on_interrupt() as cancel, notes().status("Looking …") as status:
        return work(config, on_stage=lambda stage: status.update(f"{stage} …"), cancel=cancel)


def _print(lines: Iterable[Any]) -> None:
    from napari_lumen.cli.console import results

    console = results()
    for line in lines:
        console.print(line, soft_wrap=True)


@contextmanager
def _bar() -> Iterator[Callable[[TrainingProgress], None]]:
    """Show a line for each phase: its epoch, the step, the loss, and each validation as it comes."""
    from rich.progress import BarColumn, Progress, TextColumn

    from napari_lumen.cli.console import notes
    from napari_lumen.cli.progress import duration

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}  {task.fields[values]}"),
        TextColumn("{task.fields[left]}", style="cyan"),
        console=notes(),
    )
    tasks: dict[str, Any] = {}

    def show(event: TrainingProgress) -> None:
        if event.event == "started":
            bar.console.print(f"The model it begins with: {_values(event.values)}")
            return
        left = "" if event.seconds_left is None else f"{duration(event.seconds_left)} left"
        now: dict[str, Any] = {"epoch": event.epoch + 1, "epochs": event.epochs, "left": left}
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


def _genotype(found: Search) -> Iterator[Any]:
    from rich.table import Table
    from rich.text import Text

    from napari_lumen.models.genotype import POSITIONS

    table = Table("position", "spatial cell", "channel cell", box=None, padding=(0, 2, 0, 0))
    for position in POSITIONS:
        cells = found.genotype[position]
        table.add_row(position, Text(", ".join(cells.sam)), Text(", ".join(cells.cam)))
    yield table
    yield Text(f"Coefficients over the epochs: {found.search.folder / 'alphas.parquet'}")
