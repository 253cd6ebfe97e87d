"""`napari-lumen corrections`: listing, taking back and exporting what was corrected."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner, Result

from fakes import ArraySlide
from napari_lumen import read_annotations
from napari_lumen.cli import app
from napari_lumen.corrections import CorrectionStore
from napari_lumen.geometry import Grid, Window
from napari_lumen.halving import halve_labels
from plugin_fakes import write_run


def call(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "300", "TERM": "dumb"}).invoke(app, [str(part) for part in arguments])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a nucleus of 8 x 8 px of 2 level-0 px, and a window in which a gland of 6 x 5 was added."""
    slide = ArraySlide(np.zeros((256, 256, 3), np.uint8))
    folder = write_run(tmp_path / "run", slide, Window(8, 8, 8, 8)).path
    before = np.zeros((32, 32), np.uint8)
    before[8:16, 8:16] = 1
    after = before.copy()
    after[20:26, 20:25] = 2
    CorrectionStore(folder).commit(Grid((32, 32), (2.0, 2.0)), before, after, "Ada")
    return folder


def test_windows_are_listed_with_what_they_changed_and_reverted(run: Path) -> None:
    listed = call("corrections", "list", run)
    assert listed.exit_code == 0, listed.stderr
    for part in ("0001", "Ada", "0, 0, 64, 64", "30 µm² background to gland"):
        assert part in listed.stdout
    by_folder = call("corrections", "list", run / "corrections", "--json")
    assert json.loads(by_folder.stdout)["windows"][0]["author"] == "Ada"
    assert call("corrections", "revert", run, "0001", "--author", "Bob").exit_code == 0
    assert "reverted by Bob" in call("corrections", "list", run).stdout
    again = call("corrections", "revert", run, "0001")
    assert again.exit_code == 1
    assert "holds no corrected window '0001'; there is none." in again.stderr


def test_a_folder_without_corrections_is_said_in_a_sentence(tmp_path: Path, run: Path) -> None:
    none = call("corrections", "list", tmp_path)
    assert none.exit_code == 1
    assert "holds no corrections.json" in none.stderr
    assert call("corrections", "revert", run, "0001").exit_code == 0


def test_the_outlines_in_corrected_windows_are_exported(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "corrected.geojson"
    exported = call("corrections", "export", run, out)
    assert exported.exit_code == 0, exported.stderr
    found = sorted(read_annotations(out), key=lambda item: item.class_name or "")
    assert [(item.class_name, item.geometry.bounds) for item in found] == [
        ("gland", (40.0, 40.0, 50.0, 52.0)),
        ("nucleus", (16.0, 16.0, 32.0, 32.0)),
    ]


def test_the_labels_of_a_run_are_exported_with_corrections_at_every_level(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "corrected.zarr"
    exported = call("corrections", "export", run, out)
    assert exported.exit_code == 0, exported.stderr
    group = zarr.open_group(str(out), mode="r")
    finest = np.asarray(group["0"])
    assert np.bincount(finest.ravel()).tolist()[1:] == [64, 30]
    assert (finest[20:26, 20:25] == 2).all()
    assert np.array_equal(np.asarray(group["1"]), halve_labels(finest))
    transforms = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert transforms[0]["scale"] == [1.0, 1.0]
    assert {item.class_name for item in read_annotations(out)} == {"nucleus", "gland"}
    again = call("corrections", "export", run, out)
    assert "is there already" in again.stderr
