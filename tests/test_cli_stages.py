"""`napari-lumen stages`: from the heat maps of runs to the stages of patients."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from fakes import ArraySlide, model_of
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.cli import app
from napari_lumen.comparison import evaluate_stages
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.inference.heat_map import EXACT
from napari_lumen.models import Model

TILE, ROWS, COLUMNS = 32, 6, 24
LENGTHS = {"negative": 0, "itc": 1, "micro": 6, "macro": 20}  # tiles in a row
TWO = ClassTable.of([(1, "normal", (0, 255, 0)), (2, "tumour", (255, 0, 0))])


class Even(nn.Module):
    """Says the same of every tile."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 2)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["stages", *map(str, arguments)])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of four patients with a slide of each class, and the table of them."""
    folder = tmp_path_factory.mktemp("nodes")
    shown = np.full((ROWS * TILE, COLUMNS * TILE, 3), 120, np.uint8)
    even = model_of(Even(), size=TILE, overlap=0, classes=TWO, activation="softmax")
    model = Model(even.network, even.card.model_copy(update={"task": "classification"}), even.path)
    first = predict(ArraySlide(shown), model, Region(0, 0, *shown.shape[:2]), folder / "first")
    rows = []
    for patient in range(4):
        for stage, length in LENGTHS.items():
            run = folder / f"{patient}-{stage}"
            shutil.copytree(first.path, run)
            record = json.loads((run / "run.json").read_text())
            (run / "run.json").write_text(json.dumps({**record, "slide": f"/slides/{run.name}.tif"}))
            heat = zarr.open_array(str(run / EXACT / "0"), mode="r+")
            tumour = np.full(heat.shape[1:], 0.1)
            tumour[2, :length] = 0.9
            heat[:] = np.stack([1 - tumour, tumour])
            rows.append((run.name, f"patient {patient}", stage))
    with (folder / "nodes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("run", "patient", "stage"), *rows])
    return folder / "nodes.csv"


def test_a_forest_learns_from_runs_and_says_stages_that_can_be_scored(nodes: Path, tmp_path: Path) -> None:
    stager, said = tmp_path / "stager.json", tmp_path / "stages.csv"
    learned = call("learn", nodes, "--out", stager, "--class", "tumour", "--folds", 4)
    assert learned.exit_code == 0, learned.output
    assert "16 slides of 4 patients: accuracy 1.000" in learned.output
    longest = {
        case["truth"]: case["features"]["longest_axis_um"] for case in json.loads(stager.read_text())["cases"]
    }
    assert longest["macro"] == pytest.approx(np.hypot(20, 1) * TILE * 0.5)  # µm
    result = call("predict", nodes, "--stager", stager, "--out", said, "--class", "tumour")
    assert result.exit_code == 0, result.output
    assert result.output.count("pN1") == 4  # a macro-metastasis and two nodes
    truth = tmp_path / "truth.csv"
    lines = [line.split(",") for line in nodes.read_text().splitlines()[1:]]
    rows = "".join(f"{patient},{run},{stage}\n" for run, patient, stage in lines)
    truth.write_text(f"patient,slide,stage\n{rows}")
    found = evaluate_stages(said, truth, resamples=10)
    assert all(row.predicted == row.truth for row in found.slides)


def test_what_cannot_be_staged_is_one_sentence(nodes: Path, tmp_path: Path) -> None:
    out = tmp_path / "stager.json"
    assert "Say which class" in call("learn", nodes, "--out", out).output
    few = call("learn", nodes, "--out", out, "--class", "tumour", "--folds", 9)
    assert "there are 4" in few.output.replace("\n", " ")
    for wrong, said in (("huge", "has the stage 'huge'"), ("", "has the stage ''")):
        (nodes.parent / "wrong.csv").write_text(f"run,patient,stage\n0-itc,p,{wrong}\n")
        result = call("learn", nodes.parent / "wrong.csv", "--out", out, "--class", "tumour")
        assert result.exit_code == 1
        assert said in result.output.replace("\n", " ")
    (nodes.parent / "wrong.csv").write_text("run,patient,stage\n0-itc,,itc\n")
    assert "column 'patient'" in call("learn", nodes.parent / "wrong.csv", "--out", out).output
    assert not out.exists()
