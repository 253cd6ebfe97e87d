"""Runs whose slide goes away, whose reader or network fails, and whose folder others hold or fill."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from fakes import ArraySlide, Constant, Darkness, model_of
from napari_lumen import RunError, open_slide
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import Progress, Run, predict
from napari_lumen.inference import ledger as ledger_module
from napari_lumen.inference import writer as writer_module
from napari_lumen.inference.folder import claimed
from napari_lumen.inference.ledger import LEDGER_FILE, Ledger
from napari_lumen.inference.pipeline import NO_NUMBER
from napari_lumen.slides.convert import convert

SIDE = 1500
REGION = Region(0, 0, SIDE, SIDE)
MODEL = model_of(Darkness(), size=128, overlap=32)


def picture() -> np.ndarray:
    coarse = np.random.default_rng(3).integers(0, 200, (SIDE // 30, SIDE // 30, 3), np.uint8)
    return np.kron(coarse, np.ones((30, 30, 1), np.uint8))


@pytest.fixture(scope="module")
def tiff(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    options = {"tile": (128, 128), "compression": "zlib", "photometric": "rgb"}
    tifffile.imwrite(path, picture(), resolution=(20_000, 20_000), resolutionunit="CENTIMETER", **options)
    return path


@pytest.fixture(scope="module")
def truth(tiff: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return labels(predict(tiff, MODEL, REGION, tmp_path_factory.mktemp("truth") / "run"))


def labels(run: Run) -> np.ndarray:
    return np.asarray(run.levels(run.labels)[0])


def once(at: int, act: Callable[[], object]) -> Callable[[Progress], None]:
    """Act when so many tiles are done."""
    acted: list[object] = []

    def look(progress: Progress) -> None:
        if progress.stage == "running the model" and progress.done >= at and not acted:
            acted.append(act())

    return look


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write after every batch."""
    monkeypatch.setattr(writer_module, "_SOONEST", 0.0)
    monkeypatch.setattr(writer_module, "_SHARE", 1.0)


@pytest.mark.parametrize("how", ["removed", "moved", "chunks"])
@pytest.mark.usefixtures("often")
def test_an_ome_zarr_that_goes_leaves_no_white_answers(
    tiff: Path, truth: np.ndarray, tmp_path: Path, how: str
) -> None:
    whole, slide, aside = tmp_path / "whole.ome.zarr", tmp_path / "slide.ome.zarr", tmp_path / "aside"
    convert(tiff, whole)
    shutil.copytree(whole, slide)

    def go() -> None:
        if how == "moved":
            slide.rename(aside)
        elif how == "removed":
            shutil.rmtree(slide)
        else:
            for file in [file for file in slide.rglob("*") if file.is_file() and "json" not in file.name]:
                file.unlink()

    with pytest.raises(RunError, match=r"slide\.ome\.zarr can no longer be read: .*goes on from there"):
        predict(slide, MODEL, REGION, tmp_path / "run", on_progress=once(100, go))
    assert not (tmp_path / "run" / "run.json").exists()
    shutil.rmtree(slide, ignore_errors=True)
    shutil.copytree(whole, slide)
    run = predict(slide, MODEL, REGION, tmp_path / "run")
    assert run.record.failed_tiles == ()
    np.testing.assert_array_equal(labels(run), truth)


@pytest.mark.usefixtures("often")
def test_a_slide_that_is_overwritten_in_place_is_not_answered_as_two(
    tiff: Path, truth: np.ndarray, tmp_path: Path
) -> None:
    slide, out = tmp_path / "slide.tif", tmp_path / "run"
    shutil.copy(tiff, slide)
    content = slide.read_bytes()

    def overwrite() -> None:
        half = len(content) // 2
        with slide.open("r+b") as file:
            file.seek(half)
            file.write(bytes(255 - value for value in content[half:]))

    with pytest.raises(RunError, match=r"slide\.tif can no longer be read: it is another one"):
        predict(slide, MODEL, REGION, out, on_progress=once(40, overwrite))
    assert not (out / "run.json").exists()
    slide.write_bytes(content)
    run = predict(slide, MODEL, REGION, out)
    np.testing.assert_array_equal(labels(run), truth)


def test_a_disk_that_answers_no_more_ends_the_run_and_it_goes_on(truth: np.ndarray, tmp_path: Path) -> None:
    slide, out = ArraySlide(picture()), tmp_path / "run"

    def pull() -> None:
        slide._broken = Window(0, 0, SIDE, SIDE)

    with pytest.raises(RunError, match=r"can no longer be read: 3\d tiles in a row failed, .*decoded there"):
        predict(slide, MODEL, REGION, out, on_progress=once(100, pull))
    assert Ledger(out).covered
    slide._broken = None
    run = predict(slide, MODEL, REGION, out)
    assert run.record.failed_tiles == ()
    np.testing.assert_array_equal(labels(run), truth)


def test_a_file_that_is_cut_ends_the_run(tiff: Path, tmp_path: Path) -> None:
    slide = tmp_path / "slide.tif"
    shutil.copy(tiff, slide)
    cut = once(20, lambda: os.truncate(slide, slide.stat().st_size // 3))
    with pytest.raises(RunError, match=r"slide\.tif can no longer be read"):
        predict(slide, MODEL, REGION, tmp_path / "run", on_progress=cut)


def test_a_slide_that_is_damaged_far_and_wide_is_finished_after_a_few_calls(tmp_path: Path) -> None:
    slide = ArraySlide(picture(), broken=Window(600, 0, 900, SIDE))
    out, refused = tmp_path / "run", 0
    while not (out / "run.json").exists():
        try:
            predict(slide, MODEL, REGION, out)
        except RunError:
            refused += 1
            assert refused < 5
    assert refused
    assert len(Run.open(out).record.failed_tiles) > 100


def test_a_finished_run_tries_tiles_that_failed_again(truth: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "run"
    slide = ArraySlide(picture(), broken=Window(700, 700, 4, 4))
    first = predict(slide, MODEL, REGION, out)
    assert first.record.failed_tiles
    assert predict(slide, MODEL, REGION, out).record == first.record  # it fails still: no new session
    mended = predict(ArraySlide(picture()), MODEL, REGION, out)
    assert mended.record.failed_tiles == ()
    assert mended.record.sessions[-1].tiles < 40
    np.testing.assert_array_equal(labels(mended), truth)


def test_a_finished_run_is_returned_without_a_lock(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = predict(ArraySlide(picture()), MODEL, REGION, out)
    before = sorted(file.name for file in out.iterdir())
    with claimed(out):  # who cannot write cannot lock; root, whom no mode keeps out, can be kept out so
        assert predict(ArraySlide(picture()), MODEL, REGION, out).record == first.record
    assert sorted(file.name for file in out.iterdir()) == before


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("odd"), KeyError("k")])
def test_whatever_a_reader_raises_is_a_bad_tile(tmp_path: Path, error: Exception) -> None:
    class Odd(ArraySlide):
        def _read(self, level: int, window: Window) -> np.ndarray:
            if window.y == window.x == 80:
                raise error
            return super()._read(level, window)

    run = predict(Odd(picture()), MODEL, REGION, tmp_path / "run")
    (failed,) = run.record.failed_tiles
    assert (failed.y, failed.x) == (80, 80)
    assert failed.why.startswith(f"{type(error).__name__}: ")


@pytest.mark.parametrize("error", [MemoryError(), Cancelled("Enough.")])
def test_no_memory_and_a_wish_are_no_bad_tiles(tmp_path: Path, error: Exception) -> None:
    class Odd(ArraySlide):
        def _read(self, level: int, window: Window) -> np.ndarray:
            raise error

    with pytest.raises(type(error)):
        predict(Odd(picture()), MODEL, REGION, tmp_path / "run")


def test_no_number_is_no_background(tmp_path: Path) -> None:
    class Sometimes(Constant):
        calls = count()  # of all copies of it

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = super().forward(x)
            if next(self.calls) == 5:
                out[0, 0, 3, 3] = torch.nan
            return out

    network: nn.Module = Sometimes(0.9)
    model = model_of(network, size=128, overlap=0)
    run = predict(ArraySlide(picture()), model, REGION, tmp_path / "run")
    (failed,) = run.record.failed_tiles
    assert failed.why == NO_NUMBER
    y, x = int(failed.y), int(failed.x)
    found = labels(run)[:SIDE, :SIDE]
    assert not found[y : y + 128, x : x + 128].any()
    assert np.count_nonzero(found == 0) == 128 * 128
    assert predict(ArraySlide(picture()), model, REGION, tmp_path / "run").record == run.record


def test_a_line_of_which_a_full_disk_took_a_part_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path)
    ledger.add([((0, 1), 7)], [])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        ledger.add([((2, 3), 9)], [(Window(1, 2, 3, 4), "gone")])
    monkeypatch.undo()
    file = tmp_path / LEDGER_FILE
    file.write_bytes(file.read_bytes()[:-5])  # as far as the disk took it
    ledger.add([((2, 3), 9)], [(Window(1, 2, 3, 4), "gone")])
    for line in file.read_text().splitlines():
        json.loads(line)
    again = Ledger(tmp_path)
    assert again.covered == {(0, 1): 7, (2, 3): 9}
    assert again.failed == {Window(1, 2, 3, 4): "gone"}


def test_a_damaged_line_of_the_ledger_costs_its_cell_alone(tmp_path: Path) -> None:
    glued = '{"cell": [0, 1], "cov{"cell": [1, 1], "covered": 2}'
    (tmp_path / LEDGER_FILE).write_text(glued + '\n{"cell": [2, 2], "covered": 3}\n')
    assert Ledger(tmp_path).covered == {(2, 2): 3}


@pytest.mark.parametrize(
    "line", ['{"cell": ["a", 0], "covered": 1}', '{"tile": [1, 2], "why": ""}', '{"block": [[]]}', "[]", "3"]
)
def test_a_line_of_the_ledger_that_says_nothing_is_left_out(tmp_path: Path, line: str) -> None:
    (tmp_path / LEDGER_FILE).write_text(line + '\n{"cell": [2, 2], "covered": 3}\n')
    ledger = Ledger(tmp_path)
    assert (ledger.covered, ledger.failed, ledger.blocks) == ({(2, 2): 3}, {}, set())


def test_a_folder_in_place_of_the_ledger_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).mkdir()
    with pytest.raises(RunError, match="is a folder, where the run keeps what is finished"):
        Ledger(tmp_path)


@pytest.mark.usefixtures("often")
def test_a_session_is_noted_while_it_goes_on(tmp_path: Path) -> None:
    out, noted = tmp_path / "run", []

    def look(progress: Progress) -> None:
        if progress.stage == "running the model":
            noted.append(json.loads((out / "sessions.json").read_text()))

    cancel = Event()
    predict(ArraySlide(picture()), MODEL, REGION, out, on_progress=look, cancel=cancel)
    assert all(len(sessions) == 1 for sessions in noted)
    assert noted[0][0]["tiles"] == 0
    assert noted[0][0]["versions"]["torch"]
    assert noted[-1][0]["tiles"] > 50
    assert noted[-1][0]["seconds"]["running the model"] > 0


def _race(out: Path, barrier: object, told: object) -> None:
    torch.set_num_threads(1)
    barrier.wait()  # type: ignore[attr-defined]
    try:
        predict(ArraySlide(picture()[:300, :300]), MODEL, Region(0, 0, 300, 300), out)
        told.put("finished")  # type: ignore[attr-defined]
    except BaseException as error:
        told.put(str(error))  # type: ignore[attr-defined]


def test_who_is_refused_removes_nothing_and_is_told_why(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    barrier, told = spawned.Barrier(3), spawned.Queue()
    children = [spawned.Process(target=_race, args=(tmp_path / "run", barrier, told)) for _ in range(3)]
    for child in children:
        child.start()
    heard = [told.get(timeout=120) for _ in children]
    for child in children:
        child.join()
    assert "finished" in heard
    assert all(text == "finished" or "is in use" in text for text in heard)
    assert Run.open(tmp_path / "run")


def test_while_the_holder_has_nothing_there_but_its_beginning_the_folder_is_in_use(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with claimed(out):
        with pytest.raises(RunError, match="is in use"):
            predict(ArraySlide(picture()), MODEL, REGION, out)
        (out / ".plan.json.partial").write_text("{")
        with pytest.raises(RunError, match="is in use"):
            predict(ArraySlide(picture()), MODEL, REGION, out)
        assert (out / ".plan.json.partial").exists()


def test_an_empty_folder_of_the_user_is_left_and_left_empty(tmp_path: Path) -> None:
    cancel, out = Event(), tmp_path / "mine"
    out.mkdir()
    with pytest.raises(Cancelled):
        predict(ArraySlide(picture()), MODEL, REGION, out, on_progress=once(4, cancel.set), cancel=cancel)
    assert list(out.iterdir()) == []


def test_the_fingerprint_that_is_looked_at_is_computed_anew(tiff: Path, tmp_path: Path) -> None:
    slide = tmp_path / "slide.tif"
    shutil.copy(tiff, slide)
    with open_slide(slide) as opened:
        assert opened.fingerprint_now() == opened.fingerprint
        os.truncate(slide, slide.stat().st_size // 2)
        assert opened.fingerprint_now() != opened.fingerprint
