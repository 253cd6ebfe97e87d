"""The labels of a corrected window as they count now: with later windows over it, without reverted ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_lumen.corrections.changes import Changes
from napari_lumen.corrections.images import Pixels
from napari_lumen.corrections.index import CorrectedWindow, CorrectionIndex


def settled(folder: Path, index: CorrectionIndex, window: CorrectedWindow, stored: Pixels) -> Pixels:
    """Return the labels of a window, so that windows which overlap agree where they do.

    Parameters
    ----------
    folder : Path
        Of the index.
    index : CorrectionIndex
    window : CorrectedWindow
        One of its windows.
    stored : ndarray
        uint8 (h, w), its label image.

    Returns
    -------
    ndarray
        uint8 (h, w). What an earlier window has changed that is reverted by now is as it was before; what a
        later window has changed is as that says.

    Raises
    ------
    RunError
        When a file of an overlapping window is gone or damaged.
    """
    labels = stored.copy()
    grid = window.grid((stored.shape[0], stored.shape[1]))
    own = np.zeros(stored.shape, np.uint8)
    mine = Changes.read(folder, window)
    if mine is not None:
        Changes(mine.grid, mine.before, mine.mask.astype(np.uint8), mine.mask).onto(grid, own)
    for gone in reversed(index.reverted):
        if _order(gone.window) < _order(window) and _overlap(gone.window, window):
            changes = Changes.read(folder, gone.window)
            if changes is not None:
                _take_back(changes, labels, own == 0, window)
    for later in index.windows[index.windows.index(window) + 1 :]:
        if _overlap(later, window):
            changes = Changes.read(folder, later)
            if changes is not None:
                changes.onto(grid, labels)
    return labels


def _take_back(changes: Changes, labels: Pixels, free: object, window: CorrectedWindow) -> None:
    """Undo a reverted change where the labels still show it and the window itself has not changed it."""
    grid = window.grid((labels.shape[0], labels.shape[1]))
    with_it, without = labels.copy(), labels.copy()
    changes.onto(grid, with_it)
    changes.reversed().onto(grid, without)
    shown = (with_it == labels) & (without != labels) & np.asarray(free)
    labels[shown] = without[shown]


def _overlap(one: CorrectedWindow, other: CorrectedWindow) -> bool:
    return not one.region.intersect(other.region).empty


def _order(window: CorrectedWindow) -> tuple[int, str]:
    """Return what windows of a store are sorted by: they are numbered."""
    return len(window.name), window.name
