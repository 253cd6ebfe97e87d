"""Gated attention's recipe: the paper's numbers, lambda, instances cut from the image itself, rivals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

import napari_lumen
from fakes import ArraySlide
from napari_lumen.errors import RunError
from napari_lumen.geometry import Region
from napari_lumen.models import load_model, save_model
from napari_lumen.models.instances import resize
from napari_lumen.training.example import Batch
from napari_lumen.training.grades import GatedPhase, GradedPhase
from napari_lumen.training.phase import Choice
from napari_lumen.training.recipe import Plan, TrainingData
from napari_lumen.training.recipes.gated_attention import GatedAttentionRecipe
from napari_lumen.training.turn import Turn
from training_pictures import (
    GradedArrays,
    KilledError,
    LabelledArrays,
    card_of,
    divided,
    fabric,
    fit,
    kill,
    weights,
)

SMALL = {"local_depth": 18, "dilated_width": 16, "instances": 2}
SIDES = ((96, 64), (64, 96), (80, 80))


def coloured(count: int) -> GradedArrays:
    """Images of three sizes: half of them with a pink lump, half with a blue one."""
    images = []
    for number in range(count):
        rng = np.random.default_rng(number)
        height, width = SIDES[number % 3]
        image = rng.normal(225, 10, (height, width, 3))
        y, x = rng.integers(0, height - 56), rng.integers(0, width - 56)
        image[y : y + 56, x : x + 56] -= ((0, 200, 0), (200, 0, 0))[number % 2]
        images.append(image.clip(0, 255).astype(np.uint8))
    return GradedArrays(images, [number % 2 for number in range(count)])


def tiny(**changes: Any) -> GatedAttentionRecipe:
    fields = {
        "arguments": SMALL,
        "global_size": 64,
        "local_size": 32,
        "field_size": 80,
        "epochs": 6,
        "batch": 7,
        "rate": 0.02,
        "largest_gradient": 5.0,
        "share_step": 0.5,
        "share_every": 1,
    }
    return GatedAttentionRecipe(**(fields | changes))


@pytest.fixture(scope="module")
def data() -> TrainingData[Any]:
    return divided(coloured(24), 14)


@pytest.fixture(scope="module")
def trained(data: TrainingData[Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    folder = tmp_path_factory.mktemp("trained")
    recipe = tiny()
    plan = recipe.plan(data)
    fit(folder, recipe, plan)
    return plan, folder


@pytest.fixture
def plan(data: TrainingData[Any]) -> Plan:
    return tiny().plan(data)


def batch_of(phase: GradedPhase, *indices: int) -> Batch:
    return Batch.of([phase.example("train", index, np.random.default_rng(index)) for index in indices])


# -- numbers -------------------------------------------------------------------------------------------


def test_the_defaults_are_the_papers(data: TrainingData[Any]) -> None:
    recipe = GatedAttentionRecipe()
    assert (recipe.global_size, recipe.local_size, recipe.epochs, recipe.batch) == (224, 336, 200, 16)
    assert (recipe.rate, recipe.rate_factor, recipe.rate_every) == (0.05, 0.1, 50)
    assert (recipe.momentum, recipe.weight_decay, recipe.largest_gradient) == (0.9, 1e-4, None)
    assert (recipe.share_step, recipe.share_every) == (0.1, 20)
    assert (recipe.instances, recipe.threshold, recipe.margin) == (4, 0.5, 0.1)
    assert recipe.least_side == pytest.approx(1 / 7)
    assert recipe.architecture == "gated_attention"
    assert recipe.mean == (0.485, 0.456, 0.406)
    assert recipe.std == (0.229, 0.224, 0.225)
    plan = GatedAttentionRecipe(arguments=SMALL).plan(data)
    (phase,) = plan.phases
    assert (plan.network.global_size, plan.network.local_size) == (224, 336)
    rates = [phase.rates(epoch)["weights"][0] for epoch in (0, 49, 50, 100, 199)]
    assert rates == pytest.approx([0.05, 0.05, 0.005, 0.0005, 0.00005])
    (group,) = phase.optimisers(plan.network)["weights"].param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.9, 1e-4)
    assert phase.choice == Choice("accuracy", first_epoch=20)


def test_what_an_instance_is_reaches_the_network(data: TrainingData[Any]) -> None:
    arguments = {"local_depth": 18, "dilated_width": 16}
    asked = tiny(arguments=arguments, instances=3, threshold=0.4, margin=0.2, least_side=0.25)
    chosen = asked.plan(data).network.instances
    assert (chosen.count, chosen.threshold, chosen.margin, chosen.least_side) == (3, 0.4, 0.2, 0.25)


def test_a_fusion_that_would_never_be_trained_is_an_error() -> None:
    with pytest.raises(ValidationError, match="lambda stays 1 for all 20 'epochs'"):
        GatedAttentionRecipe(epochs=20)
    GatedAttentionRecipe(epochs=21)
    GatedAttentionRecipe(epochs=20, architecture="resnet")


def test_images_with_labels_are_refused() -> None:
    labelled = LabelledArrays([np.zeros((8, 8, 3), np.uint8)] * 2, [np.zeros((8, 8), np.uint8)] * 2)
    with pytest.raises(RunError, match="one class each"):
        tiny().plan(divided(labelled, 1))


# -- examples ------------------------------------------------------------------------------------------


def test_an_image_is_flipped_and_turned_and_travels_whole_beside_its_small_copy(
    data: TrainingData[Any], plan: Plan
) -> None:
    (phase,) = plan.phases
    original = torch.from_numpy(data.images.image(0)).permute(2, 0, 1)
    seen = set()
    for seed in range(60):
        example = phase.example("train", 0, np.random.default_rng(seed))
        image = example.extra["image"]
        ways = [
            (turn, mirrored)
            for turn in range(4)
            for mirrored in (False, True)
            if torch.equal(torch.rot90(original.flip(2) if mirrored else original, turn, (1, 2)), image)
        ]
        assert len(ways) == 1
        seen.add(ways[0])
        mean, std = (torch.tensor(of)[:, None, None] for of in (phase.spec.mean, phase.spec.std))
        torch.testing.assert_close(example.inputs[0], resize(((image / 255) - mean)[None] / std, 64)[0])
    assert len(seen) == 8


def test_colours_change_only_where_it_is_asked_for(data: TrainingData[Any]) -> None:
    def seen(change: float, seed: int) -> Tensor:
        (phase,) = tiny(colour_change=change).plan(data).phases
        image: Tensor = phase.example("train", 0, np.random.default_rng(seed)).extra["image"]
        return image

    as_it_is, changed, again = seen(0, 0), seen(0.5, 0), seen(0.5, 1)
    assert changed.shape == as_it_is.shape
    means = [image.float().mean(dim=(1, 2)) for image in (as_it_is, changed, again)]
    assert (means[0] - means[1]).abs().max() > 1
    assert (means[1] - means[2]).abs().max() > 1


def test_instances_are_cut_from_the_image_as_it_is() -> None:
    fine = np.indices((128, 128)).sum(0) % 2 * 255  # a pattern that is gone at 32 px
    image = np.repeat(fine.astype(np.uint8)[..., None], 3, axis=-1)
    recipe = tiny(global_size=32, local_size=128, mean=(0, 0, 0), std=(1, 1, 1))
    plan = recipe.plan(divided(GradedArrays([image, image], [0, 1]), 1))
    (phase,) = plan.phases
    crops: list[Tensor] = []
    plan.network.local_network.register_forward_hook(lambda module, inputs, output: crops.append(inputs[0]))
    batch = batch_of(phase, 0)
    with torch.no_grad():
        phase.answer(plan.network.eval(), batch)
    assert batch.inputs[0][..., 2:-2, 2:-2].std() < 0.02
    assert set(crops[0].unique().tolist()) == {0.0, 1.0}  # a map of 1 x 1 is flat: the whole image


def test_images_of_several_sizes_are_answered_together_as_each_alone(data: TrainingData[Any]) -> None:
    plan = tiny(global_size=32).plan(data)
    (phase,) = plan.phases
    smooth = [
        np.repeat(np.linspace(60 + 40 * number, 200, width)[None], height, axis=0)[..., None].repeat(3, -1)
        for number, (height, width) in enumerate(SIDES)
    ]
    graded = GradedArrays([image.astype(np.uint8) for image in smooth], [0, 1, 0])
    phase.images = graded
    examples = [phase._example(number, graded.image(number)) for number in range(3)]
    network = plan.network.eval()
    with torch.no_grad():
        together = phase.answer(network, Batch.of(examples))[""]
        alone = torch.cat([phase.answer(network, Batch.of([example]))[""] for example in examples])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


# -- steps ---------------------------------------------------------------------------------------------


def test_the_loss_is_mixed_by_lambda(plan: Plan) -> None:
    (phase,) = plan.phases
    batch = batch_of(phase, 0, 3)
    assert isinstance(phase, GatedPhase)
    phase.share_step, phase.share_every = 0.1, 20
    for epoch, share in ((20, 0.9), (199, 0.1)):
        phase.begin_epoch(plan.network, epoch)
        plan.network.eval()  # or its statistics would move
        of_global, of_fusion = plan.network.global_and_fused(phase._originals(batch))
        terms = [F.cross_entropy(logits, batch.targets["grade"]) for logits in (of_global, of_fusion)]
        expected = share * terms[0] + (1 - share) * terms[1]
        torch.testing.assert_close(phase.loss(plan.network, batch), expected)


def test_while_lambda_is_1_the_instance_branch_stays_as_it_is(plan: Plan) -> None:
    (phase,) = plan.phases
    network = plan.network
    fused = {
        key: of.clone() for key, of in network.state_dict().items() if key.startswith(("local", "fused"))
    }
    gates = network.semantic.blocks[0][0].weight.detach().clone()
    turn = Turn(fabric(), network)
    turn.use(phase.optimisers(network))
    for epoch, same in ((0, True), (1, False)):
        turn.epoch = epoch
        phase.begin_epoch(network, epoch)
        phase.step(turn, {"train": batch_of(phase, 0, 1)})
        now = network.state_dict()
        assert all(torch.equal(now[key], of) for key, of in fused.items()) is same
    assert not torch.equal(network.semantic.blocks[0][0].weight, gates)


# -- validation ----------------------------------------------------------------------------------------


class Redness(nn.Module):
    """Says how red an image is."""

    def forward(self, image: Tensor) -> Tensor:
        red = image[:, 0].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(red), red - 0.5], dim=1) * 10


def test_accuracy_recall_and_the_area_under_the_roc_curve() -> None:
    rng = np.random.default_rng(3)
    shades, truth = rng.integers(0, 256, 20), [0] * 12 + [1] * 8
    images = [np.full((8, 8, 3), shade, np.uint8) for shade in shades]
    recipe = tiny(architecture="resnet", arguments={"depth": 18}, mean=(0, 0, 0), std=(1, 1, 1))
    data = divided(GradedArrays(images, truth), 1)
    (phase,) = recipe.plan(data).phases
    scores = phase.validate(Redness(), Turn(fabric(), nn.Identity()))
    said, held = shades[1:] > 127.5, np.array(truth[1:])
    assert scores["accuracy"] == pytest.approx((said == held).mean())
    assert scores["area under ROC"] == pytest.approx(roc_auc_score(held, shades[1:]))
    assert scores["recall pink"] == pytest.approx((~said[held == 0]).mean())
    assert scores["recall blue"] == pytest.approx(said[held == 1].mean())
    assert "accuracy global" not in scores
    phase.validation = [2, 3]  # both of one class
    assert scores.keys() - phase.validate(Redness(), Turn(fabric(), nn.Identity())).keys() == {
        "area under ROC",
        "recall blue",
    }


# -- a whole training ----------------------------------------------------------------------------------


def test_held_out_images_that_are_answered_by_no_number_end_the_training(data: TrainingData[Any]) -> None:
    plan = tiny().plan(data)
    with torch.no_grad():
        for weight in plan.network.parameters():
            weight.fill_(torch.nan)
    turn = Turn(fabric(), plan.network)
    with torch.no_grad(), pytest.raises(RunError, match="held-out data is nan or infinite"):
        plan.phases[0].validate(plan.network.eval(), turn)


def test_it_learns_what_the_colours_say(trained: tuple[Plan, Path]) -> None:
    table = pd.read_parquet(trained[1] / "curves.parquet")
    losses = table.query("kind == 'loss'")["value"].to_numpy()
    accuracy = table.query("name == 'accuracy'")["value"].to_numpy()
    assert losses[-2:].mean() < 0.7 * losses[:2].mean()
    assert accuracy[1:].max() >= 0.9  # chance: a half
    assert len(table.query("name == 'accuracy global'")) == 5  # while lambda is 1, it is the accuracy itself


def test_killed_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    recipe, data = tiny(epochs=2, batch=2), divided(coloured(6), 4)
    whole, killed, resumed = (recipe.plan(data) for _ in range(3))
    fit(tmp_path / "whole", recipe, whole)
    kill(killed.phases[0], 1, 1)
    with pytest.raises(KilledError):
        fit(tmp_path / "killed", recipe, killed)
    fit(tmp_path / "killed", recipe, resumed)
    assert torch.equal(weights(resumed.network), weights(whole.network))


def test_the_trained_model_classifies_fields_of_a_slide(
    data: TrainingData[Any], trained: tuple[Plan, Path], tmp_path: Path
) -> None:
    plan, _ = trained
    card = card_of(plan)
    assert (card.input.views[0].size, card.input.views[0].mpp) == (80, 0.5)
    model = load_model(save_model(tmp_path, plan.network.eval(), card))
    held = [number for number in range(14, 24) if data.images.image(number).shape[0] == 80]
    slide = ArraySlide(np.concatenate([data.images.image(number) for number in held], axis=1))
    run = napari_lumen.predict(slide, model, Region(0, 0, *slide.shape), tmp_path / "run", device="cpu")
    names = {record.name: record for record in run.record.rasters}
    assert {"semantic_S", "omega", "instance_mask"} <= names.keys()
    said = np.asarray(run.levels(names["classes"])[0])[0, : len(held)]
    (phase,) = plan.phases
    with torch.no_grad():
        logits = [
            phase.answer(plan.network, Batch.of([phase._example(number, data.images.image(number))]))[""]
            for number in held
        ]
    expected = torch.cat(logits).argmax(dim=1).tolist()
    assert said.tolist() == [[2, 5][place] for place in expected]


@pytest.mark.parametrize("module", ["gated", "spatial", "channel", "dual", "se", "global_context", "none"])
def test_rivals_are_an_argument(data: TrainingData[Any], module: str) -> None:
    plan = tiny(arguments={**SMALL, "module": module}).plan(data)
    shown = {"gated": ("semantic_S", "channel_gate"), "se": ("rival.se",)}.get(module, ())
    card = card_of(plan)
    assert card.attention == (*shown, "omega", "instance_mask", "instances")
    assert card.arguments["module"] == module


def test_a_plain_resnet_sees_the_same_field_small(data: TrainingData[Any], tmp_path: Path) -> None:
    recipe = tiny(architecture="resnet", arguments={"depth": 18}, epochs=1)
    plan = recipe.plan(data)
    fit(tmp_path, recipe, plan)
    card = card_of(plan)
    assert (card.input.views[0].size, card.input.views[0].mpp) == (64, pytest.approx(0.5 * 80 / 64))
    assert (card.task, card.architecture, card.attention) == ("classification", "resnet", ())
    load_model(save_model(tmp_path, plan.network, card))
