"""What a conversion tells while it goes on, and how it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from napari_lumen.errors import Cancelled
from napari_lumen.slides.convert.work import work_path


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a conversion.

    Attributes
    ----------
    stage : str
        ``writing tiles`` or ``putting together``.
    done, total : int
        Tiles.
    seconds_left : float or None
        Estimated until the end of the stage; None while too little is known.
    """

    stage: str
    done: int
    total: int
    seconds_left: float | None = None


class Teller:
    """Tells progress from the calling thread, and watches for cancel from any."""

    def __init__(self, tell: Callable[[Progress], None], cancel: Event, target: Path) -> None:
        self._tell, self._cancel, self._target = tell, cancel, target
        self.start("writing tiles", 0, 0, silent=True)

    def start(self, stage: str, done: int, total: int, *, silent: bool = False) -> None:
        """Begin a stage of which so many tiles were done before."""
        self._stage, self._done, self._total = stage, done, total
        self._before, self._started = done, time.monotonic()
        if not silent:
            self.check()
            self._tell(Progress(stage, done, total))

    def check(self) -> None:
        """Raise Cancelled when that is wished."""
        if self._cancel.is_set():
            raise Cancelled(
                f"Stopped. What is done of {self._target.name} stays in {work_path(self._target).name}; "
                "convert again with the same arguments to go on."
            )

    def advance(self, counts: bool) -> None:
        """Tell of one tile more, where it is one that was written."""
        if counts:
            self.at(self._done + 1, self._total)

    def at(self, done: int, total: int) -> None:
        """Tell that so many tiles are done."""
        self.check()
        self._done, self._total = done, total
        fresh = done - self._before
        passed = time.monotonic() - self._started
        left = passed / fresh * (total - done) if fresh > 0 and passed > 1 else None
        self._tell(Progress(self._stage, done, total, left))

    def finish(self) -> None:
        """Tell that the stage is done."""
        self.at(self._total, self._total)
