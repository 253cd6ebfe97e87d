"""Runs on a Dask cluster: equal to local ones, whoever is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import shapely
import tifffile
from pandas.testing import assert_frame_equal

pytest.importorskip("distributed")

from cluster_fakes import Teacher, teach, write_model, write_slide
from napari_lumen import RunError, open_slide
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference import Live, Progress, Run, predict
from napari_lumen.inference.assignment import Assignment, assign, assigned_model, require_same_place
from napari_lumen.inference.cluster import Crew, connected, worker_environments
from napari_lumen.inference.cohort import predict_cohort
from napari_lumen.inference.folder import claimed
from napari_lumen.inference.ledger import LEDGER_FILE, Ledger
from napari_lumen.inference.parts import block_of, divide
from napari_lumen.inference.plan import Plan, _all_tiles, pyramid_grid
from napari_lumen.models import load_model, registry, save_model
from napari_lumen.stain.normalisation import Macenko
from test_inference_resume import assert_same

HEIGHT, WIDTH = 2100, 4150  # two by three blocks
REGION = Region(0, 0, HEIGHT, WIDTH - 100)


@pytest.fixture(scope="module", autouse=True)
def known_here() -> Iterator[None]:
    teach()
    yield
    del registry._NETWORKS["slow_darkness"]
    del sys.modules["napari_lumen.models.cluster_fakes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def slide(folder: Path) -> Path:
    return write_slide(folder / "squares.tif", HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_model(folder)


@pytest.fixture(scope="module")
def slow(folder: Path) -> Path:
    """The same network by the same name, so slow that there is time to kill somebody over it."""
    return write_model(folder / "slow", pause=0.03)


@pytest.fixture(scope="module")
def local(slide: Path, model: Path, folder: Path) -> Run:
    return predict(slide, model, REGION, folder / "local")


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with connected(None, workers=2) as found:
        found.wait(lambda: None)
        found._client.register_plugin(Teacher())
        while found.size < 2:
            time.sleep(0.05)
        yield found


def quiet(crew: Crew) -> bool:
    """Whether no worker has anything to do."""
    return not any(crew._client.processing().values())


def test_a_run_by_two_workers_equals_a_local_one(
    slide: Path, model: Path, local: Run, crew: Crew, tmp_path: Path
) -> None:
    told: list[Progress] = []
    noted: list[str] = []

    def note(growing: Live) -> None:
        assert growing.records
        noted.append((tmp_path / "run" / "sessions.json").read_text())

    run = predict(slide, model, REGION, tmp_path / "run", on_progress=told.append, on_live=note, crew=crew)
    assert_same(run, local)
    assert_frame_equal(run.objects(), local.objects())
    assert '"2 Dask workers"' in noted[0]  # before they have told anything
    (session,) = run.record.sessions
    assert session.device == "2 Dask workers (cpu)"
    assert run.record.tiles <= session.tiles < run.record.tiles * 1.1
    assert session.batch == local.record.sessions[0].batch
    tiles = [step for step in told if step.stage == "running the model"]
    assert [step.done for step in tiles] == sorted(step.done for step in tiles)
    assert tiles[0].done == 0
    assert len({step.done for step in tiles}) > 2
    assert tiles[-1].done == tiles[-1].total == run.record.tiles
    again = predict(slide, model, REGION, tmp_path / "run")
    assert again.record == run.record


@pytest.mark.slow
def test_a_worker_killed_on_the_way_loses_nothing(
    slide: Path, slow: Path, local: Run, crew: Crew, tmp_path: Path
) -> None:
    victims = list(crew._client.run(os.getpid).values())

    def kill(progress: Progress) -> None:
        if victims and progress.stage == "running the model" and progress.done > 60:
            os.kill(victims.pop(), signal.SIGKILL)
            victims.clear()

    run = predict(slide, slow, REGION, tmp_path / "run", on_progress=kill, crew=crew)
    assert not victims
    assert_same(run, local)
    assert run.record.failed_tiles == ()


@pytest.mark.slow
def test_cancel_reaches_the_workers_and_the_run_goes_on_here(
    slide: Path, local: Run, crew: Crew, tmp_path: Path
) -> None:
    cancel, out, word = Event(), tmp_path / "run", tmp_path / "word"
    waiting = write_model(tmp_path, word=str(word))

    def stop(progress: Progress) -> None:
        if progress.stage == "running the model" and (out / LEDGER_FILE).exists():
            cancel.set()
            word.touch()

    start = time.monotonic()
    with pytest.raises(Cancelled):
        predict(slide, waiting, REGION, out, on_progress=stop, cancel=cancel, crew=crew)
    assert quiet(crew)
    finished = Ledger(out).covered
    assert 0 < len(finished) < len(local_cells(local))
    assert len({block_of(cell) for cell in finished}) * 64 >= len(finished)  # whole blocks
    assert time.monotonic() - start < 60
    run = predict(slide, waiting, REGION, out)
    assert_same(run, local)
    assert run.record.sessions[1].tiles < run.record.tiles


def local_cells(run: Run) -> set[tuple[int, int]]:
    return set(Ledger(run.path).covered)


CLIENT = """
import sys
sys.path.insert(0, {tests!r})
import cluster_fakes, test_inference_cluster
cluster_fakes.teach()
from napari_lumen.inference import predict
from napari_lumen.inference.cluster import connected
with connected({address!r}) as crew:
    predict({slide!r}, {model!r}, test_inference_cluster.REGION, {out!r}, crew=crew)
"""


@pytest.mark.slow
def test_a_client_killed_on_the_way_goes_on_by_the_ledger(
    slide: Path, local: Run, crew: Crew, tmp_path: Path
) -> None:
    out, word = tmp_path / "run", tmp_path / "word"
    waiting = write_model(tmp_path, word=str(word))
    code = CLIENT.format(
        tests=str(Path(__file__).parent),
        address=crew._client.scheduler.address,
        slide=str(slide),
        model=str(waiting),
        out=str(out),
    )
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    while child.poll() is None and not (out / LEDGER_FILE).exists():
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    word.touch()
    _, stderr = child.communicate()
    assert child.returncode == -signal.SIGKILL, stderr.decode()
    before = len(Ledger(out).covered)
    assert before
    run = predict(slide, waiting, REGION, out, crew=crew)
    assert_same(run, local)
    assert run.record.sessions[-1].tiles < run.record.tiles


def test_a_bad_tile_is_told_by_the_worker(slide: Path, model: Path, crew: Crew, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes(slide.read_bytes())
    with tifffile.TiffFile(damaged) as tiff:
        page = tiff.pages[0]
        place, size = page.dataoffsets[40], page.databytecounts[40]
    with damaged.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * size)
    here = predict(damaged, model, REGION, tmp_path / "here")
    there = predict(damaged, model, REGION, tmp_path / "there", crew=crew)
    assert here.record.failed_tiles

    def in_order(run: Run) -> list[tuple[float, ...]]:
        return sorted((tile.y, tile.x, tile.height, tile.width) for tile in run.record.failed_tiles)

    assert in_order(there) == in_order(here)
    assert there.record.failed_tiles[0].why == here.record.failed_tiles[0].why
    assert_same(there, here)


def test_a_cohort_goes_to_workers_by_slides_and_what_is_left_in_parts(
    model: Path, crew: Crew, tmp_path: Path
) -> None:
    slides = [write_slide(tmp_path / f"{seed}.tif", 600, 700, seed) for seed in (1, 2, 3)]
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0nothing")
    cohort = predict_cohort([*slides, bad], model, tmp_path / "out", crew=crew)
    assert [row.status for row in cohort.rows] == ["finished"] * 3 + ["failed"]
    assert "bad.tif" in str(cohort.rows[3].error)
    by = [Run.open(cohort.path / str(row.run)).record.device for row in cohort.rows[:3]]
    assert by == ["cpu", "cpu", "1 Dask worker (cpu)"]
    for path, row in zip(slides, cohort.rows, strict=False):
        assert_same(Run.open(cohort.path / str(row.run)), predict(path, model, None, tmp_path / path.stem))


def test_copies_of_a_slide_in_one_cohort_share_a_run(model: Path, crew: Crew, tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / folder / "s.tif", 600, 700) for folder in ("a", "b", "c")]
    cohort = predict_cohort(slides, model, tmp_path / "out", crew=crew)
    assert [row.status for row in cohort.rows] == ["finished"] * 3
    assert len({row.run for row in cohort.rows}) == 1


def test_what_a_worker_finds_otherwise_is_one_sentence(
    slide: Path, model: Path, crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(slide) as opened, claimed(tmp_path / "run"):
        told = assign(opened, load_model(model), tmp_path / "run", "cpu", "topic")
        require_same_place(told, "tcp://w")
        for other, sentence in (
            (replace(told, versions={**told.versions, "torch": "1.0"}), "Worker tcp://w has torch .* 1.0"),
            (replace(told, folder=tmp_path / "elsewhere"), "does not see .*elsewhere .*all machines share"),
        ):
            with pytest.raises(RunError, match=sentence):
                require_same_place(other, "tcp://w")
        with pytest.raises(RunError, match="other weights or another card"):
            assigned_model(replace(told, weights_sha256="0"), "tcp://w")
    monkeypatch.setattr("napari_lumen.inference.cluster_segmentation.assign", _elsewhere)
    with pytest.raises(RunError, match=r"Worker tcp://127\.0\.0\.1:\d+ does not see .*elsewhere"):
        predict(slide, model, REGION, tmp_path / "other", crew=crew)
    assert not (tmp_path / "other").exists()


def _elsewhere(*arguments: object) -> Assignment:
    told = assign(*arguments)  # type: ignore[arg-type]
    return replace(told, folder=told.folder / "elsewhere")


def test_parts_are_whole_blocks_of_about_equal_work() -> None:
    grid, levels = pyramid_grid(Grid((16_000, 24_000), (1.0, 1.0)))
    tiles = tuple(_all_tiles((16_000, 24_000), grid, 256, 32))
    plan = Plan(grid, levels, 256, 32, tiles, shapely.box(0, 0, 24_000, 16_000))
    waits = plan.tiles_per_cell()
    cells = list(waits)
    for workers in (1, 3, 30):
        parts = divide(plan, cells, workers)
        assert sorted(cell for part in parts for cell in part.cells) == sorted(cells)
        blocks = [{block_of(cell) for cell in part.cells} for part in parts]
        assert sum(map(len, blocks)) == len(set().union(*blocks))
        sizes = [len(part.plan.tiles) for part in parts]
        assert sizes == sorted(sizes, reverse=True)  # a large one begun last would be waited for
        assert sum(sizes) <= len(tiles) * 1.05 or len(parts) == workers
        assert len(parts) >= workers
        if workers < 30:
            assert max(sizes) < 1.25 * min(sizes)
        counts = parts[0].plan.tiles_per_cell()  # each cell gets all the tiles that it waits for
        assert all(counts[cell] == waits[cell] for cell in parts[0].cells)


def test_only_what_is_missing_is_divided() -> None:
    grid, levels = pyramid_grid(Grid((5000, 5000), (1.0, 1.0)))
    tiles = tuple(_all_tiles((5000, 5000), grid, 256, 32))
    plan = Plan(grid, levels, 256, 32, tiles, shapely.box(0, 0, 5000, 5000))
    (part,) = divide(plan, [(0, 0), (7, 7)], 4)
    touching = [tile for tile in tiles if {(0, 0), (7, 7)} & set(plan.cells_of(tile))]
    assert part.plan.tiles == tuple(touching)
    assert divide(plan, [], 4) == []
    assert Window(0, 0, 1, 1) not in part.plan.tiles


def test_what_comes_back_before_its_turn_is_bounded(crew: Crew) -> None:
    news = crew.work(_wait, "topic", [(0.5,), *[(0.0,)] * 30], ahead=3)
    ended = [item.index for item in news if item is not None]
    assert sorted(ended) == list(range(31))
    assert ended.index(0) <= 3 * 2 - 1  # none is sent out that is further from the first than that


def _wait(index: int, seconds: float) -> None:
    time.sleep(seconds)


def test_workers_share_cores_and_have_a_gpu_each() -> None:
    two = worker_environments(2, 16, ["2", "5"])
    assert [each["CUDA_VISIBLE_DEVICES"] for each in two] == ["2", "5"]
    assert {each["OMP_NUM_THREADS"] for each in two} == {"8"}
    assert worker_environments(3, 2, []) == [{"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}] * 3


def test_no_cluster_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_lumen.inference.cluster._TIMEOUT", "0.5s")
    with (
        pytest.raises(RunError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9: "),
        connected("tcp://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(RunError, match="one"), connected("tcp://127.0.0.1:9", 2):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RunError, match=r'pip install "napari-lumen\[cluster\]"'), connected(None, 2):
        pass


def test_workers_use_the_threads_they_are_given(crew: Crew) -> None:
    import torch

    threads = max(1, (os.cpu_count() or 1) // 2)
    assert set(crew._client.run(torch.get_num_threads).values()) == {threads}


def test_ctrl_c_is_left_to_the_client(crew: Crew) -> None:
    before = crew._client.run(os.getpid)
    for process in before.values():
        os.kill(process, signal.SIGINT)
    time.sleep(0.2)
    assert crew._client.run(os.getpid) == before


def test_workers_see_the_colours_of_the_run(crew: Crew, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "squares.tif", 700, 900)
    known = load_model(write_model(tmp_path, "stained"))
    spec = known.card.input.model_copy(update={"stain": Macenko()})
    card = known.card.model_copy(update={"input": spec})
    model = save_model(tmp_path / "models", known.network, card)
    region = Region(0, 0, 700, 900)
    local = predict(slide, model, region, tmp_path / "local")
    run = predict(slide, model, region, tmp_path / "run", crew=crew)
    assert run.record.stain == local.record.stain is not None
    assert_same(run, local)
    plain = predict(slide, tmp_path / "stained", region, tmp_path / "plain")
    with pytest.raises(AssertionError):
        assert_same(plain, local)
