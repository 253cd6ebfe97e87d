"""The objects of a run that people have corrected, as they go to QuPath or a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakes import ArraySlide
from napari_lumen.annotations.formats import read_annotations
from napari_lumen.cli import app
from napari_lumen.corrections import CorrectionStore
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference import Run, export_corrected_objects
from napari_lumen.inference.corrected import corrected_labels
from plugin_fakes import write_run


@pytest.fixture
def corrected(tmp_path: Path) -> Run:
    """A run that found one nucleus, which a person has deleted; they have painted a gland elsewhere."""
    slide = ArraySlide(np.full((600, 600, 3), 200, np.uint8))
    slide.location = slide.path = tmp_path / "case.tif"
    run = write_run(tmp_path / "run", slide, Window(32, 32, 16, 16), step=1.0)
    grid = Grid((64, 64), (1.0, 1.0), (16.0, 16.0))
    before = corrected_labels(run).on(grid)
    after = np.zeros_like(before)
    after[2:22, 40:60] = 2
    CorrectionStore(run.path).commit(grid, before, after, author="Ada")
    return run


def test_what_was_deleted_is_gone_and_what_was_painted_is_there(corrected: Run, tmp_path: Path) -> None:
    assert export_corrected_objects(corrected, tmp_path / "objects.geojson") == 1
    (found,) = read_annotations(tmp_path / "objects.geojson")
    assert (found.class_name, found.geometry.bounds) == ("gland", (56, 18, 76, 38))
    assert found.measurements["Area µm^2"] == pytest.approx(20 * 20 * 0.25)


def test_the_command_line_writes_them_too(corrected: Run, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    out = tmp_path / "objects.csv"
    done = CliRunner().invoke(app, ["runs", "objects", str(corrected.path), str(out), "--corrected"])
    assert (done.exit_code, "1 object written" in done.output) == (0, True)
    assert out.read_text().count("gland") == 1
