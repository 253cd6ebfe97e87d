"""Proposals: which fields of a run are most worth correcting next."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from fakes import ArraySlide, Constant, model_of
from napari_lumen import read_annotations
from napari_lumen.cli import app
from napari_lumen.corrections import CorrectionStore
from napari_lumen.corrections.proposals import (
    Proposal,
    deviation,
    entropy,
    k_centre,
    spread,
    write_proposals,
)
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference import proposal_passes
from napari_lumen.inference.proposals import propose
from napari_lumen.inference.run import Run
from plugin_fakes import write_run

SIDE = 32  # px of a field, on a run of 4 x 4 of them


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of 128 px of 0.5 µm: sure of a nucleus in one field, unsure in another, blank to the right."""
    slide = ArraySlide(np.full((128, 128, 3), 200, np.uint8))
    return painted(write_run(tmp_path / "run", slide, Window(4, 4, 16, 16), step=1.0))


def painted(run: Run, unsure: tuple[slice, slice] = (slice(40, 60), slice(40, 60))) -> Run:
    probability = run.levels(run.record.rasters[1])
    values = np.asarray(probability[0]) * 255
    values[:, :96] = np.maximum(values[:, :96], 2)
    values[unsure] = 120
    array = np.stack([values, np.zeros_like(values)]).astype(np.uint8)
    da.to_zarr(da.from_array(array), str(run.path / "probability" / "0"), overwrite=True)
    return run


def places(found: tuple[Proposal, ...]) -> list[tuple[int, int]]:
    return [(int(item.region.y) // SIDE, int(item.region.x) // SIDE) for item in found]


def test_entropy_is_nothing_where_a_model_is_sure_and_one_where_all_classes_are_alike() -> None:
    third = np.full((2, 1, 3), 0.0)
    third[:, 0, 0] = (1, 0)
    third[:, 0, 1] = 1 / 3
    third[:, 0, 2] = (0.5, 0)
    two_of_three = math.log(2) / math.log(3)
    assert entropy(third)[0] == pytest.approx([0, 1, two_of_three], abs=1e-9)
    assert entropy(np.full((1, 1, 1), 0.5)).item() == pytest.approx(1)
    assert entropy(np.full((2, 1, 1), 1.0)).item() == pytest.approx(two_of_three)  # not exclusive: normalised


def test_attention_varies_by_its_deviation_over_its_mean() -> None:
    attention = np.zeros((10, 10))
    attention[:2] = 3
    assert spread(attention) == pytest.approx(2)  # 3 of a fifth: mean 0.6, deviation 1.2
    assert spread(attention * 7) == pytest.approx(2)
    assert spread(np.where(attention > 0, attention, np.nan)) == pytest.approx(0)
    assert spread(np.full((4, 4), np.nan)) == 0
    assert spread(np.zeros((4, 4))) == 0


def test_answers_deviate_by_nothing_when_alike_and_by_one_when_opposite() -> None:
    alike, opposite = np.full((4, 1, 2, 2), 0.3), np.zeros((4, 1, 2, 2))
    opposite[:2] = 1
    assert deviation(alike) == pytest.approx(np.zeros((2, 2)))
    assert deviation(opposite) == pytest.approx(np.ones((2, 2)))


def test_k_centre_takes_the_farthest_from_what_is_there() -> None:
    features = np.array([[0.0], [1.0], [10.0], [4.9]])
    assert k_centre(features, 3) == [
        (3, pytest.approx(0.925)),
        (2, pytest.approx(5.1)),
        (0, pytest.approx(4.9)),
    ]
    assert k_centre(features, 2, np.array([[10.0]])) == [(0, 10.0), (3, pytest.approx(4.9))]
    assert k_centre(features[:0], 2) == []
    assert len(k_centre(features, 9)) == 4


def test_the_field_that_the_model_is_unsure_of_comes_first(run: Run) -> None:
    found = propose(run, "entropy", 3, field_um=SIDE * 0.5)
    assert places(found)[0] == (1, 1)
    assert found[0].region == Region(32, 32, 32, 32)
    unsure = np.full((1, 1), 120 / 255)
    share = 20 * 20 / SIDE**2
    least = entropy(np.stack([unsure, 0 * unsure])).item() * share
    assert least < found[0].score < least + 0.1
    assert found[0].reason.startswith("The model is unsure: entropy 0.")
    assert found[1].score < found[0].score


def test_what_was_not_analysed_or_is_corrected_is_not_proposed(run: Run) -> None:
    everything = propose(run, "random", 99, field_um=SIDE * 0.5)
    assert sorted(places(everything)) == [(row, column) for row in range(4) for column in range(3)]
    other_seed = propose(run, "random", 99, field_um=SIDE * 0.5, seed=1)
    assert places(other_seed) != places(everything)
    labels = np.zeros((40, 40), np.uint8)
    CorrectionStore(run.path).commit(Grid((40, 40), (1.0, 1.0), (30, 30)), labels, labels)
    assert places(propose(run, "entropy", 1, field_um=SIDE * 0.5)) != [(1, 1)]
    assert (1, 1) not in places(propose(run, "diversity", 99, field_um=SIDE * 0.5))


def test_runs_disagree_where_one_found_something_and_the_other_did_not(run: Run, tmp_path: Path) -> None:
    slide = ArraySlide(np.full((128, 128, 3), 200, np.uint8))
    other = write_run(tmp_path / "other", slide, Window(70, 4, 16, 16), step=1.0)
    found = propose(run, "disagreement", 3, field_um=SIDE * 0.5, other=other)
    assert set(places(found)[:2]) == {(0, 0), (2, 0)}
    assert [item.score for item in found] == [256 / SIDE**2, 256 / SIDE**2, 0]
    assert found[0].reason == "The runs disagree on 25.0% of it."
    with pytest.raises(RunError, match="Name another run"):
        propose(run, "disagreement")
    elsewhere = ArraySlide(np.zeros((64, 64, 3), np.uint8))
    elsewhere.fingerprint = "another"
    with pytest.raises(RunError, match="over another slide"):
        propose(
            run, "disagreement", other=write_run(tmp_path / "far", elsewhere, Window(0, 0, 4, 4), step=1.0)
        )


def test_diversity_begins_with_the_usual_and_goes_on_to_the_strangest(run: Run) -> None:
    found = propose(run, "diversity", 3, field_um=SIDE * 0.5)
    assert found[0].reason == "It is like most of the slide."
    assert set(places(found)[1:]) == {(0, 0), (1, 1)}
    colored = np.full((128, 128, 3), 200, np.uint8)
    colored[64:96, 64:96] = (250, 20, 20)
    slide = ArraySlide(colored)
    assert (2, 2) in places(propose(run, "diversity", 3, field_um=SIDE * 0.5, slide=slide))


def test_attention_that_is_alike_everywhere_comes_last(run: Run) -> None:
    found = propose(run, "attention", 12, field_um=SIDE * 0.5)
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] < scores[0]
    assert all(item.region.y >= 64 for item in found if item.score == 0)  # the map ends there


class Leaning(nn.Module):
    """Finds all that lies to the right of the middle, whatever it is shown."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        side = torch.linspace(-1, 1, image.shape[-1]).sign() * 20
        return side.expand(len(image), 1, *image.shape[-2:])


@pytest.mark.parametrize(("network", "score"), [(Constant(0.5), 0), (Leaning(), 1)])
def test_a_model_that_minds_being_flipped_is_seen(
    run: Run, monkeypatch: pytest.MonkeyPatch, network: nn.Module, score: float
) -> None:
    model = model_of(network)
    known = model.card.model_copy(update={"weights_sha256": run.record.weights_sha256})
    model = type(model)(model.network, known, model.path)
    monkeypatch.setattr(proposal_passes, "load_model", lambda name: model)
    slide = ArraySlide(np.full((128, 128, 3), 200, np.uint8))
    found = propose(run, "flips", 2, field_um=SIDE * 0.5, slide=slide)
    assert [item.score for item in found] == pytest.approx([score, score], abs=1e-6)
    with pytest.raises(RunError, match="The slide is needed"):
        propose(run, "flips")


def test_proposals_are_listed_and_written_by_the_command(run: Run, tmp_path: Path) -> None:
    def call(*arguments: str | Path) -> str:
        runner = CliRunner(env={"COLUMNS": "300", "TERM": "dumb"})
        result = runner.invoke(app, ["runs", "propose", str(run.path), *map(str, arguments)])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    listed = call("--count", "2", "--field", "16")
    assert "32, 32, 32, 32" in listed.splitlines()[1]
    table, boxes = tmp_path / "next.csv", tmp_path / "next.geojson"
    assert "2 fields" in call("--count", "2", "--field", "16", "--out", table)
    with table.open() as file:
        first = next(csv.DictReader(file))
    assert (first["rank"], first["y"], first["by"]) == ("1", "32.0", "entropy")
    call("--count", "2", "--field", "16", "--by", "random", "--out", boxes)
    assert [item.geometry.area for item in read_annotations(boxes)] == [1024, 1024]
    with pytest.raises(RunError, match="no format"):
        write_proposals((), tmp_path / "next.txt")
