"""The Correct panel without its widgets: opening, accepting and taking back windows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from napari_lumen.corrections.author import this_user
from napari_lumen.errors import LumenError, RunError
from napari_lumen.plugin import notices
from napari_lumen.plugin.controllers.correct_board import CorrectBoard
from napari_lumen.plugin.controllers.correct_choice import CorrectChoice
from napari_lumen.plugin.controllers.correct_counts import CorrectCounts
from napari_lumen.plugin.controllers.correct_desk import CorrectDesk
from napari_lumen.plugin.controllers.correct_drafts import CorrectDrafts
from napari_lumen.plugin.controllers.correct_objects import TOOLS, ObjectTools
from napari_lumen.plugin.controllers.correct_proposals import CorrectProposals
from napari_lumen.plugin.controllers.correct_shown import CorrectShown
from napari_lumen.plugin.controllers.correct_state import (
    MOST_SIDE,
    CorrectState,
    coarser_size,
    covered_by,
    next_field,
    window_grid,
)
from napari_lumen.plugin.controllers.correct_target import Standing, Target, now_of
from napari_lumen.plugin.controllers.correct_view import SlideView
from napari_lumen.plugin.jobs import Emit, JobRunner
from napari_lumen.plugin.wording import corrected, overlapping

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.corrections import Commit, Draft
    from napari_lumen.corrections.images import Pixels
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.controllers.correct_window import EditWindow

OPEN, NEXT, ACCEPT, SKIP = "W", "N", "A", "S"  # keys
_OPEN_ONE = f"A window is open: accept it ({ACCEPT}) or skip it ({SKIP}) first."


class CorrectController:
    """State and rules of the Correct panel.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    drafts : Path, optional
        Folder in which edits are kept until they are accepted; in the user's data folder when left out.
    """

    def __init__(self, viewer: ViewerModel, jobs: JobRunner, drafts: Path | None = None) -> None:
        self.board = CorrectBoard(jobs)
        self.choice = CorrectChoice(viewer, self.board)
        self.drafts = CorrectDrafts(self.board, self.choice, self._show_draft, drafts)
        self._shown = CorrectShown(viewer, self.board, self.choice)
        self.desk = CorrectDesk(viewer, self.board, self.choice, self._shown, drafts)
        self._counts = CorrectCounts(self.board, self.choice, self.desk, self._shown)
        self.tools = ObjectTools(viewer, self.board, self.choice, self.desk, self.open, self._counts.look)
        self.proposals = CorrectProposals(viewer, self.board, self.choice, self.open_on)
        self._viewer = viewer
        self._view = SlideView(viewer)
        self._closed = False
        self.desk.opened.connect(self._on_opened)
        self.desk.closed.connect(self._on_closed)
        self.desk.removed.connect(self.drafts.look)
        for key, call in self._keys().items():
            viewer.bind_key(key, lambda viewer, call=call: call(), overwrite=True)
        self.drafts.look()
        self.choice.look()

    @property
    def state(self) -> CorrectState:
        """What the panel shows."""
        return self.board.state

    def choose_size(self, size: float) -> None:
        """Choose the pixel size of the next window: times that of the labels."""
        self.board.update(size=size, coarser=None, message="")

    def name_author(self, author: str) -> None:
        """Say who corrects."""
        self.board.update(author=author.strip() or this_user())

    def open(self) -> None:
        """Open an edit window over what is in view."""
        ready = self._ready()
        if ready is None:
            return
        layer, target = ready
        seen = self._view.seen(layer, target.slide.shape)
        if seen.empty:
            self.board.update(message=f"The view shows nothing of {layer.name}: move it over the slide.")
            return
        self._open_on(layer, target, seen)

    def open_on(self, region: Region) -> None:
        """Move the view to a part of the slide, level-0 px, and open an edit window over it.

        A window that is open is closed if nothing was changed in it.
        """
        if self.state.open and not self.state.busy and not self.desk.unsaved:
            self.desk.close()
        ready = self._ready()
        if ready is not None:
            self._view.move_to(ready[0], region, fit=True)
            self._open_on(*ready, region)

    def _open_on(self, layer: Layer, target: Target, seen: Region) -> None:
        grid = window_grid(target.grid, self.state.size, seen, target.slide.shape)
        if max(grid.shape) > MOST_SIDE:
            self.board.update(
                coarser=coarser_size(self.state, target.grid, seen, target.slide.shape),
                message=f"What is in view is {grid.shape[1]:,} × {grid.shape[0]:,} px, and a window may be "
                f"{MOST_SIDE:,} px a side: zoom in, or take larger pixels.",
            )
            return

        def done(before: Pixels) -> None:
            if layer in self._viewer.layers and target is self.choice.target:
                self.desk.show(layer, target, grid, before, before)

        self.board.run("Opening a window …", lambda emit, cancel: target.answer(grid), done)

    def accept(self, then: Callable[[], None] = lambda: None) -> None:
        """Commit what is painted in the open window, and close it.

        Parameters
        ----------
        then : callable, optional
            Called when it is closed.
        """
        window, target = self.desk.window, self.choice.target
        if window is None or target is None or self.state.busy:
            return
        after = window.snapshot()

        def work(emit: Emit, cancel: Event) -> tuple[Commit, Standing]:
            return self._commit(target, window, after), target.update()

        def done(outcome: tuple[Commit, Standing]) -> None:
            commit, standing = outcome
            self._shown.stand(standing)
            self.board.update(message=corrected(commit.window, target.store.classes))
            if commit.covers:
                notices.tell(overlapping(commit.window.name, commit.covers))
            if self.desk.window is window:
                window.before = after
                if window.edited():  # painted since: that is another correction
                    return
                self.desk.close()
            then()

        self.board.run("Saving …", work, done)

    def accept_now(self) -> bool:
        """Commit what is painted before this call ends, as napari is closing; return whether it worked."""
        window, target = self.desk.window, self.choice.target
        if window is None or target is None:
            return True
        try:
            self._commit(target, window, window.snapshot())
        except LumenError as error:
            notices.show(error)
            return False
        self.desk.close()
        return True

    def skip(self) -> None:
        """Close the open window without committing it; until the next one it may be brought back."""
        if not self.state.busy:
            self.desk.put_by()

    def next(self) -> None:
        """Commit the open window, if there is one, and open the next field that is not corrected yet.

        It is the best of those proposed; without any, the next in reading order in which something was found.
        """
        if self.desk.window is not None:
            self.accept(self.next)
            return
        if self.state.proposals:
            self.proposals.go_to(0)
            return
        ready = self._ready()
        if ready is None:
            return
        layer, target = ready
        most = MOST_SIDE * self.state.size
        height, width = (
            min(side, most * step)
            for side, step in zip(self._view.extent(layer), target.grid.step, strict=True)
        )
        seen = self._view.seen(layer, target.slide.shape)
        windows = self.state.windows
        field = next_field(
            target.slide.shape,
            (height, width),
            None if seen.empty else seen,
            lambda field: not covered_by(field, windows) and target.finds_something(field),
        )
        if field is None:
            self.board.update(
                message="There is no field left in which something was found and not corrected."
            )
            return
        self._view.move_to(layer, field)
        self.open()

    def revert(self, name: str) -> None:
        """Take a committed window back."""
        target, author = self.choice.target, self.state.author
        if target is None or self.state.busy or self.desk.window is not None:
            return

        def work(emit: Emit, cancel: Event) -> Standing:
            target.store.revert(name, author)
            return target.update()

        def done(standing: Standing) -> None:
            self._shown.stand(standing)
            self._shown.show(target)
            self.board.update(message=f"Window {name} no longer counts; its files stay.")

        self.board.run("Taking it back …", work, done)

    def go_to(self, name: str) -> None:
        """Move the view to a committed window."""
        window = next((item for item in self.state.windows if item.name == name), None)
        if self.choice.layer is not None and window is not None:
            self._view.move_to(self.choice.layer, window.region, fit=True)

    # what is not accepted

    def tick(self) -> None:
        """Keep and count what is painted in the open window; called every few seconds."""
        self.desk.autosave()
        self._counts.look()

    def close(self) -> None:
        """Stop everything; what is not committed is kept for the next start."""
        if self._closed:
            return
        self._closed = True
        self.board.jobs.close()
        for key in self._keys():
            self._viewer.bind_key(key, None, overwrite=True)
        self.proposals.close()
        self.choice.close()
        self.desk.leave()

    # what happens

    def _keys(self) -> dict[str, Callable[[], None]]:
        """Return what keys do, whichever layer is selected."""
        tools = {tool.key: partial(self.tools.toggle, tool.name) for tool in TOOLS}
        return {OPEN: self.open, NEXT: self.next, **tools}

    def _ready(self) -> tuple[Layer, Target] | None:
        """Return what a window can be opened on; None, and why is shown, when it cannot."""
        layer, target, state = self.choice.layer, self.choice.target, self.state
        why = _OPEN_ONE if state.open else state.blocked or state.busy
        self.board.update(coarser=None, message=why)
        if why or layer is None or target is None:
            return None
        try:
            target.require_run()
        except RunError as error:
            self.board.update(message=str(error))
            notices.show(error)
            return None
        return layer, target

    def _commit(self, target: Target, window: EditWindow, after: Pixels) -> Commit:
        return target.store.commit(
            window.grid, window.before, after, self.state.author, fingerprint=now_of(target.slide)
        )

    def _show_draft(self, layer: Layer, draft: Draft, before: Pixels, after: Pixels) -> None:
        if self.choice.target is not None:
            self.desk.show(layer, self.choice.target, draft.record.grid, before, after, draft)
            self._view.move_to(layer, draft.record.grid.region, fit=True)

    def _on_opened(self, window: EditWindow) -> None:
        window.bind({ACCEPT: self.accept, SKIP: self.skip, NEXT: self.next, OPEN: self.open})

    def _on_closed(self) -> None:
        if not self._closed:
            self.choice.look()
