"""`napari-lumen runs`: what it says of finished, unfinished and damaged runs, and what it deletes."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fakes import ArraySlide, Darkness, model_of
from napari_lumen.cli import app
from napari_lumen.corrections import CorrectionStore
from napari_lumen.counting import counted
from napari_lumen.errors import Cancelled, RunError
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference import Progress, Run, predict
from napari_lumen.inference.folder import claimed, user_runs

MODEL = model_of(Darkness(), size=128, overlap=32)


def call(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "300", "TERM": "dumb"}).invoke(app, [str(part) for part in arguments])


def grey(side: int) -> np.ndarray:
    return np.full((side, side, 3), 60, np.uint8)


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    slide = ArraySlide(grey(600), broken=Window(300, 300, 4, 4))
    return predict(slide, MODEL, Region(0, 0, 600, 500), tmp_path / "finished")


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A run that was cancelled when some of it was on disk."""
    cancel, out = Event(), tmp_path / "unfinished"

    def stop(progress: Progress) -> None:
        if progress.stage == "running the model" and progress.done > 150:
            cancel.set()

    with pytest.raises(Cancelled):
        predict(ArraySlide(grey(1500)), MODEL, Region(0, 0, 1500, 1500), out, on_progress=stop, cancel=cancel)
    return out


def test_a_finished_run_says_how_it_was_made(finished: Run) -> None:
    result = call("runs", "show", finished.path)
    assert result.exit_code == 0, result.stderr
    record = finished.record
    (session,) = record.sessions
    for part in (
        "finished",
        "array.tif",
        "0.5 x 0.5 µm, from the slide",
        "known (weights 000000000000)",
        "top 0, left 0, 600 x 500 px of level 0",
        f"{record.tiles} tiles of 128 px at 0.5 µm, 32 shared",
        f"on cpu: {session.tiles} tiles, {session.batch} at once",
        "running the model",
        f"busy {session.busy:.0%}",
        f"torch {session.versions['torch']}",
        f"{len(record.failed_tiles)} of {record.tiles} tiles failed: array.tif cannot be decoded there.",
        f"at y, x (level-0 px): {record.failed_tiles[0].y:.0f}, {record.failed_tiles[0].x:.0f}",
        f"{record.analysed_mm2:.4g} mm²",
        f"{record.counts[0].area_mm2:.4g} mm²",
    ):
        assert part in result.stdout
    assert "goes on" not in result.stdout


def test_an_unfinished_run_says_how_far_it_is_and_how_to_go_on(unfinished: Path) -> None:
    result = call("runs", "show", unfinished)
    assert result.exit_code == 0, result.stderr
    facts = json.loads(call("runs", "show", unfinished, "--json").stdout)
    assert facts["finished"] is False
    assert facts["record"] is None
    assert 0 < facts["cells_finished"] < facts["identity"]["cells"] == 36
    share = facts["cells_finished"] / 36
    assert f"{share:.0%} finished" in result.stdout
    assert f"predict {facts['identity']['slide']} --model known --out {unfinished}" in result.stdout
    assert facts["sessions"][0]["tiles"] > 150


def test_a_model_in_a_folder_of_ones_own_is_named_by_it(unfinished: Path) -> None:
    plan = json.loads((unfinished / "plan.json").read_text())
    folder = unfinished.parent / "models" / "known"
    folder.mkdir(parents=True)
    (unfinished / "plan.json").write_text(json.dumps({**plan, "model_path": str(folder)}))
    assert f"--model {folder} --out" in call("runs", "show", unfinished).stdout


def test_as_json_a_finished_run_is_all_of_its_record(finished: Run) -> None:
    facts = json.loads(call("runs", "show", finished.path, "--json").stdout)
    assert facts["finished"] is True
    assert facts["record"] == json.loads((finished.path / "run.json").read_text())
    assert sum(facts["failed"].values()) == len(finished.record.failed_tiles)


def test_a_run_that_goes_on_says_who_works_on_it(unfinished: Path) -> None:
    with claimed(unfinished):
        result = call("runs", "show", unfinished)
        assert "in use" in result.stdout
        assert "running" in result.stdout
        refused = call("runs", "remove", unfinished)
        assert refused.exit_code == 1
        assert "in use" in refused.stderr
    assert unfinished.exists()
    assert "in use" not in call("runs", "show", unfinished).stdout


def test_runs_are_listed_with_their_status(finished: Run, unfinished: Path) -> None:
    (finished.path.parent / "notes").mkdir()
    damaged = finished.path.parent / "damaged"
    damaged.mkdir()
    (damaged / "plan.json").write_text("{}")
    result = call("runs", "list", finished.path.parent)
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert set(lines) == {"run", "finished", "unfinished"}
    assert f"{finished.record.analysed_mm2:.4g}" in lines["finished"]
    assert "% finished" in lines["unfinished"]
    assert "plan.json is damaged" in result.stderr


def test_a_run_of_a_newer_version_is_told_from_a_damaged_one(unfinished: Path) -> None:
    plan = json.loads((unfinished / "plan.json").read_text())
    (unfinished / "plan.json").write_text(json.dumps({**plan, "format": 2, "more": "of it"}))
    result = call("runs", "show", unfinished)
    assert result.exit_code == 1
    assert "made by a newer version of napari-lumen" in result.stderr


def test_a_record_of_a_newer_version_is_not_written_over(finished: Run) -> None:
    file = finished.path / "run.json"
    text = json.dumps({**json.loads(file.read_text()), "format": 2})
    file.write_text(text)
    for command in (("runs", "show"), ("runs", "objects")):
        more = (finished.path.parent / "objects.csv",) if command[1] == "objects" else ()
        result = call(*command, finished.path, *more)
        assert result.exit_code == 1
        assert "made by a newer version of napari-lumen" in result.stderr
    with pytest.raises(RunError, match="newer version"):
        Run.ended_in(finished.path)
    assert file.read_text() == text


def test_a_run_of_which_all_tiles_but_no_record_are_there_is_not_called_whole(unfinished: Path) -> None:
    plan = json.loads((unfinished / "plan.json").read_text())
    (unfinished / "plan.json").write_text(json.dumps({**plan, "cells": 1}))
    assert "99% finished" in call("runs", "show", unfinished).stdout


def test_a_table_of_objects_that_was_deleted_is_told_from_none(finished: Run, tmp_path: Path) -> None:
    (finished.path / "objects.parquet").unlink()
    result = call("runs", "objects", finished.path, tmp_path / "objects.csv")
    assert result.exit_code == 1
    assert "objects.parquet is gone. Run the model again with that folder" in result.stderr


def test_a_run_that_is_not_finished_says_where_its_pixel_size_is_from(unfinished: Path) -> None:
    assert "from the slide" in call("runs", "show", unfinished).stdout
    plan = json.loads((unfinished / "plan.json").read_text())
    (unfinished / "plan.json").write_text(json.dumps({**plan, "mpp_source": "user"}))
    assert "from the user" in call("runs", "show", unfinished).stdout


def test_without_a_folder_the_users_own_runs_are_listed() -> None:
    assert f"There are no runs in {user_runs()}" in call("runs", "list").stdout
    run = predict(ArraySlide(grey(300)), MODEL, Region(0, 0, 300, 300))
    assert run.path.parent == user_runs()
    assert run.path.name in call("runs", "list").stdout


def test_a_run_that_people_have_corrected_is_removed_only_by_force(finished: Run) -> None:
    store = CorrectionStore(finished.path)
    before = np.zeros((8, 8), np.uint8)
    store.commit(Grid((8, 8), (1.0, 1.0)), before, before + 1, "me")
    refused = call("runs", "remove", finished.path)
    assert refused.exit_code == 1
    assert "1 corrected window," in refused.stderr
    assert "--force" in refused.stderr
    assert len(store.windows) == 1
    assert call("runs", "remove", finished.path, "--force").exit_code == 0
    assert not finished.path.exists()


def test_a_removed_run_is_gone_and_nothing_else_is_removed(finished: Run, tmp_path: Path) -> None:
    assert call("runs", "remove", finished.path).exit_code == 0
    assert not finished.path.exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for command in ("remove", "show"):
        refused = call("runs", command, mine)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("Error: ")
        assert "holds no run" in refused.stderr
    assert (mine / "notes.txt").exists()


def test_objects_are_written_as_a_table_and_as_outlines(finished: Run, tmp_path: Path) -> None:
    for name in ("objects.csv", "objects.geojson"):
        written = call("runs", "objects", finished.path, tmp_path / name)
        assert written.exit_code == 0, written.output
        assert written.stdout.startswith(f"{counted(len(finished.objects()), 'object')} written to")
        assert (tmp_path / name).stat().st_size > 0
    refused = call("runs", "objects", finished.path, tmp_path / "objects.txt")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: ")
