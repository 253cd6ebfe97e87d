"""What people have corrected: windows with their labels, kept beside a run or a slide.

Nothing here needs torch: the format is read by training, by the window and by the command line.
"""

from __future__ import annotations

from napari_lumen.corrections.changes import Changes
from napari_lumen.corrections.composite import CorrectedLabels
from napari_lumen.corrections.draft import Draft, DraftRecord, abandoned_drafts
from napari_lumen.corrections.index import CorrectedWindow, CorrectionIndex, Reverted
from napari_lumen.corrections.store import Commit, CorrectionStore
from napari_lumen.corrections.subject import Subject, corrections_folder, folder_beside

__all__ = [
    "Changes",
    "Commit",
    "CorrectedLabels",
    "CorrectedWindow",
    "CorrectionIndex",
    "CorrectionStore",
    "Draft",
    "DraftRecord",
    "Reverted",
    "Subject",
    "abandoned_drafts",
    "corrections_folder",
    "folder_beside",
]
