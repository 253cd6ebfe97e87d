"""Keeping edits of a window whose layer goes while they are being saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_lumen.corrections import Draft, DraftRecord, abandoned_drafts
from napari_lumen.plugin.controllers.correct_autosave import Autosave
from plugin_fakes import NUCLEUS, StepJobs

BEFORE = np.zeros((8, 8), np.uint8)
RECORD = DraftRecord(
    slide="/slides/case.svs", fingerprint="f" * 64, mpp=(0.5, 0.5), classes=NUCLEUS,
    folder=Path("corrections"), run=None, shape=(8, 8), step=(1.0, 1.0), origin=(0.0, 0.0),
    author="Ada", begun="2026-01-01T00:00:00+00:00",
)  # fmt: skip


@pytest.mark.parametrize("more", [False, True], ids=["as being saved", "painted on since"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_kept_while_a_saving_is_under_way_is_there_afterwards(
    tmp_path: Path, more: bool, when: str
) -> None:
    jobs = StepJobs(first_at_once=False)
    saving = Autosave(jobs, RECORD, BEFORE, tmp_path)
    painted = BEFORE.copy()
    painted[2] = 1
    saving.tick(painted)
    latest = painted.copy()
    latest[3] = int(more)
    if when == "before":
        saving.keep(latest)  # the layer goes before the saving has begun
        jobs.let_run()
    else:
        work, callbacks, job = jobs.held.pop()
        draft = work(callbacks.progress, job.cancel)
        saving.keep(latest)
        callbacks.done(draft)  # what the job tells comes after
    ((folder, _),) = abandoned_drafts(tmp_path)
    assert np.array_equal(Draft.resume(folder).after, latest)


def test_what_is_discarded_while_a_saving_is_under_way_is_gone(tmp_path: Path) -> None:
    jobs = StepJobs(first_at_once=False)
    saving = Autosave(jobs, RECORD, BEFORE, tmp_path)
    saving.tick(BEFORE + 1)
    saving.discard()
    jobs.let_run()
    assert not abandoned_drafts(tmp_path)
