"""`train` from a configuration to a model that runs, and what a user can get wrong."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from threading import Event

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import napari_lumen
from napari_lumen.cli import app
from napari_lumen.errors import Cancelled, ModelError, RunError
from napari_lumen.models import install_model, load_model
from napari_lumen.training import TrainingConfig, TrainingProgress, dry_run, train
from napari_lumen.training.dense import DensePhase
from training_pictures import toml, write_config, write_discs

Write = Callable[..., Path]


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    return write_discs(tmp_path / "data")


@pytest.fixture
def config(discs: Path) -> Write:
    """A function that writes the configuration of a small training, with some fields changed."""

    def write(**changes: object) -> Path:
        return write_config(discs.parent, **changes)

    return write


def test_a_configuration_becomes_a_model_that_finds_the_discs(config: Write, tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    training = napari_lumen.train(config(), tmp_path / "out", on_progress=told.append)
    card = load_model(training.model).card
    assert training.scores["dice, validation"] > 0.8
    assert card.scores == training.scores
    assert (card.architecture, [known.name for known in card.classes]) == ("unet", ["disc"])
    assert card.training.split == "By image, seed 42; images: train 8, validation 4."
    assert card.training.recipe["false_negative_weight"] == 0.7
    assert set(training.curves()["kind"]) == {"loss", "score", "rate"}
    assert training.state.state == "finished"
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    assert json.loads((training.model / "split.json").read_text()) == split  # it goes where the model goes
    assert json.loads((install_model(training.model, "kept") / "split.json").read_text()) == split
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


def _turn_labels(data: Path) -> None:
    for path in sorted((data / "labels").iterdir()):
        Image.fromarray(1 - np.asarray(Image.open(path))).save(path)


def _change_pixel(data: Path) -> None:
    image = np.array(Image.open(data / "images" / "00.png"))
    image[0, 0] ^= 1
    Image.fromarray(image).save(data / "images" / "00.png")


@pytest.mark.parametrize(
    "change",
    [_turn_labels, _change_pixel, {"classes": ["nucleus"]}, {"mpp": 0.5}, {"objects": True}],
    ids=["labels", "image", "class", "mpp", "objects"],
)
def test_other_data_are_another_training(
    config: Write, discs: Path, tmp_path: Path, change: Callable[[Path], None] | dict[str, object]
) -> None:
    first, fields = config(recipe={"epochs": 1}), change if isinstance(change, dict) else {}
    cancel = Event()
    with pytest.raises(Cancelled):
        train(first, tmp_path / "out", on_progress=lambda event: cancel.set(), cancel=cancel)
    if callable(change):
        change(discs)
    with pytest.raises(RunError, match=r"holds another training .* classes"):
        train(config(recipe={"epochs": 1}, data=fields), tmp_path / "out")


def test_data_that_moved_are_the_same_training(config: Write, discs: Path, tmp_path: Path) -> None:
    first = train(config(recipe={"epochs": 1}), tmp_path / "out")
    discs.rename(tmp_path / "moved")
    again = train(config(recipe={"epochs": 1}, data={"folder": "moved", "cache_mb": 1}), tmp_path / "out")
    assert again == first


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
    assert second.compared()["dice"] == (first.scores["dice, validation"], second.scores["dice, validation"])
    assert first.compared() == {}
    assert (first.model / "weights.safetensors").read_bytes() == before
    with pytest.raises(ModelError, match="Give the recipe the arguments of that model's card"):
        train(
            config(recipe={"arguments": {"width": 8, "classes": 1}}, start=str(first.model), name="no"),
            tmp_path / "third",
        )


def test_held_out_images_are_shown_only_when_they_are_asked_for(config: Write, tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    quiet = train(config(recipe={"epochs": 2}), tmp_path / "quiet", on_progress=told.append)
    assert not any(event.samples for event in told)
    assert all(event.rates == {"weights": 0.01} for event in told)
    shown: list[TrainingProgress] = []
    asked = config(recipe={"epochs": 2}, settings={"samples": 3})
    training = train(asked, tmp_path / "shown", on_progress=shown.append)
    names = json.loads((training.folder / "split.json").read_text())["parts"]["validation"]
    for event in shown:
        assert [sample.name in names for sample in event.samples] == [True] * 3 * (event.event == "validated")
    sample = shown[-1].samples[0]
    truth = np.asarray(Image.open(tmp_path / "data" / "labels" / f"{sample.name}.png"))
    assert np.array_equal(sample.truth, truth)
    assert sample.predicted is not None
    assert set(np.unique(sample.predicted)) <= {0, 1}
    assert sample.image.shape == (48, 48, 3)
    assert training.curves().equals(quiet.curves())  # to look on changes nothing


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file sizes")
@pytest.mark.parametrize("checkpoint_seconds", [1e-9, 1e9], ids=["checkpoint", "best weights"])
def test_a_full_disk_is_told_and_the_training_goes_on_when_there_is_room(
    config: Write, tmp_path: Path, checkpoint_seconds: float
) -> None:
    import resource

    settings = {"checkpoint_seconds": checkpoint_seconds}
    file, out = config(recipe={"epochs": 2}, settings=settings), tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: TrainingProgress) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, limits[1]))

    try:
        with pytest.raises(RunError, match=rf"cannot go on in {out}: .*File too large.*Free some space"):
            train(file, out, on_progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    state = json.loads((out / "training.json").read_text())
    assert (state["state"], "Free some space" in state["problem"]) == ("failed", True)
    assert not list(out.glob(".*.partial"))
    assert train(file, out).state.state == "finished"


def test_a_last_step_that_went_astray_leaves_no_model(config: Write, tmp_path: Path) -> None:
    file = config(recipe={"epochs": 1, "batch": 8, "rates": [[0, 1e30]]})  # one step: no loss comes after it
    with pytest.raises(RunError, match=r"step 1 of epoch 1.* is nan or infinite\. Lower the learning rate"):
        train(file, tmp_path / "out")
    assert not (tmp_path / "out" / "model").exists()


def test_the_same_image_on_both_sides_is_named(config: Write, discs: Path, tmp_path: Path) -> None:
    for sub in ("images", "labels"):
        (discs / sub / "99.png").write_bytes((discs / sub / "03.png").read_bytes())
    file = config(split={"by": "image", "proportions": {"train": 12}, "fixed": {"validation": ["99"]}})
    with pytest.raises(RunError, match="'03' of 'train' and '99' of 'validation'"):
        train(file, tmp_path / "out")


def test_a_folder_with_the_split_of_another_training_is_refused(
    config: Write, discs: Path, tmp_path: Path
) -> None:
    train(config(recipe={"epochs": 1}), tmp_path / "first")
    for sub in ("images", "labels"):
        (discs / sub / "99.png").write_bytes((discs / sub / "03.png").read_bytes())
    (tmp_path / "out").mkdir()
    copyfile(tmp_path / "first" / "split.json", tmp_path / "out" / "split.json")
    file = config(split={"by": "image", "proportions": {"train": 12}, "fixed": {"validation": ["99"]}})
    with pytest.raises(RunError, match="is not empty"):
        train(file, tmp_path / "out")


def test_what_was_wrong_before_the_first_step_is_put_right_in_the_same_folder(
    config: Write, tmp_path: Path
) -> None:
    graded = TrainingConfig.read(config()).model_copy(update={"recipe": {"name": "gated_attention"}})
    with pytest.raises(RunError, match="learns from images of one class each"):
        train(graded, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "training.json").read_text())["state"] == "failed"
    file = config(recipe={"epochs": 1, "batch": 4}, split={"proportions": {"train": 6, "validation": 6}})
    training = train(file, tmp_path / "out")
    assert training.state.sessions == 1
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    assert [len(names) for names in split["parts"].values()] == [6, 6]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": {"name": "focus"}}, "'recipe.name': there is no recipe 'focus'; there is .*focusnetpp"),
        ({"recipe": {"epoch": 3}}, "Recipe focusnetpp: field 'epoch'"),
        ({"data": {"kind": "cells"}}, "data"),
        ({"data": {"folder": "elsewhere"}}, "elsewhere"),
        ({"split": {"proportions": {"train": 1}}}, "train and validation"),
        ({"settings": {"device": "cuda:77"}}, "no device 'cuda:77'"),
        ({"name": "Two words"}, "field 'name'"),
        ({"start": "no-such-model"}, "no-such-model"),
        ({"recipe": {"rates": []}}, "field 'rates'"),
        ({"recipe": {"rates": [[5, 0.1]]}}, "field 'rates': there is none for epoch 0"),
        ({"recipe": {"rates": [[0, -1]]}}, r"field 'rates\.0\.1'"),
        ({"recipe": {"epsilon": 0}}, "field 'epsilon'"),
        ({"recipe": {"omega": -1}}, "field 'omega'"),
        ({"recipe": {"positive_weight": 7}}, "field 'positive_weight'"),
        ({"recipe": {"size": 20_000}}, "Recipe focusnetpp: field 'size'"),
        ({"split": {"together": [["00", "n77"]]}}, "no item 'n77'"),
        ({"split": {"file": "data/images/00.png"}}, r"split\.file.: .*00\.png is no split: Invalid JSON"),
        ({"recipe": {"name": "darefinenet", "encoder_rates": [-1, 1, 1]}}, r"'encoder_rates\.0'"),
        ({"recipe": {"name": "darefinenet", "std": [0, 0, 0]}}, "Recipe darefinenet: .*std"),
        ({"recipe": {"name": "nas_scam_search", "width": 3}}, "nas_scam.*width"),
    ],
)
def test_a_wrong_field_is_one_sentence(
    config: Write, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises((RunError, ModelError), match=said) as caught:
        train(config(**changes), tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("work", [lambda file, out: dry_run(file), train])
def test_masks_of_0_and_255_are_not_learned_from_in_silence(
    config: Write, discs: Path, tmp_path: Path, work: Callable[..., object]
) -> None:
    for path in (discs / "labels").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8) * 255).save(path)
    for groups in ({}, {"groups": {"round": ["disc"]}}):
        file = config(data=groups)
        with pytest.raises(RunError, match=r"'data\.classes': no label image .* 1 for disc.*one of 0 and 1"):
            work(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
    result = CliRunner().invoke(app, ["train", str(tmp_path / "no.toml"), "--out", out])
    assert result.exit_code == 1
    assert "no.toml" in result.output


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
    content = tomllib.loads(file.read_text())
    file.write_text(toml({**content, "recipe": SEARCH}))
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
    content = tomllib.loads(file.read_text())
    file.write_text(toml({**content, "recipe": SEARCH, "rebuilt": {"epoch": 3}}))
    with pytest.raises(RunError, match=r"'rebuilt': field 'epoch'"):
        napari_lumen.search(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    file.write_text(toml({**content, "recipe": SEARCH}))
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").touch()
    with pytest.raises(RunError, match=r"full is not empty\. Choose another folder for the search"):
        napari_lumen.search(file, full)
    assert [entry.name for entry in full.iterdir()] == ["notes.txt"]
