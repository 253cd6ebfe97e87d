"""Runs that are killed, cancelled, claimed twice or called again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import zarr

from fakes import ArraySlide, Darkness, model_of
from napari_lumen import RunError
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import Progress, Run, predict
from napari_lumen.inference.folder import claimed
from napari_lumen.inference.ledger import LEDGER_FILE, Ledger

SIDE = 1500
REGION = Region(0, 0, SIDE, SIDE)

# Forks the processes that are killed, so that each need not load torch anew. They make the same call as the
# test, a little slower than the disk.
CHILDREN = """
import os, sys, time
import pandas, torch
sys.path.insert(0, {tests!r})
import napari_lumen.inference.writer as writer
from test_inference_resume import REGION, model, picture
from fakes import ArraySlide
from napari_lumen.inference import predict
writer._SOONEST, writer._SHARE = 0.0, 1.0  # write after every batch, so that there is something to kill
torch.set_num_threads(1)


def run():
    def tell(progress):
        if progress.stage == "running the model":
            print("batch", flush=True)
        time.sleep(0.004)

    print(os.getpid(), flush=True)
    predict(ArraySlide(picture()), model(), REGION, {out!r}, on_progress=tell)
    print("done", flush=True)


for _ in sys.stdin:
    child = os.fork()
    if not child:
        run()
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def picture() -> np.ndarray:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (SIDE // 30, SIDE // 30, 3), np.uint8)
    return np.kron(coarse, np.ones((30, 30, 1), np.uint8))


def model(**changes: object):  # type: ignore[no-untyped-def]
    return model_of(Darkness(), size=128, overlap=32, attention=("attention",), **changes)  # type: ignore[arg-type]


def arrays(run: Run) -> dict[str, np.ndarray]:
    marks = zarr.open_group(str(run.path / "analysed"), mode="r")
    return {
        f"{raster.name}/{level}": np.asarray(array)
        for raster in run.record.rasters
        for level, array in enumerate(run.levels(raster))
    } | {f"analysed/{level}": np.asarray(marks[level]) for level in marks}


def assert_same(run: Run, truth: Run) -> None:
    """Equal labels but where the classes are within one step; probability within one step."""
    found, wanted = arrays(run), arrays(truth)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        kind = name.split("/")[0]
        if kind == "classes":
            close = np.abs(wanted[f"dark/{name.split('/')[1]}"] - 0.5) <= 1.5 / 255
            np.testing.assert_array_equal(np.where(close, 0, found[name]), np.where(close, 0, values))
        else:
            np.testing.assert_allclose(found[name], values, atol=1.01 / 255)
    assert run.record.counts == truth.record.counts
    assert run.record.analysed_mm2 == truth.record.analysed_mm2


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return predict(ArraySlide(picture()), model(), REGION, tmp_path_factory.mktemp("truth") / "run")


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_and_ends_as_if_it_had_not_been(
    tmp_path: Path, undisturbed: Run
) -> None:
    out = tmp_path / "run"
    code = CHILDREN.format(tests=str(Path(__file__).parent), out=str(out))
    rng = np.random.default_rng(11)
    finished = [0]
    kills = 0
    pipe = subprocess.PIPE
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True, bufsize=1)
    assert parent.stdin is not None
    assert parent.stdout is not None
    while kills < 20:
        parent.stdin.write("again\n")
        child = int(parent.stdout.readline())
        said = []
        if kills % 4:  # the others hit what comes before the first tile
            batches = rng.integers(1, 25)
            while len(said) < batches and "done\n" not in said:
                said.append(parent.stdout.readline())
        time.sleep(rng.uniform(0, 0.1))
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.kill(child, signal.SIGKILL)
        said += iter(parent.stdout.readline, "ended\n")
        if "done\n" in said:  # it was quicker: begin anew, so that twenty kills hit a run that is going on
            assert_same(Run.open(out), undisturbed)
            for file in sorted(out.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            finished.append(0)
            continue
        kills += 1
        finished.append(len(Ledger(out).covered) if out.exists() else 0)
    parent.communicate()
    assert parent.returncode == 0
    assert any(after > before > 0 for before, after in pairwise(finished))
    run = predict(ArraySlide(picture()), model(), REGION, out)
    assert_same(run, undisturbed)
    assert run.record.sessions[-1].tiles < run.record.tiles


def test_a_cancelled_run_goes_on_with_what_is_finished(tmp_path: Path, undisturbed: Run) -> None:
    out, cancel = tmp_path / "run", Event()

    def stop(progress: Progress) -> None:
        if progress.stage == "running the model" and progress.done > 80:
            cancel.set()

    with pytest.raises(Cancelled):
        predict(ArraySlide(picture()), model(), REGION, out, on_progress=stop, cancel=cancel)
    done = len(Ledger(out).covered)
    assert done > 0
    with pytest.raises(RunError, match="holds no finished run"):
        Run.open(out)
    told: list[Progress] = []
    run = predict(ArraySlide(picture()), model(), REGION, out, on_progress=told.append)
    assert_same(run, undisturbed)
    assert len(run.record.sessions) == 2
    first = next(p for p in told if p.stage == "running the model")
    assert 0 < first.done < first.total == run.record.tiles


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    slide = ArraySlide(picture())
    first = predict(slide, model(), REGION, tmp_path / "run")
    slide.largest_read = 0
    again = predict(slide, model(), REGION, tmp_path / "run")
    assert again.record == first.record
    assert slide.largest_read == 0


@pytest.mark.parametrize(
    ("slide", "changed", "region", "what"),
    [
        ({}, {}, Region(0, 0, 700, 700), "another region"),
        ({"mpp": (0.4, 0.4)}, {}, REGION, "another pixel size"),
        ({}, {"overlap": 16}, REGION, "a model of another card"),
        ({}, {"weights": "1" * 64}, REGION, "a model of other weights: its file has changed since"),
    ],
)
def test_a_folder_of_another_run_is_left_alone(
    tmp_path: Path,
    slide: dict[str, tuple[float, float]],
    changed: dict[str, object],
    region: Region,
    what: str,
) -> None:
    predict(ArraySlide(picture()), model(), REGION, tmp_path / "run")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*.json")}
    other = model_of(
        Darkness(), size=128, overlap=int(str(changed.get("overlap", 32))), attention=("attention",)
    )
    if "weights" in changed:
        card = other.card.model_copy(update={"weights_sha256": changed["weights"]})
        other = type(other)(other.network, card, other.path)
    with pytest.raises(RunError, match=f"holds a run of {what}"):
        predict(ArraySlide(picture(), **slide), other, region, tmp_path / "run")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*.json")} == before


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with claimed(tmp_path / "run"), pytest.raises(RunError, match=rf"is in use: .*process {os.getpid()}"):
        predict(ArraySlide(picture()), model(), REGION, tmp_path / "run")
    predict(ArraySlide(picture()), model(), REGION, tmp_path / "run")


def test_tiles_that_failed_are_tried_again_when_the_run_goes_on(tmp_path: Path, undisturbed: Run) -> None:
    out, cancel = tmp_path / "run", Event()

    def stop(progress: Progress) -> None:
        if progress.stage == "running the model" and progress.done > 100:
            cancel.set()

    broken = ArraySlide(picture(), broken=Window(100, 100, 4, 4))
    with pytest.raises(Cancelled):
        predict(broken, model(), REGION, out, on_progress=stop, cancel=cancel)
    assert Ledger(out).failed
    run = predict(ArraySlide(picture()), model(), REGION, out)
    assert run.record.failed_tiles == ()
    assert_same(run, undisturbed)


def test_a_half_written_line_of_the_ledger_is_dropped(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add([((0, 1), 7), ((2, 3), 0)], [(Window(1, 2, 3, 4), "gone")])
    with (tmp_path / LEDGER_FILE).open("ab") as file:
        file.write(b'{"cell": [4, 5], "cov')
    again = Ledger(tmp_path)
    assert again.covered == {(0, 1): 7, (2, 3): 0}
    assert again.failed == {Window(1, 2, 3, 4): "gone"}
    again.add([((4, 5), 9)], [])
    assert Ledger(tmp_path).covered == {(0, 1): 7, (2, 3): 0, (4, 5): 9}


def test_a_run_that_an_earlier_version_began_marks_all_that_was_answered(
    tmp_path: Path, undisturbed: Run
) -> None:
    out, cancel = tmp_path / "run", Event()

    def stop(progress: Progress) -> None:
        if progress.stage == "running the model" and progress.done > 100:
            cancel.set()

    with pytest.raises(Cancelled):
        predict(ArraySlide(picture()), model(), REGION, out, on_progress=stop, cancel=cancel)
    assert any(Ledger(out).covered.values())
    shutil.rmtree(out / "analysed")
    run = predict(ArraySlide(picture()), model(), REGION, out)
    assert_same(run, undisturbed)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return predict(ArraySlide(picture()[:600, :600]), model(), None, tmp_path_factory.mktemp("small") / "run")


def damaged(small: Run, folder: Path, name: str, content: bytes) -> Run:
    """Go on with a copy of a run that has no record yet and of which a file holds something else."""
    shutil.copytree(small.path, folder)
    (folder / "run.json").unlink()
    assert name == "run.json" or (folder / name).exists()
    (folder / name).write_bytes(content)
    return predict(ArraySlide(picture()[:600, :600]), model(), None, folder)


@pytest.mark.parametrize(
    "name", ["run.json", "sessions.json", "zarr.json", "labels/zarr.json", "labels/classes/0/zarr.json"]
)
def test_a_damaged_file_of_a_run_is_written_anew(tmp_path: Path, small: Run, name: str) -> None:
    run = damaged(small, tmp_path / "run", name, b"")
    assert_same(run, small)
    assert run.record.sessions[-1].tiles == 0


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("labels/classes/0/c/0/0", True),
        ("probability/1/c/0/0/0", False),
        ("attention/attention/0/c/0/0", True),
    ],
)
def test_what_a_damaged_file_of_pixels_held_is_made_again(
    tmp_path: Path, small: Run, name: str, again: bool
) -> None:
    cut = (small.path / name).read_bytes()[:60]
    run = damaged(small, tmp_path / "run", name, cut)
    assert_same(run, small)
    assert (run.record.sessions[-1].tiles > 0) is again  # coarser levels follow from the finest


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("labels/classes/0/c/0/0", True),
        ("probability/0/c/0/0/0", True),
        ("probability/1/c/0/0/0", False),
        ("labels", True),
        ("probability", True),
        ("analysed", True),
        ("attention", True),
    ],
)
@pytest.mark.parametrize("unfinished", [True, False])
def test_what_a_lost_file_or_folder_held_is_made_again(
    tmp_path: Path, small: Run, name: str, again: bool, unfinished: bool
) -> None:
    shutil.copytree(small.path, tmp_path / "run")
    if unfinished:
        (tmp_path / "run" / "run.json").unlink()
    lost = tmp_path / "run" / name
    if lost.is_dir():
        shutil.rmtree(lost)
    else:
        lost.unlink()
    run = predict(ArraySlide(picture()[:600, :600]), model(), None, tmp_path / "run")
    assert_same(run, small)
    assert (run.record.sessions[-1].tiles > 0) is again


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("labels/classes/0/c/0/0", True),
        ("labels/classes/1/zarr.json", False),
        ("probability/1/c/0/0/0", False),
        ("objects.parquet", False),
    ],
)
def test_what_was_cut_off_a_file_of_a_run_that_ended_is_made_again(
    tmp_path: Path, small: Run, name: str, again: bool
) -> None:
    shutil.copytree(small.path, tmp_path / "run")
    cut = tmp_path / "run" / name
    cut.write_bytes(cut.read_bytes()[:-9])
    run = predict(ArraySlide(picture()[:600, :600]), model(), None, tmp_path / "run")
    assert_same(run, small)
    assert (run.record.sessions[-1].tiles > 0) is again
    assert len(run.objects()) == len(small.objects())


def test_a_file_that_is_damaged_inside_is_told_in_one_sentence_that_helps(tmp_path: Path, small: Run) -> None:
    shutil.copytree(small.path, tmp_path / "run")
    broken = tmp_path / "run" / "labels" / "classes" / "0" / "c" / "0" / "0"
    content = bytearray(broken.read_bytes())
    content[:200] = bytes(200)
    broken.write_bytes(content)
    run = Run.open(tmp_path / "run")
    with pytest.raises(RunError, match=r"A file in .*classes/0 of the run cannot be read") as told:
        run.levels(run.labels)[0].compute()
    assert "Delete that folder, and run the model again" in str(told.value)
    shutil.rmtree(broken.parents[2])
    assert_same(predict(ArraySlide(picture()[:600, :600]), model(), None, tmp_path / "run"), small)


def test_levels_that_are_gone_are_told_in_one_sentence(tmp_path: Path, small: Run) -> None:
    shutil.copytree(small.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "probability")
    run = Run.open(tmp_path / "run")
    raster = next(raster for raster in run.record.rasters if raster.kind == "probability")
    with pytest.raises(RunError, match="is gone or damaged"):
        run.levels(raster)


def test_pixels_are_on_the_disk_before_the_ledger_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_ino))
    run = predict(ArraySlide(picture()[:300, :300]), model(), Region(0, 0, 300, 300), tmp_path / "run")
    before = synced[: synced.index((run.path / LEDGER_FILE).stat().st_ino)]
    written = {file.stat().st_ino for file in run.path.rglob("c/**/*") if file.is_file()}
    assert written
    assert written <= set(before)


def test_a_full_disk_is_one_sentence_and_what_is_finished_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Run
) -> None:
    from napari_lumen.inference import writer
    from napari_lumen.inference.rasters import LiveRaster

    monkeypatch.setattr(writer, "_SOONEST", 0.0)
    monkeypatch.setattr(writer, "_SHARE", 1.0)
    flush, out = LiveRaster.flush, tmp_path / "run"

    def full(self: LiveRaster) -> set[tuple[int, int, int]]:
        if Ledger(out).covered:
            raise OSError(28, "No space left on device")
        return flush(self)

    monkeypatch.setattr(LiveRaster, "flush", full)
    with pytest.raises(RunError, match=r"cannot be written to .*run: No space left on device.*goes on"):
        predict(ArraySlide(picture()), model(), REGION, tmp_path / "run")
    monkeypatch.undo()
    assert Ledger(tmp_path / "run").covered
    assert_same(predict(ArraySlide(picture()), model(), REGION, tmp_path / "run"), undisturbed)


def test_a_large_result_is_few_files(tmp_path: Path) -> None:
    slide = ArraySlide(np.full((5000, 5000, 3), 90, np.uint8))
    large = model_of(Darkness(), size=512, overlap=32)
    run = predict(slide, large, Region(0, 0, 5000, 5000), tmp_path / "run")
    assert sum(file.is_file() for file in run.path.rglob("*")) < 80
    assert json.loads((run.path / "run.json").read_text())["counts"][0]["objects"] == 1
