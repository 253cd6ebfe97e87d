"""`train` from a configuration to a model that runs, and what a user can get wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

import napari_lumen
from napari_lumen.cli import app
from napari_lumen.errors import Cancelled, ModelError, RunError
from napari_lumen.models import load_model
from napari_lumen.training import TrainingConfig, TrainingProgress, train
from napari_lumen.training.dense import DensePhase

Write = Callable[..., Path]


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """Twelve pictures of dark discs on a light ground with their label images."""
    rng = np.random.default_rng(0)
    for sub in ("images", "labels"):
        (tmp_path / "data" / sub).mkdir(parents=True)
    y, x = np.mgrid[:48, :48]
    for number in range(12):
        inside = np.zeros((48, 48), bool)
        for _ in range(4):
            cy, cx, radius = (*rng.integers(6, 42, 2), rng.integers(4, 8))
            inside |= (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        image = np.where(inside[..., None], (90, 40, 130), (230, 200, 220)) + rng.integers(
            -12, 12, (48, 48, 3)
        )
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(
            tmp_path / "data" / "images" / f"{number:02}.png"
        )
        Image.fromarray(inside.astype(np.uint8)).save(tmp_path / "data" / "labels" / f"{number:02}.png")
    return tmp_path / "data"


@pytest.fixture
def config(discs: Path) -> Write:
    """A function that writes the configuration of a small training, with some fields changed."""

    def write(**changes: object) -> Path:
        content = {
            "name": "discs",
            "recipe": {
                "name": "focusnetpp",
                "architecture": "unet",
                "arguments": {"width": 4, "classes": 1},
                "size": 48,
                "epochs": 6,
                "batch": 2,
                "rates": [[0, 0.01]],
            },
            "data": {"kind": "images", "folder": "data", "classes": ["disc"]},
            "split": {"proportions": {"train": 8, "validation": 4}},
            "settings": {"device": "cpu", "workers": 0},
        }
        for field, value in changes.items():
            content[field] = {**content.get(field, {}), **value} if isinstance(value, dict) else value  # type: ignore[dict-item]
        file = discs.parent / "training.yaml"
        file.write_text(yaml.safe_dump(content))
        return file

    return write


def test_a_configuration_becomes_a_model_that_finds_the_discs(config: Write, tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    training = napari_lumen.train(config(), tmp_path / "out", on_progress=told.append)
    card = load_model(training.model).card
    assert training.scores["dice, validation"] > 0.8
    assert card.scores == training.scores
    assert (card.architecture, [known.name for known in card.classes]) == ("unet", ["disc"])
    assert card.training.split == "By image, seed 42: train 8, validation 4."
    assert card.training.recipe["false_negative_weight"] == 0.7
    assert set(training.curves()["kind"]) == {"loss", "score", "rate"}
    assert training.state.state == "finished"
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    assert {name: len(items) for name, items in split["parts"].items()} == {"train": 8, "validation": 4}
    assert told[-1].event == "validated"


def test_the_same_call_returns_what_is_finished(config: Write, tmp_path: Path) -> None:
    file = config(recipe={"epochs": 1})
    first = train(file, tmp_path / "out")
    told: list[TrainingProgress] = []
    again = train(file, tmp_path / "out", on_progress=told.append)
    assert told == []
    assert again == first


def test_another_training_is_not_put_on_top(config: Write, tmp_path: Path) -> None:
    train(config(recipe={"epochs": 1}), tmp_path / "out")
    with pytest.raises(RunError, match=r"holds another training \(discs: recipe focusnetpp"):
        train(config(recipe={"epochs": 2}), tmp_path / "out")


def test_a_cancelled_training_goes_on_to_the_weights_of_an_undisturbed_one(
    config: Write, tmp_path: Path
) -> None:
    file, cancel = config(recipe={"epochs": 3}), Event()
    whole = train(file, tmp_path / "whole")

    def stop(event: TrainingProgress) -> None:
        if event.epoch == 1:
            cancel.set()

    with pytest.raises(Cancelled):
        train(file, tmp_path / "out", on_progress=stop, cancel=cancel)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["state"] == "cancelled"
    assert not (tmp_path / "out" / "model").exists()
    resumed = train(file, tmp_path / "out")
    assert resumed.state.sessions == 2
    one, other = (load_model(item.model).network.state_dict() for item in (whole, resumed))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_training_begins_with_a_model_and_leaves_it_as_it_was(config: Write, tmp_path: Path) -> None:
    first = train(config(recipe={"epochs": 6}), tmp_path / "first")
    before = (first.model / "weights.safetensors").read_bytes()
    further = config(recipe={"epochs": 1, "rates": [[0, 1e-6]]}, name="discs-2", start=str(first.model))
    second = train(further, tmp_path / "second")
    assert second.scores["dice, validation"] == pytest.approx(first.scores["dice, validation"], abs=0.1)
    assert (first.model / "weights.safetensors").read_bytes() == before
    with pytest.raises(ModelError, match="Give the recipe the arguments of that model's card"):
        train(
            config(recipe={"arguments": {"width": 8, "classes": 1}}, start=str(first.model), name="no"),
            tmp_path / "third",
        )


def test_a_failed_training_says_why_and_leaves_no_model(
    config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        DensePhase, "loss", lambda self, network, batch: network(batch.image).sum() * float("nan")
    )
    with pytest.raises(
        RunError, match=r"step 1 of epoch 1 of phase 'training': the loss is nan on \d\d, \d\d"
    ):
        train(config(), tmp_path / "out")
    state = json.loads((tmp_path / "out" / "training.json").read_text())
    assert state["state"] == "failed"
    assert "nan" in state["problem"]
    assert not (tmp_path / "out" / "model").exists()


def test_the_same_image_on_both_sides_is_named(config: Write, discs: Path, tmp_path: Path) -> None:
    for sub in ("images", "labels"):
        (discs / sub / "99.png").write_bytes((discs / sub / "03.png").read_bytes())
    file = config(split={"by": "image", "proportions": {"train": 12}, "fixed": {"validation": ["99"]}})
    with pytest.raises(RunError, match="'03' of 'train' and '99' of 'validation'"):
        train(file, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": {"name": "focus"}}, "There is no recipe 'focus'; there is .*focusnetpp"),
        ({"recipe": {"epoch": 3}}, "Recipe focusnetpp: field 'epoch'"),
        ({"data": {"kind": "cells"}}, "data"),
        ({"data": {"folder": "elsewhere"}}, "elsewhere"),
        ({"split": {"proportions": {"train": 1}}}, "train and validation"),
        ({"settings": {"device": "cuda:77"}}, "no device 'cuda:77'"),
        ({"name": "Two words"}, "field 'name'"),
        ({"start": "no-such-model"}, "no-such-model"),
    ],
)
def test_a_wrong_field_is_one_sentence(
    config: Write, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises((RunError, ModelError), match=said) as caught:
        train(config(**changes), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_folder_of_something_else_is_refused(config: Write, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        train(config(), tmp_path / "out")
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_the_command_trains_and_says_how_to_run_the_model(config: Write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["train", str(config()), "--out", str(out), "--set", "recipe.epochs=2", "--device", "cpu"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "dice, validation" in result.output
    assert f"--model {out / 'model' / 'discs'}" in result.output
    assert TrainingConfig.read(config(), ["recipe.epochs=2"]).recipe["epochs"] == 2


def test_the_command_names_a_field_that_is_wrong(config: Write, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    result = CliRunner().invoke(app, ["train", str(config()), "--out", out, "--set", "recipe.epochs=many"])
    assert result.exit_code == 1
    assert "field 'epochs'" in result.output
    result = CliRunner().invoke(app, ["train", str(tmp_path / "no.yaml"), "--out", out])
    assert result.exit_code == 1
    assert "no.yaml" in result.output


SEARCH = {
    "name": "nas_scam_search",
    "size": 16,
    "stride": 16,
    "test_stride": 16,
    "width": 4,
    "steps": 1,
    "epochs": 2,
    "warm_up": 1,
}


def test_a_search_is_trained_from_scratch_by_what_it_found(config: Write, tmp_path: Path) -> None:
    file = config(recipe=None, rebuilt={"epochs": 1, "steps": 2})
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "recipe": SEARCH}))
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["search", str(file), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "spatial cell" in result.output
    found = napari_lumen.search(file, out)  # finished: it is only read
    card = load_model(found.rebuilt.model).card
    assert card.arguments["genotype"] == found.genotype.model_dump(mode="json")
    assert card.name == "discs"
    assert set(pd.read_parquet(found.search.folder / "alphas.parquet")["epoch"]) == {0, 1}
    assert found.rebuilt.state.numbers["epochs"] == 1


def test_a_recipe_that_searches_nothing_is_named(config: Write, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="focusnetpp searches nothing"):
        napari_lumen.search(config(), tmp_path / "out")
    file = config()
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "recipe": SEARCH, "rebuilt": {"epoch": 3}}))
    with pytest.raises(RunError, match=r"'rebuilt': field 'epoch'"):
        napari_lumen.search(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
