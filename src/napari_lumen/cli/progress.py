"""What long commands share: the bar of their stages, and Ctrl-C as a wish to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Step(Protocol):
    """What a long piece of work tells while it goes on."""

    @property
    def stage(self) -> str:
        """What is being done."""

    @property
    def done(self) -> int:
        """How much of it is done."""

    @property
    def total(self) -> int:
        """How much there is."""

    @property
    def seconds_left(self) -> float | None:
        """Estimated until the end of the stage."""


@contextmanager
def cancel_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a request to stop; the second one ends the program as usual."""
    cancel = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancel  # only the main thread hears signals
        return

    def stop(*_: object) -> None:
        cancel.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress_bar(unit: Callable[[str], str]) -> Iterator[Callable[[Step], None]]:
    """Show the stage, what is done of it and the time left.

    Parameters
    ----------
    unit : callable
        Says what is counted in a stage: ``tiles``, ``steps``.
    """
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    from napari_lumen.cli.console import notes

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
        TextColumn("{task.fields[left]}", style="cyan"),
        console=notes(),
    )
    tasks: dict[str, Any] = {}

    def show(step: Step) -> None:
        stage = step.stage
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=step.total, unit=unit(stage), left="")
        bar.start()  # not before there is something to show: an error comes first
        bar.update(
            tasks[stage],
            total=step.total,
            completed=step.done,
            left="" if step.seconds_left is None else f"{duration(step.seconds_left)} left",
        )

    try:
        yield show
    finally:
        if tasks:
            bar.stop()


def duration(seconds: float) -> str:
    """Return seconds as minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
