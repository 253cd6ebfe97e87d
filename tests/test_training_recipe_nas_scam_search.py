"""The architecture search of NAS-SCAM: alternating steps, tables of alphas, the genotype, going on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from pydantic import ValidationError
from torch import Tensor, nn

from crop_fakes import Discs, disc_data, fit
from napari_lumen.models.genotype import CAM_OPS, EDGES, POSITIONS, SAM_OPS, Genotype
from napari_lumen.models.nas_scam import NASSCAM
from napari_lumen.training.checkpoint import Place
from napari_lumen.training.data.splits import Split
from napari_lumen.training.example import Batch
from napari_lumen.training.phase import TRAIN
from napari_lumen.training.recipe import TrainingData
from napari_lumen.training.recipes.nas_scam import read_genotype
from napari_lumen.training.recipes.nas_scam_crops import SEARCH
from napari_lumen.training.recipes.nas_scam_search import (
    GENOTYPE,
    NASSCAMSearchRecipe,
    SearchPhase,
    alphas,
)
from napari_lumen.training.turn import Turn

TINY: dict[str, Any] = {
    "size": 48,  # of the images: few forward passes, which are what these tests cost
    "stride": 48,
    "test_stride": 48,
    "width": 4,
    "batch": 2,
    "steps": 1,
    "epochs": 3,
    "warm_up": 1,
    "alpha_rate": 0.05,
}


def tiny(**changes: Any) -> NASSCAMSearchRecipe:
    return NASSCAMSearchRecipe(**{**TINY, **changes})


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@dataclass(frozen=True)
class Searched:
    folder: Path
    killed: Path
    network: NASSCAM
    place: Place
    first: pd.DataFrame


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """A whole search, and its folder as a kill in the third epoch leaves it."""
    folder, killed = tmp_path_factory.mktemp("search"), tmp_path_factory.mktemp("killed") / "search"
    plan = tiny().plan(disc_data())
    assert isinstance(plan.network, NASSCAM)
    first = alphas(plan.network)
    step = SearchPhase.step

    def watched(self: SearchPhase, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        losses = step(self, turn, batches)
        if turn.epoch == 2:
            copytree(folder, killed)
        return losses

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SearchPhase, "step", watched)
        place = fit(folder, plan.network, plan.phases)
    return Searched(folder, killed, plan.network, place, first)


def test_the_numbers_are_those_of_the_specification() -> None:
    recipe = NASSCAMSearchRecipe()
    assert (recipe.epochs, recipe.warm_up) == (120, 40)
    assert (recipe.rate, recipe.alpha_rate, recipe.alpha_deviation) == (1e-4, 1e-3, 1e-3)
    assert recipe.synchronous
    assert (recipe.batch, recipe.width) == (4, 16)
    plan = NASSCAMSearchRecipe(width=4).plan(disc_data())
    network, phase = plan.network, plan.phases[0]
    assert isinstance(network, NASSCAM)
    rates = {name: item.param_groups[0] for name, item in phase.optimisers(network).items()}
    assert {name: group["lr"] for name, group in rates.items()} == {"weights": 1e-4, "alphas": 1e-3}
    assert all(group["weight_decay"] == 0 for group in rates.values())
    assert [sum(item.numel() for item in rates[name]["params"]) for name in ("alphas", "weights")] == [
        672,
        sum(item.numel() for item in network.weights()),
    ]
    assert phase.choice is not None
    assert (phase.choice.best, phase.choice.first_epoch) == ("highest", 40)
    drawn = torch.cat([alpha.detach().flatten() for alpha in network.alphas()])
    assert drawn.std().item() == pytest.approx(1e-3, rel=0.1)
    wide = tiny(alpha_deviation=1.0).plan(disc_data()).network
    assert isinstance(wide, NASSCAM)
    assert wide.alphas()[0].std().item() == pytest.approx(1, rel=0.15)


def test_alphas_rest_in_the_warm_up_and_then_every_step_has_both_batches() -> None:
    phase = tiny(steps=2).plan(disc_data()).phases[0]
    rng = np.random.default_rng(1)
    assert [set(draw) for draw in phase.order(0, rng)] == [{TRAIN}] * 2
    for draw in phase.order(1, rng):
        assert list(draw) == [TRAIN, SEARCH]
        assert {role: len(indices) for role, indices in draw.items()} == {TRAIN: 2, SEARCH: 2}


@pytest.mark.parametrize(("own", "numbers"), [(True, {7}), (False, {5, 6})])
def test_search_crops_are_of_their_own_part_or_of_the_validation(own: bool, numbers: set[int]) -> None:
    phase = tiny().plan(disc_data(search=own)).phases[0]
    assert isinstance(phase, SearchPhase)
    images = {role: {crop.image for crop in crops.crops} for role, crops in phase.lists.items()}
    assert images == {TRAIN: {0, 1, 2, 3, 4}, SEARCH: numbers}


def test_an_alpha_step_leaves_weights_and_statistics_bit_identical_and_a_weight_step_the_alphas() -> None:
    plan = tiny().plan(disc_data())
    network, phase = plan.network, plan.phases[0]
    assert isinstance(network, NASSCAM)
    seen: list[tuple[str, dict[str, Tensor]]] = []

    class Watched(Turn):
        def descend(self, optimiser: str, batch: Batch, loss: Any) -> dict[str, float]:
            seen.append((optimiser, state(network)))
            return super().descend(optimiser, batch, loss)

    turn = Watched(Fabric(accelerator="cpu", devices=1), network)
    turn.use(phase.optimisers(network))
    draw = phase.order(1, np.random.default_rng(0))[0]
    batches = {
        role: Batch.of([phase.example(role, index, np.random.default_rng(index)) for index in indices])
        for role, indices in draw.items()
    }
    phase.begin_epoch(network, 1)
    torch.manual_seed(0)
    losses = phase.step(turn, batches)
    assert set(losses) == {"loss", "search loss"}
    assert [name for name, _ in seen] == ["alphas", "weights"]
    (_, before), (_, between) = seen
    architecture = {"alpha_sam.alpha", "alpha_cam.alpha"}
    assert changed(before, between) == architecture
    after = changed(between, state(network))
    assert not after & architecture
    weights = {name for name, _ in network.named_parameters()} - architecture
    statistics = {name for name in before if name.endswith("running_mean")}
    assert len(after & weights) > 0.9 * len(weights)  # what feeds a dead ReLU rests
    assert statistics <= after


def test_alphas_alone_lower_the_search_loss() -> None:
    plan = tiny(batch=4).plan(disc_data())
    network, phase = plan.network, plan.phases[0]
    turn = Turn(Fabric(accelerator="cpu", devices=1), network)
    turn.use(phase.optimisers(network))
    draw = phase.order(1, np.random.default_rng(0))[0]
    crops = [phase.example(SEARCH, index, np.random.default_rng(index)) for index in draw[SEARCH]]
    losses = []
    for _ in range(6):
        torch.manual_seed(0)  # the same dropout
        losses.append(turn.descend("alphas", Batch.of(crops), phase.loss)["loss"])
    assert losses == sorted(losses, reverse=True)


def test_weights_of_operations_are_kept_for_every_epoch(searched: Searched) -> None:
    table = pd.read_parquet(searched.folder / "alphas.parquet")
    assert list(table.columns) == ["phase", "epoch", "position", "cell", "edge", "operation", "weight"]
    assert len(table) == 3 * 672
    of_edges = table.groupby(["epoch", "position", "cell", "edge"])
    assert of_edges.ngroups == 3 * 8 * 2 * 6
    np.testing.assert_allclose(of_edges["weight"].sum(), 1, rtol=1e-6)
    epochs = {epoch: rows.reset_index(drop=True) for epoch, rows in table.groupby("epoch")}
    pd.testing.assert_frame_equal(epochs[0][searched.first.columns], searched.first)  # the warm-up
    moved = [(epochs[epoch]["weight"] - epochs[epoch - 1]["weight"]).abs() for epoch in (1, 2)]
    assert all((one > 0).mean() > 0.9 for one in moved)
    last = epochs[searched.place.best_epoch]
    weight = searched.network.alpha_cam().detach()[2, 4, 3].item()  # type: ignore[misc]
    named = last.query("position == 'D3' and cell == 'cam' and edge == '2-4' and operation == 'conv5'")
    assert (POSITIONS[2], EDGES[4], CAM_OPS[3]) == ("D3", "2-4", "conv5")
    assert named["weight"].item() == pytest.approx(weight, rel=1e-6)


def test_the_positions_go_different_ways(searched: Searched) -> None:
    table = pd.read_parquet(searched.folder / "alphas.parquet").query("epoch == 2 and cell == 'sam'")
    by_position = table.pivot_table(index="position", columns=["edge", "operation"], values="weight")
    assert len(by_position.round(5).drop_duplicates()) == 8


def test_the_genotype_of_every_epoch_is_the_argmax_and_that_of_the_best_is_left_as_json(
    searched: Searched,
) -> None:
    assert searched.place.best_epoch in (1, 2)  # not the warm-up
    weights = pd.read_parquet(searched.folder / "alphas.parquet")
    genotypes = pd.read_parquet(searched.folder / "genotypes.parquet")
    assert genotypes["epoch"].tolist() == [0, 1, 2]
    for epoch, text in zip(genotypes["epoch"], genotypes["genotype"], strict=True):
        edges = Genotype.read(text).edges()
        rows = weights[weights["epoch"] == epoch]
        best = rows.loc[rows.groupby(["position", "cell", "edge"])["weight"].idxmax()]
        for position, cell, edge, operation in zip(
            *(best[name] for name in ("position", "cell", "edge", "operation")), strict=True
        ):
            assert edges[position][cell][edge] == operation
    found = read_genotype(searched.folder / "genotype.json")
    assert found == searched.network.genotype()
    assert json.loads(genotypes["genotype"][searched.place.best_epoch]) == found.model_dump(mode="json")


def test_a_killed_search_goes_on_to_the_same_weights_and_tables(searched: Searched) -> None:
    at_the_kill = pd.read_parquet(searched.killed / "alphas.parquet")
    assert at_the_kill["epoch"].unique().tolist() == [0, 1]
    assert not (searched.killed / GENOTYPE).exists()
    plan = tiny().plan(disc_data())
    fit(searched.killed, plan.network, plan.phases)
    assert not changed(state(searched.network), state(plan.network))
    for name in ("alphas.parquet", "genotypes.parquet", "curves.parquet"):
        found, wanted = (pd.read_parquet(folder / name) for folder in (searched.killed, searched.folder))
        pd.testing.assert_frame_equal(found, wanted)
    found, wanted = ((folder / GENOTYPE).read_text() for folder in (searched.killed, searched.folder))
    assert found == wanted


def test_a_shared_search_has_one_set_for_all_positions(tmp_path: Path) -> None:
    recipe = tiny(synchronous=False, epochs=1, warm_up=0, steps=1)
    plan = recipe.plan(disc_data())
    network = plan.network
    assert isinstance(network, NASSCAM)
    assert sum(alpha.numel() for alpha in network.alphas()) == 84
    fit(tmp_path, network, plan.phases)
    table = pd.read_parquet(tmp_path / "alphas.parquet")
    assert len(table) == 6 * (len(SAM_OPS) + len(CAM_OPS))
    assert set(table["position"]) == {"D1 to U4"}
    found = read_genotype(tmp_path / "genotype.json")
    assert len({found[position].model_dump_json() for position in POSITIONS}) == 1


def test_the_recipe_of_what_was_found_has_the_crops_of_the_search(searched: Searched) -> None:
    recipe = tiny(mode="S", loss="dice_only", colours=None)
    genotype = read_genotype(searched.folder / "genotype.json")
    rebuilt = recipe.rebuilt(genotype, batch=3)
    assert rebuilt.genotype == genotype
    assert (rebuilt.mode, rebuilt.size, rebuilt.width, rebuilt.loss) == ("S", 48, 4, "dice_only")
    assert (rebuilt.colours, rebuilt.batch, rebuilt.epochs, rebuilt.rate) == (None, 3, 300, 1e-4)
    plan = rebuilt.plan(disc_data())
    assert isinstance(plan.network, NASSCAM)
    assert plan.network.genotype() == genotype
    assert not plan.network.alphas()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"epochs": 40}, "warm_up 40 leaves no epoch of 40"),
        ({"stride": 300}, "stride 300 leaves gaps between crops of 256 px"),
        ({"test_stride": 127}, "margin of whole pixels"),
        ({"augmentation": {"rotation": 0.5}}, "must not exceed 1 together"),
    ],
)
def test_impossible_numbers_are_named(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NASSCAMSearchRecipe(**numbers)


def test_a_class_that_the_search_images_lack_has_no_turn_there() -> None:
    images = Discs()
    images.truth[7] = np.where(images.truth[7] == 3, 0, images.truth[7]).astype(np.uint8)
    phase = tiny().plan(disc_data(images, search=True)).phases[0]
    assert isinstance(phase, SearchPhase)
    blue, red = phase.lists[SEARCH].by_class
    assert not red
    for draw in phase.order(1, np.random.default_rng(0)):
        assert set(draw[SEARCH]) <= set(blue)


def test_without_a_part_for_validation_there_is_no_search() -> None:
    data = disc_data()
    only = Split(by="image", seed=1, parts={"train": data.split.parts["train"]})
    with pytest.raises(Exception, match="validation"):
        tiny().plan(TrainingData(data.images, only))
