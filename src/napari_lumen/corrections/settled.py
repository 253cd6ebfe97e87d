"""The labels of a corrected window as they count now: with later windows over it, without reverted ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_lumen.corrections.changes import Changes
from napari_lumen.corrections.images import Pixels
from napari_lumen.corrections.index import CorrectedWindow, CorrectionIndex
from napari_lumen.geometry import Grid


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
    place = index.windows.index(window)
    gone = [item.window for item in index.reverted if _order(item.window) < _order(window)]
    gone = [item for item in gone if _overlap(item, window)]
    if gone:
        before = [item for item in index.windows[:place] if _overlap(item, window)]
        _take_back(folder, gone, [*before, window], grid, labels)
    for later in index.windows[place + 1 :]:
        if _overlap(later, window):
            _lay(Changes.read(folder, later), grid, labels)
    return labels


def _take_back(
    folder: Path, gone: Sequence[CorrectedWindow], left: Sequence[CorrectedWindow], grid: Grid, labels: Pixels
) -> None:
    """Say where reverted windows had changed labels what is there without them, in place.

    That is what was there before the first of all, and then what those that are left have changed.
    """
    touched = np.zeros(labels.shape, np.uint8)
    without = labels.copy()
    found = [(window, Changes.read(folder, window)) for window in sorted((*gone, *left), key=_order)]
    for window, changes in reversed(found):
        if changes is not None:
            changes.reversed().onto(grid, without)
            if window in gone:
                Changes(changes.grid, changes.before, changes.mask.astype(np.uint8), changes.mask).onto(
                    grid, touched
                )
    for window, changes in found:
        if window not in gone:
            _lay(changes, grid, without)
    labels[touched > 0] = without[touched > 0]


def _lay(changes: Changes | None, grid: Grid, labels: Pixels) -> None:
    if changes is not None:
        changes.onto(grid, labels)


def _overlap(one: CorrectedWindow, other: CorrectedWindow) -> bool:
    return not one.region.intersect(other.region).empty


def _order(window: CorrectedWindow) -> tuple[int, str]:
    """Return what windows of a store are sorted by: they are numbered."""
    return len(window.name), window.name
