"""The counts of the legend while something is being painted."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.plugin import notices
from napari_lumen.plugin.jobs import Callbacks, Emit

if TYPE_CHECKING:
    from napari_lumen.corrections.images import Pixels
    from napari_lumen.inference.run import ClassCount
    from napari_lumen.plugin.controllers.correct_board import CorrectBoard
    from napari_lumen.plugin.controllers.correct_choice import CorrectChoice
    from napari_lumen.plugin.controllers.correct_desk import CorrectDesk
    from napari_lumen.plugin.controllers.correct_shown import CorrectShown


class CorrectCounts:
    """Counts what is painted in the open window, beside the GUI thread; once it is closed, what is kept.

    Parameters
    ----------
    board : CorrectBoard
    choice : CorrectChoice
    desk : CorrectDesk
    shown : CorrectShown
    """

    def __init__(
        self, board: CorrectBoard, choice: CorrectChoice, desk: CorrectDesk, shown: CorrectShown
    ) -> None:
        self._board = board
        self._choice = choice
        self._desk = desk
        self._shown = shown
        self._counted: Pixels | None = None
        self._running = False
        desk.closed.connect(self._on_closed)

    def look(self) -> None:
        """Count anew if something was painted since, unless the last counting still goes on."""
        window, target = self._desk.window, self._choice.target
        if window is None or target is None or target.run is None or self._running:
            return
        labels = window.snapshot()
        if np.array_equal(labels, window.before if self._counted is None else self._counted):
            return
        self._running, self._counted = True, labels
        standing = self._shown.standing

        def work(emit: Emit, cancel: Event) -> tuple[ClassCount, ...]:
            return target.counts_with(standing, window.grid, window.before, labels)

        def done(counts: tuple[ClassCount, ...]) -> None:
            self._running = False
            if self._desk.window is window and self._shown.standing == standing:
                self._shown.count(counts)

        def failed(error: BaseException) -> None:
            self._running = False
            notices.show(error)

        def cancelled() -> None:
            self._running = False

        self._board.jobs.start(work, Callbacks(lambda event: None, done, failed, cancelled))

    def _on_closed(self) -> None:
        self._counted = None
        self._shown.count(self._shown.standing)
