"""The edit window that is open: opening and closing it, how it paints, and keeping what is painted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.corrections import Draft, DraftRecord
from napari_lumen.corrections.author import now
from napari_lumen.plugin import notices
from napari_lumen.plugin.controllers.correct_autosave import Autosave
from napari_lumen.plugin.controllers.correct_target import Target
from napari_lumen.plugin.controllers.correct_window import EditWindow

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.corrections.images import Pixels
    from napari_lumen.geometry import Grid
    from napari_lumen.plugin.controllers.correct_board import CorrectBoard
    from napari_lumen.plugin.controllers.correct_choice import CorrectChoice
    from napari_lumen.plugin.controllers.correct_shown import CorrectShown


@dataclass(frozen=True, eq=False)
class _Skipped:
    """A window that was closed without saving, until the next one is opened."""

    layer: Layer
    target: Target
    grid: Grid
    before: Pixels
    after: Pixels


class CorrectDesk:
    """Holds the open edit window.

    Parameters
    ----------
    viewer : ViewerModel
    board : CorrectBoard
    choice : CorrectChoice
    shown : CorrectShown
    drafts : Path, optional
        Folder in which edits are kept until they are accepted; in the user's data folder when left out.
    """

    opened = Signal(EditWindow)
    closing = Signal(EditWindow)
    closed = Signal()
    removed = Signal()  # by the user, who has neither accepted nor skipped it

    def __init__(
        self,
        viewer: ViewerModel,
        board: CorrectBoard,
        choice: CorrectChoice,
        shown: CorrectShown,
        drafts: Path | None = None,
    ) -> None:
        self.window: EditWindow | None = None
        self._viewer = viewer
        self._board = board
        self._choice = choice
        self._shown = shown
        self._root = drafts
        self._autosave: Autosave | None = None
        self._skipped: _Skipped | None = None
        viewer.layers.events.removed.connect(self._on_removed)

    # how to paint

    def choose_class(self, value: int) -> None:
        """Choose what the brush paints; 0 is background."""
        if self.window is not None:
            self.window.choose(value)

    def keep_brush(self, on: bool) -> None:
        """Choose whether the brush keeps its size on the screen."""
        if self.window is not None:
            self.window.brush.switch(on)
        self._board.update(screen_brush=on)

    def preserve(self, on: bool) -> None:
        """Choose whether the brush leaves other classes alone."""
        if self.window is not None:
            self.window.layer.preserve_labels = on
        self._board.update(preserve=on)

    # windows

    def show(
        self,
        layer: Layer,
        target: Target,
        grid: Grid,
        before: Pixels,
        after: Pixels,
        draft: Draft | None = None,
    ) -> None:
        """Open a window.

        Parameters
        ----------
        layer : Layer
            Of the slide.
        target : Target
        grid : Grid
            The window's pixels.
        before, after : ndarray
            uint8 (h, w), the labels to correct, and those to begin with.
        draft : Draft, optional
            Where it was kept before.
        """
        self._skipped = None
        record = _record(target, grid, self._board.state.author)
        self._autosave = Autosave(self._board.jobs, record, before, self._root, draft)
        self._board.update(open=True, coarser=None, message="")
        self._shown.show(target, hidden=grid.region)
        self._shown.hide_maps(target)
        window = self.window = EditWindow(self._viewer, layer, grid, before, after, target.store.classes)
        window.layer.preserve_labels = self._board.state.preserve
        window.brush.switch(self._board.state.screen_brush)
        window.layer.events.selected_label.connect(self._on_brush)
        window.layer.events.preserve_labels.connect(self._on_brush)
        self._on_brush()
        self.opened.emit(window)

    def put_by(self) -> None:
        """Close the window without saving; until the next one it may be brought back."""
        window, target = self.window, self._choice.target
        if window is None or target is None:
            return
        edited, after = window.edited(), window.snapshot()
        self.close()
        self._board.update(message="Closed without saving." if edited else "Closed: nothing was changed.")
        if edited:
            self._skipped = _Skipped(window.slide, target, window.grid, window.before, after)
            notices.ask("The window was closed without saving.", "Bring it back", self.bring_back)

    def bring_back(self) -> None:
        """Open the window again that was closed without saving."""
        skipped, self._skipped = self._skipped, None
        if skipped is None or self.window is not None or skipped.layer not in self._viewer.layers:
            return
        if skipped.target is self._choice.target:
            self.show(skipped.layer, skipped.target, skipped.grid, skipped.before, skipped.after)

    def close(self) -> None:
        """Take the window away, and forget what is painted in it."""
        window, self.window = self.window, None
        if self._autosave is not None:
            self._autosave.discard()
            self._autosave = None
        if window is None:
            return
        self.closing.emit(window)
        window.close()
        self._shown.show_maps()
        if self._choice.target is not None:
            self._shown.show(self._choice.target, select=True)
        self._board.update(open=False)
        self.closed.emit()

    # what is not accepted

    @property
    def unsaved(self) -> bool:
        """Whether something is painted that is not committed."""
        return self.window is not None and self.window.edited()

    def autosave(self) -> None:
        """Keep what is painted; called every few seconds."""
        if self.window is not None and self._autosave is not None:
            self._autosave.tick(self.window.snapshot())

    def leave(self) -> None:
        """Take the window away as napari closes; what is painted is offered back at the next start."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._keep()
        self.close()

    def _keep(self) -> None:
        if self._autosave is not None and self.window is not None:
            self._autosave.keep(self.window.snapshot())
            self._autosave = None

    def _on_removed(self, event: Any) -> None:
        window = self.window
        if window is None or event.value is not window.layer:
            return
        if window.edited():  # nobody has said that they are not wanted
            self._keep()
            notices.warn("The edit window was removed before it was accepted: Restore brings it back.")
        self.close()
        self.removed.emit()

    def _on_brush(self, event: Any = None) -> None:
        if self.window is not None:
            layer = self.window.layer
            self._board.update(selected=int(layer.selected_label), preserve=bool(layer.preserve_labels))


def _record(target: Target, grid: Grid, author: str) -> DraftRecord:
    subject = target.store.subject
    return DraftRecord(
        slide=subject.slide,
        fingerprint=subject.fingerprint,
        mpp=subject.mpp,
        classes=target.store.classes,
        folder=target.store.folder,
        run=None if target.run is None else target.run.path,
        shape=grid.shape,
        step=grid.step,
        origin=grid.origin,
        author=author,
        begun=now(),
    )
