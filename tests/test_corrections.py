"""Corrections: what is committed counts, at every zoom, for training, and after a crash."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.corrections import (
    Changes,
    CorrectedLabels,
    CorrectionStore,
    Draft,
    DraftRecord,
    Subject,
    abandoned_drafts,
    composite,
    images,
)
from napari_lumen.corrections.settled import settled
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Window
from napari_lumen.halving import halve_labels
from napari_lumen.holding import held
from napari_lumen.inference.corrected import corrected_counts, corrected_labels
from plugin_fakes import NUCLEUS, write_run

SUBJECT = Subject("/slides/case.svs", "f" * 64, (0.25, 0.25), NUCLEUS)


def labels(*shape: int, marked: Window | None = None, value: int = 1) -> Any:
    array = np.zeros(shape, np.uint8)
    if marked is not None:
        array[marked.slices] = value
    return array


def pyramid(finest: Any, levels: int) -> list[Any]:
    """Halve as a run does, each level padded to an even size."""
    found = [finest]
    for _ in range(levels - 1):
        last = found[-1]
        found.append(halve_labels(np.pad(last, [(0, side % 2) for side in last.shape])))
    return found


def commit(store: CorrectionStore, grid: Grid, before: Any, after: Any, **keywords: Any) -> Any:
    return store.commit(grid, before, after, **keywords)


def test_a_commit_keeps_the_labels_and_only_what_changed(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "new", SUBJECT)
    before, after = labels(40, 60), labels(40, 60, marked=Window(5, 7, 2, 3), value=2)
    grid = Grid((40, 60), (2.0, 2.0), (100.0, 200.0))
    window = commit(store, grid, before, after, author="Ada").window
    assert (window.author, window.shape, window.mpp) == ("Ada", (40, 60), (0.5, 0.5))
    assert window.region == grid.region
    assert window.time
    assert window.changed is not None
    assert (window.changed.y, window.changed.x, window.changed.height, window.changed.width) == (5, 7, 2, 3)
    assert [(kind.before, kind.after, kind.pixels) for kind in window.changed.kinds] == [(0, 2, 6)]
    again = CorrectionStore(tmp_path / "new")
    assert again.subject == SUBJECT
    assert again.windows == (window,)
    (changes,) = again.changes()
    assert changes.grid == Grid((2, 3), (2.0, 2.0), (110.0, 214.0))
    assert np.array_equal(images.read_png(store.folder / window.labels), after)


def test_a_window_in_which_all_was_right_is_kept_as_looked_at(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path, SUBJECT)
    same = labels(8, 8, marked=Window(0, 0, 2, 2))
    assert commit(store, Grid((8, 8), (1, 1)), same, same).window.changed is None
    assert not store.changes()
    assert len(store.windows) == 1


def test_a_reverted_window_no_longer_counts_and_its_files_stay(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path, SUBJECT)
    for _ in range(2):
        commit(store, Grid((4, 4), (1, 1)), labels(4, 4), labels(4, 4, marked=Window(0, 0, 1, 1)))
    store.revert("0001", "Bob")
    assert [window.name for window in store.windows] == ["0002"]
    (gone,) = store.index.reverted
    assert (gone.window.name, gone.author) == ("0001", "Bob")
    assert (tmp_path / "0001.png").is_file()
    assert commit(store, Grid((4, 4), (1, 1)), labels(4, 4), labels(4, 4)).window.name == "0003"
    with pytest.raises(RunError, match=r"no corrected window '0001'; there is 0002, 0003"):
        store.revert("0001")


def test_of_two_windows_that_overlap_the_later_wins_where_it_changed_something(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path, SUBJECT)
    base = labels(20, 20)
    first = labels(8, 8, marked=Window(2, 2, 4, 4))
    one = commit(store, Grid((8, 8), (1, 1), (0, 0)), labels(8, 8), first)
    assert one.covers == ()
    before = labels(8, 8, marked=Window(0, 0, 2, 2))  # the corner of what the first has found
    after = before.copy()
    after[0, 0], after[7, 7] = 2, 2
    two = commit(store, Grid((8, 8), (1, 1), (4, 4)), before, after)
    assert two.covers == ("0001",)
    apart = commit(
        store, Grid((4, 4), (1, 1), (16, 16)), labels(4, 4), labels(4, 4, marked=Window(0, 0, 1, 1))
    )
    assert apart.covers == ()
    expected = base.copy()
    expected[2:6, 2:6], expected[16, 16] = 1, 1
    expected[4, 4], expected[11, 11] = 2, 2
    assert np.array_equal(
        CorrectedLabels([base], Grid((20, 20), (1, 1)), store.changes()).read(0, Window(0, 0, 20, 20)),
        expected,
    )
    index = store.index
    of_first = settled(tmp_path, index, index.windows[0], images.read_png(tmp_path / "0001.png"))
    assert np.array_equal(of_first, expected[:8, :8])
    store.revert("0001")
    index = store.index
    of_second = settled(tmp_path, index, index.windows[0], images.read_png(tmp_path / "0002.png"))
    expected[2:6, 2:6] = 0
    expected[4, 4] = 2
    assert np.array_equal(of_second, expected[4:12, 4:12])


@pytest.mark.parametrize("seed", range(40))
def test_training_sees_what_is_shown_whatever_was_corrected_and_reverted(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    store = CorrectionStore(tmp_path, SUBJECT)
    base, whole = rng.integers(0, 3, (3, 3), np.uint8), Grid((3, 3), (1, 1))

    def shown() -> CorrectedLabels:
        return CorrectedLabels([base], whole, store.changes())

    for _ in range(7):
        if store.windows and rng.random() < 0.4:
            store.revert(store.windows[rng.integers(len(store.windows))].name)
            continue
        y, x = rng.integers(0, 2, 2).tolist()
        grid = Grid((2, 2), (1, 1), (y, x))
        before = shown().on(grid)
        after = before.copy()
        if rng.random() < 0.7:  # else it is accepted as it is
            after[rng.random((2, 2)) < 0.6] = rng.integers(0, 3)
        commit(store, grid, before, after)
    for window in store.windows:
        seen = settled(tmp_path, store.index, window, images.read_png(tmp_path / window.labels))
        np.testing.assert_array_equal(seen, shown().on(window.grid((2, 2))))


def test_what_two_people_change_at_the_same_time_both_counts(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path, SUBJECT)
    grid, opened = Grid((8, 8), (1, 1)), labels(8, 8)
    store.commit(grid, opened, labels(8, 8, marked=Window(3, 3, 1, 1)), "Ada")
    around = opened.copy()
    around[0, 0], around[7, 7] = 2, 2
    assert store.commit(grid, opened, around, "Bob").covers == ()
    shown = CorrectedLabels([opened], grid, store.changes()).read(0, Window(0, 0, 8, 8))
    assert (shown[3, 3], shown[0, 0], shown[7, 7]) == (1, 2, 2)


@settings(max_examples=25)
@given(data=st.data())
def test_corrections_lie_over_every_level_as_if_the_run_had_said_so(data: st.DataObject) -> None:
    seed, finer = data.draw(st.integers(0, 2**16)), data.draw(st.sampled_from([1, 2]))
    random = np.random.default_rng(seed)
    shape = (int(random.integers(20, 90)), int(random.integers(20, 90)))
    finest = random.integers(0, 3, shape, np.uint8)
    step, origin = (1.5, 1.5), (3.0, -2.0)
    top, left = int(random.integers(0, shape[0] - 8)), int(random.integers(0, shape[1] - 8))
    height, width = (int(random.integers(1, side)) for side in (shape[0] - top, shape[1] - left))
    after = random.integers(0, 3, (height, width), np.uint8)
    expected = finest.copy()
    expected[top : top + height, left : left + width] = after
    before = finest[top : top + height, left : left + width]
    window = Grid(
        (height * finer, width * finer),
        (step[0] / finer, step[1] / finer),
        (origin[0] + top * step[0], origin[1] + left * step[1]),
    )
    parts = (part.repeat(finer, 0).repeat(finer, 1) for part in (before, after))
    found = Changes.between(window, *parts)
    changes = [] if found is None else [found[0]]
    side, composite.BLOCK = composite.BLOCK, 16
    try:
        levels = CorrectedLabels(pyramid(finest, 4), Grid(shape, step, origin), changes).levels
        for level, wanted in zip(levels, pyramid(expected, 4), strict=True):
            assert np.array_equal(np.asarray(level), wanted)
            assert np.array_equal(level[1:, ::2], wanted[1:, ::2])
    finally:
        composite.BLOCK = side


def test_a_coarse_window_lies_by_its_pixel_edges() -> None:
    run = Grid((16, 16), (1.0, 1.0))
    coarse = Grid((3, 3), (4.0, 4.0), (2.0, 3.0))  # edges between those of the run's coarser levels
    after = labels(3, 3)
    after[1, 1] = 2
    found = Changes.between(coarse, labels(3, 3), after)
    assert found is not None
    shown = CorrectedLabels([labels(16, 16)], run, [found[0]])
    assert np.array_equal(np.argwhere(shown.read(0, Window(0, 0, 16, 16)) == 2).min(axis=0), (6, 7))
    assert int((shown.read(0, Window(0, 0, 16, 16)) == 2).sum()) == 16
    assert np.array_equal(shown.on(coarse), after)


def test_a_run_shows_and_counts_what_was_corrected_and_keeps_its_own_labels(tmp_path: Path) -> None:
    slide = ArraySlide(np.zeros((256, 256, 3), np.uint8))
    run = write_run(tmp_path, slide, Window(8, 8, 8, 8))
    stored = np.asarray(run.levels(run.labels)[0])
    store = CorrectionStore(run.path)
    grid = Grid((32, 32), (2.0, 2.0))
    before = corrected_labels(run).on(grid)
    assert int((before == 1).sum()) == 64
    after = before.copy()
    after[8:16, 8:16] = 0  # no nucleus there
    after[20:26, 20:26] = 2
    after[2:6, 2:6] = 2
    commit(store, grid, before, after)
    shown = corrected_labels(run)
    assert np.array_equal(shown.read(0, Window(0, 0, 32, 32)), after)
    assert np.array_equal(np.asarray(run.levels(run.labels)[0]), stored)
    nucleus, gland = corrected_counts(run, shown)
    assert (nucleus.objects, gland.objects) == (1233, 2)
    assert nucleus.area_mm2 == pytest.approx(0.25 - 64e-6)
    assert gland.area_mm2 == pytest.approx(52e-6)


def test_a_full_disk_leaves_nothing_behind_and_the_same_commit_works_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CorrectionStore(tmp_path, SUBJECT)
    arguments = Grid((4, 4), (1, 1)), labels(4, 4), labels(4, 4, marked=Window(0, 0, 2, 2))
    store.commit(*arguments)
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for failing in ("images.os.fsync", "index.write_text"):  # the labels, and the index that comes last
        with monkeypatch.context() as patched:
            patched.setattr(f"napari_lumen.corrections.{failing}", full)
            with pytest.raises(RunError, match=r"No space left on device\. Free some space"):
                store.commit(*arguments)
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert store.commit(*arguments).window.name == "0002"


def test_a_run_that_was_deleted_meanwhile_gets_no_corrections(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ArraySlide(np.zeros((256, 256, 3), np.uint8)), Window(8, 8, 8, 8)).path
    store = CorrectionStore(run)
    grid, before = Grid((16, 16), (1.0, 1.0)), np.zeros((16, 16), np.uint8)
    store.commit(grid, before, before + 1)
    run.rename(tmp_path / "elsewhere")
    for change in (lambda: store.commit(grid, before, before + 1), lambda: store.revert("0001")):
        with pytest.raises(RunError, match="is gone: put its folder back"):
            change()
    assert not run.exists()
    (tmp_path / "elsewhere").rename(run)
    assert store.commit(grid, before, before + 1).window.name == "0002"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = CorrectionStore(tmp_path / "file" / "corrections", SUBJECT)
    with pytest.raises(RunError, match=r"cannot be written to .*Not a directory"):
        store.commit(Grid((2, 2), (1, 1)), labels(2, 2), labels(2, 2))


def test_a_commit_waits_for_another_process_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_lumen.corrections.writing._PATIENCE", 0.2)
    store = CorrectionStore(tmp_path, SUBJECT)
    arguments = Grid((2, 2), (1, 1)), labels(2, 2), labels(2, 2)
    with held(tmp_path), pytest.raises(RunError, match="accept again: nothing is lost"):
        store.commit(*arguments)
    assert store.commit(*arguments).window.name == "0001"


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path, SUBJECT)
    grid, none = Grid((2, 2), (1, 1)), labels(2, 2)
    with pytest.raises(RunError, match="value 57, which is no class; there is 0 for background, 1 for nucl"):
        store.commit(grid, none, none + 57)
    with pytest.raises(RunError, match="takes uint8 of that shape"):
        store.commit(grid, none, labels(2, 3))
    with pytest.raises(RunError, match="another slide by now, of the same name"):
        store.commit(grid, none, none, fingerprint="0" * 64)
    assert not list(tmp_path.glob("*.png"))
    store.commit(grid, none, none)
    with pytest.raises(RunError, match="corrections of another slide"):
        CorrectionStore(tmp_path, Subject("/slides/case.svs", "0" * 64, (0.25, 0.25), NUCLEUS))
    fewer = ClassTable.of([(1, "nucleus", (0, 180, 255))])
    with pytest.raises(RunError, match="'gland' as 2, which is not among the classes given"):
        CorrectionStore(tmp_path, Subject("/slides/case.svs", "f" * 64, (0.25, 0.25), fewer))
    store.revert("0001")
    assert CorrectionStore(tmp_path, Subject("/slides/case.svs", "f" * 64, (0.25, 0.25), fewer)).windows == ()
    document = json.loads((tmp_path / "corrections.json").read_text())
    (tmp_path / "corrections.json").write_text(json.dumps({**document, "version": 2}))
    with pytest.raises(RunError, match="written by a newer version of napari-lumen"):
        CorrectionStore(tmp_path)


_PAINTER = """
import sys, time
from pathlib import Path
import numpy as np
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.corrections import Draft, DraftRecord
record = DraftRecord.model_validate_json(sys.argv[2])
labels = np.zeros(record.shape, np.uint8)
draft = Draft.begin(record, labels, Path(sys.argv[1]))
for stroke in range(10**6):
    labels.flat[stroke % labels.size] = 1
    draft.save(labels)
    print(stroke, flush=True)
"""


def test_after_a_kill_the_last_saved_edits_are_offered_back(tmp_path: Path) -> None:
    record = DraftRecord(
        slide="/slides/case.svs", fingerprint="f" * 64, mpp=(0.5, 0.5), classes=NUCLEUS,
        folder=tmp_path / "corrections", run=None, shape=(300, 300), step=(1.0, 1.0), origin=(5.0, 6.0),
        author="Ada", begun="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    command = [sys.executable, "-c", _PAINTER, str(tmp_path / "drafts"), record.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as painter:
        assert painter.stdout is not None
        told = -1
        while told < 5:
            told = int(painter.stdout.readline())
        assert abandoned_drafts(tmp_path / "drafts") == []  # somebody works on it
        time.sleep(0.05)
        os.kill(painter.pid, signal.SIGKILL)
        last = max(int(line) for line in [str(told), *painter.stdout.read().split()])
    ((folder, offered),) = abandoned_drafts(tmp_path / "drafts")
    assert offered == record
    draft = Draft.resume(folder)
    strokes = int((draft.after > 0).sum())
    assert last + 1 <= strokes <= last + 2
    assert not draft.before.any()
    with pytest.raises(RunError, match="go on there"):
        Draft.resume(folder)
    draft.release()
    assert abandoned_drafts(tmp_path / "drafts") == [(folder, record)]
    Draft.resume(folder).discard()
    assert abandoned_drafts(tmp_path / "drafts") == []
