"""Offering back what was painted before napari ended without it being accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from napari_lumen.corrections import Draft, abandoned_drafts
from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.controllers.correct_target import Standing, Target, target_of
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.jobs import Emit

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_lumen.corrections.images import Pixels
    from napari_lumen.plugin.controllers.correct_board import CorrectBoard
    from napari_lumen.plugin.controllers.correct_choice import CorrectChoice

Show = Callable[["Layer", Draft, "Pixels", "Pixels"], None]


class CorrectDrafts:
    """Finds drafts, opens them again and deletes them.

    Parameters
    ----------
    board : CorrectBoard
    choice : CorrectChoice
    show : callable
        Opens a window: slide, draft, labels before and after.
    root : Path, optional
        Folder of the drafts; in the user's data folder when left out.
    """

    def __init__(self, board: CorrectBoard, choice: CorrectChoice, show: Show, root: Path | None) -> None:
        self._board = board
        self._choice = choice
        self._show = show
        self._root = root

    def look(self) -> None:
        """See what there is."""
        self._board.update(drafts=tuple(abandoned_drafts(self._root)))

    def restore(self, folder: Path) -> None:
        """Open a window again as it was last kept."""
        record = next((record for path, record in self._board.state.drafts if path == folder), None)
        if record is None or self._board.state.busy:
            return
        layer, run = self._choice.slide_of(record.fingerprint), str(record.run or "")
        why = None
        if self._board.state.open:
            why = "Accept or skip the window that is open first."
        elif layer is None:
            why = f"Open {record.slide} first: the edits lie on it."
        elif run and not self._choice.has_run(layer, run):
            why = f"Open the run {run} first: the edits are of its result."
        if why is not None or layer is None:
            self._board.update(message=why)
            return
        slide, names = SlideLayers.slide(layer), ", ".join(item.name for item in record.classes)

        def work(emit: Emit, cancel: Event) -> tuple[Target, Standing, Draft, Pixels, Pixels]:
            target = target_of(slide, run, record.folder, names)
            draft = Draft.resume(folder)
            try:
                return target, target.update(), draft, draft.before, draft.after
            except BaseException:
                draft.release()
                raise

        def done(outcome: tuple[Target, Standing, Draft, Pixels, Pixels]) -> None:
            target, standing, draft, before, after = outcome
            self._choice.choose_slide(self._choice.name_of(layer))
            self._choice.take(target, standing)
            self._show(layer, draft, before, after)
            self._board.update(message="These are the edits as they were last kept.")
            self.look()

        self._board.run("Reading the edits …", work, done)

    def forget(self, folder: Path) -> None:
        """Delete a draft."""
        try:
            Draft.resume(folder).discard()
        except LumenError as error:
            notices.show(error)
        self.look()
