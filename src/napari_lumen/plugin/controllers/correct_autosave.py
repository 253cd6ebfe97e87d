"""Keeping what is painted every few seconds, beside the GUI thread."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.corrections import Draft, DraftRecord
from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.jobs import Callbacks, Emit, JobRunner

if TYPE_CHECKING:
    from napari_lumen.corrections.images import Pixels


class Autosave:
    """Keeps the edits of one window on disk.

    Parameters
    ----------
    jobs : JobRunner
    record : DraftRecord
        Of the window.
    before : ndarray
        uint8 (h, w), the labels it was opened with.
    root : Path, optional
        Of all drafts.
    draft : Draft, optional
        Where the window was kept before; one is begun at the first edit when left out.
    """

    def __init__(
        self,
        jobs: JobRunner,
        record: DraftRecord,
        before: Pixels,
        root: Path | None = None,
        draft: Draft | None = None,
    ) -> None:
        self._jobs = jobs
        self._record = record
        self._before = before
        self._root = root
        self._draft = draft
        self._last: Pixels = before if draft is None else draft.after
        self._running = False
        self._over = self._wanted = False
        self._told = False
        self._saving = Lock()
        self._asked = self._saved = 0  # how often labels were to be kept, and which of them are

    def tick(self, labels: Pixels) -> None:
        """Keep these labels if they are not those kept last, unless the last saving is still going on."""
        if self._running or np.array_equal(labels, self._last):
            return
        self._running, self._last = True, labels
        self._asked += 1
        number = self._asked

        def work(emit: Emit, cancel: Event) -> Draft:
            return self._save(labels, number)

        self._jobs.start(work, Callbacks(lambda event: None, self._on_saved, self._on_failed, self._on_end))

    def keep(self, labels: Pixels) -> None:
        """Keep these labels now, and let go of them: they are offered back at the next start.

        A saving that is under way is waited for, and one that has not begun comes too late.
        """
        self._over = self._wanted = True
        self._asked += 1
        try:
            if self._running or not np.array_equal(labels, self._last):
                self._save(labels, self._asked)
        except LumenError as error:
            notices.show(error)
        if self._draft is not None:
            self._draft.release()

    def discard(self) -> None:
        """Delete what is kept: the window was committed, or is not wanted."""
        self._over = True
        if self._draft is not None and not self._running:
            self._draft.discard()

    def _save(self, labels: Pixels, number: int) -> Draft:
        with self._saving:
            draft = self._draft or Draft.begin(self._record, self._before, self._root)
            self._draft = draft
            if number > self._saved:
                draft.save(labels)
                self._saved = number
            return draft

    def _on_saved(self, draft: Draft) -> None:
        self._running = False
        if self._over and not self._wanted:
            draft.discard()

    def _on_failed(self, error: BaseException) -> None:
        self._on_end()
        if self._over and not self._wanted:
            self.discard()
        elif not self._told:
            self._told = True
            notices.show(error)

    def _on_end(self) -> None:
        self._running = False
        self._last = self._before  # try again at the next edit
