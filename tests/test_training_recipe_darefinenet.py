"""DA-RefineNet's recipe: the paper's numbers, pairs of views, three steps, a model that runs on a slide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

import napari_lumen
from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.geometry import Region
from napari_lumen.models import build, load_model, save_model
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.dense import NO_LABEL
from napari_lumen.training.example import Batch, Example
from napari_lumen.training.recipe import Plan, TrainingData
from napari_lumen.training.recipes.darefinenet import DARefineNetRecipe
from napari_lumen.training.regions import RegionPhase
from napari_lumen.training.settings import Settings
from napari_lumen.training.trainer import Trainer
from napari_lumen.training.turn import Turn
from training_fakes import LinePhase, small_network
from training_pictures import (
    TWO,
    KilledError,
    LabelledArrays,
    card_of,
    divided,
    fabric,
    fit,
    kill,
    weights,
)

SIDE, SIZE = 64, 32
SMALL = {"depth": 18, "context_depth": 18, "light": True, "dropout": 0.1}


def coloured(count: int) -> LabelledArrays:
    """White fields with a pink and a blue block anywhere: their colours are their classes."""
    images, labels = [], []
    for number in range(count):
        rng = np.random.default_rng(number)
        truth = np.zeros((SIDE, SIDE), np.uint8)
        for value, column in ((2, 0), (5, SIDE // 2)):
            y, x = rng.integers(0, 24), column + rng.integers(0, 6)
            truth[y : y + 36, x : x + 24] = value
        shades = np.zeros((256, 3))
        shades[0], shades[2], shades[5] = (240, 240, 240), (220, 60, 120), (60, 60, 220)
        image = shades[truth] + rng.normal(0, 12, (SIDE, SIDE, 3))
        images.append(image.clip(0, 255).astype(np.uint8))
        labels.append(truth)
    return LabelledArrays(images, labels)


def tiny(**changes: Any) -> DARefineNetRecipe:
    fields = {
        "arguments": SMALL,
        "size": SIZE,
        "shrink": 1,
        "context": 2,
        "least_scale": 0.75,
        "batch": 4,
        "epochs": (3, 1),
        "encoder_rates": (0.05, 0.02),
        "decoder_rates": (0.06, 0.03),
        "validate_every": (1, 1),
        "tiles": 32,
        "largest_gradient": 1.0,
    }
    return DARefineNetRecipe(**(fields | changes))


@pytest.fixture(scope="module")
def data() -> TrainingData[Any]:
    return divided(coloured(6), 4)


@pytest.fixture(scope="module")
def trained(data: TrainingData[Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    folder = tmp_path_factory.mktemp("trained")
    recipe = tiny()
    plan = recipe.plan(data)
    fit(folder, recipe, plan)
    return plan, folder


# -- numbers -------------------------------------------------------------------------------------------


def test_the_defaults_are_the_papers() -> None:
    recipe = DARefineNetRecipe()
    assert recipe.arguments == {
        "depth": 50,
        "context_depth": 50,
        "variant": "dual",
        "fusion": "attention",
    }
    assert recipe.epochs == (25, 25, 25)
    assert recipe.encoder_rates == (5e-4, 2.5e-4, 1e-4)
    assert recipe.decoder_rates == (5e-3, 2.5e-3, 1e-3)
    assert recipe.validate_every == (1, 2, 2)
    assert (recipe.momentum, recipe.weight_decay, recipe.batch, recipe.seed) == (0.9, 1e-5, 12, 42)
    assert (recipe.size, recipe.shrink, recipe.shrink * recipe.context) == (500, 2, 10)
    assert (recipe.stride, recipe.least_scale) == (0.5, 0.5)
    assert (recipe.tiles, recipe.tiles * recipe.favoured_share) == (3000, pytest.approx(2000))
    assert recipe.favoured == ("benign", "in situ")
    assert recipe.mean == (0.485, 0.456, 0.406)
    assert recipe.std == (0.229, 0.224, 0.225)
    assert recipe.largest_gradient is None


@pytest.mark.parametrize("name", ["in situ", "In situ"])
def test_classes_are_favoured_in_capitals_or_not(name: str) -> None:
    fields = coloured(6)
    fields.classes = ClassTable.of([(2, "Benign", (255, 0, 100)), (5, name, (0, 0, 255))])
    one_step = {"epochs": (1,), "encoder_rates": (0.1,), "decoder_rates": (0.1,), "validate_every": (1,)}
    recipe = tiny(favoured=("In Situ",), favoured_share=1.0, tiles=8, **one_step)
    (phase,) = recipe.plan(divided(fields, 4)).phases
    drawn = [
        phase.tiles[index] for step in phase.order(0, np.random.default_rng(0)) for index in step["train"]
    ]
    assert len(drawn) == 8
    for tile in drawn:
        labels = fields.labels(tile.field)[round(tile.y) :, round(tile.x) :]
        assert (labels[:SIZE, :SIZE] == 5).any()


def test_steps_that_do_not_agree_name_the_field() -> None:
    with pytest.raises(ValidationError, match="'decoder_rates' has 2 values for 3 steps"):
        DARefineNetRecipe(decoder_rates=(1e-3, 1e-4))


def test_each_step_has_its_rates_for_encoders_and_decoder(data: TrainingData[Any]) -> None:
    plan = tiny(epochs=(3, 2, 2), validate_every=(1, 2, 2), **_rates()).plan(data)
    assert [phase.name for phase in plan.phases] == ["step 1", "step 2", "step 3"]
    assert [phase.validate_every for phase in plan.phases] == [1, 2, 2]
    for phase, encoder, decoder in zip(plan.phases, *_rates().values(), strict=True):
        optimiser = phase.optimisers(plan.network)["weights"]
        first, second = optimiser.param_groups
        assert (first["lr"], second["lr"]) == (encoder, decoder)
        assert all((group["momentum"], group["weight_decay"]) == (0.9, 1e-5) for group in (first, second))
        groups = [{id(item) for item in group["params"]} for group in (first, second)]
        encoders = [*plan.network.encoder.parameters(), *plan.network.context_encoder.parameters()]
        assert groups[0] == {id(item) for item in encoders}
        assert groups[0] | groups[1] == {id(item) for item in plan.network.parameters()}
        assert not groups[0] & groups[1]
        assert not optimiser.state  # no step goes on with another's momentum


def test_adam_takes_the_place_of_sgd_where_it_is_asked_for(data: TrainingData[Any]) -> None:
    phases = tiny(epochs=(3, 2, 2), validate_every=(1, 2, 2), optimiser="adam", **_rates()).plan(data).phases
    network = tiny(epochs=(3, 2, 2), validate_every=(1, 2, 2), **_rates()).plan(data).network
    for phase, encoder, decoder in zip(phases, *_rates().values(), strict=True):
        optimiser = phase.optimisers(network)["weights"]
        assert isinstance(optimiser, torch.optim.Adam)
        assert [group["lr"] for group in optimiser.param_groups] == [encoder, decoder]
        assert all(group["weight_decay"] == 1e-5 for group in optimiser.param_groups)
    assert DARefineNetRecipe().optimiser == "sgd"


def _rates() -> dict[str, tuple[float, ...]]:
    return {"encoder_rates": (0.3, 0.2, 0.1), "decoder_rates": (3.0, 2.0, 1.0)}


def test_the_best_of_all_steps_is_kept_and_each_step_goes_on_from_the_last(
    data: TrainingData[Any], tmp_path: Path
) -> None:
    scores, seen = iter([0.9, 0.5, 0.3]), []

    class Scored(LinePhase):
        def begin(self, network: nn.Module, turn: Turn) -> None:
            seen.append(weights(network))

        def validate(self, network: nn.Module, turn: Turn) -> dict[str, float]:
            seen.append(weights(network))
            return {"mean IoU": next(scores)}

    choices = [phase.choice for phase in tiny().plan(data).phases]
    phases = (Scored(epochs=2, choice=choices[0]), Scored(epochs=1, choice=choices[1]))
    network = small_network()
    place = Trainer(fabric(), Settings(device="cpu"), tmp_path, seed=1).fit(network, phases)
    _, best, end, start, last = seen
    assert (place.best, place.best_phase, place.best_epoch) == (0.9, 0, 0)
    assert torch.equal(start, end)
    assert torch.equal(weights(network), best)
    assert not torch.equal(end, best)
    assert not torch.equal(last, best)


# -- examples ------------------------------------------------------------------------------------------


def coordinates(side: int = 200) -> LabelledArrays:
    """A field whose red is the row, whose green the column; its labels tell the row too, by tens."""
    y, x = np.mgrid[:side, :side]
    image = np.stack([y, x, np.zeros_like(y)], axis=-1).astype(np.uint8)
    classes = ClassTable.of([(value, f"from {10 * value}", (value, 0, 0)) for value in range(1, side // 10)])
    return LabelledArrays([image, image], [(y // 10).astype(np.uint8)] * 2, classes)


def test_views_and_labels_of_an_example_are_flipped_together() -> None:
    # the context, 96 px, lies inside the field for tiles in its middle
    recipe = tiny(size=32, context=3, mean=(0, 0, 0), std=(1, 1, 1))
    phase = recipe.plan(divided(coordinates(), 1)).phases[0]
    assert isinstance(phase, RegionPhase)
    inner = [
        n for n in range(len(phase.tiles)) if _is_inner(phase.tiles[n].y) and _is_inner(phase.tiles[n].x)
    ]
    flips, centres = set(), []
    for seed in range(60):
        index = inner[seed % len(inner)]
        tile = phase.tiles[index]
        example = phase.example("train", index, np.random.default_rng(seed))
        fine, context = (255 * view for view in example.inputs)
        down, right = (np.sign(float(fine[axis].flatten()[-1] - fine[axis].flatten()[0])) for axis in (0, 1))
        flips.add((down, right))
        for axis, direction in ((0, down), (1, right)):
            along = context[axis].mean(dim=1 - axis)
            assert np.sign(float(along[-1] - along[0])) == direction
            start = tile.y if axis == 0 else tile.x
            assert float(along.mean()) == pytest.approx(start + 15.5, abs=0.6)  # around the same centre
            assert start - 0.6 <= float(fine[axis].min()) <= float(fine[axis].max()) <= start + 31.6
        # class 0 is the background, class n begins in row 10 n
        np.testing.assert_allclose(fine[0] / 10, example.targets["labels"] + 0.5, atol=0.55)
        reach = (float(fine[0].max() - fine[0].min()) + 1) / 32
        centres.append(reach)
    assert flips == {(-1, -1), (-1, 1), (1, -1), (1, 1)}
    # scaled by 0.75 to 1 of the pixels that the whole tile has at 0.75
    assert 0.74 < min(centres) < 0.8
    assert 0.95 < max(centres) < 1.03


def test_both_views_are_dyed_anew_alike_where_that_is_asked_for() -> None:
    grey = LabelledArrays(
        [np.full((SIDE, SIDE, 3), (200, 120, 160), np.uint8)], [np.ones((SIDE, SIDE), np.uint8)]
    )
    seen = []
    for change in (0.0, 0.2):
        phase = (
            tiny(dye_change=change, context=1.5, mean=(0, 0, 0), std=(1, 1, 1))
            .plan(divided(LabelledArrays(grey._images * 2, grey._labels * 2), 1))
            .phases[0]
        )
        fine, context = phase.example("train", 0, np.random.default_rng(0)).inputs
        seen.append(fine[:, 16, 16])
        torch.testing.assert_close(context[:, 16, 16], fine[:, 16, 16], rtol=0, atol=0)
    assert (seen[0] - seen[1]).abs().max() > 0.02


def _is_inner(start: float) -> bool:
    return 32 <= start <= 200 - 64


@pytest.mark.parametrize("variant", ["single", "multi_size"])
def test_one_view_is_read_where_the_network_wants_one(variant: str) -> None:
    arguments = {**SMALL, "variant": variant}
    plan = tiny(arguments=arguments).plan(divided(coloured(2), 1))
    assert len(plan.phases[0].example("train", 0, np.random.default_rng(0)).inputs) == 1
    assert len(plan.card["input"].views) == 1


@pytest.mark.parametrize("fusion", ["attention", "concat", "add"])
def test_fusions_are_arguments_and_the_card_names_the_maps_there_are(
    data: TrainingData[Any], fusion: str
) -> None:
    plan = tiny(arguments={**SMALL, "fusion": fusion}).plan(data)
    maps = tuple(f"refined_{level}" for level in (4, 3, 2, 1)) if fusion == "attention" else ()
    assert card_of(plan).attention == maps
    assert card_of(plan).arguments["fusion"] == fusion


# -- steps ---------------------------------------------------------------------------------------------


def test_frozen_statistics_stay_while_the_weights_of_the_norms_learn(tmp_path: Path) -> None:
    recipe = tiny(
        arguments={**SMALL, "variant": "single"},
        frozen_statistics=True,
        epochs=(1,),
        encoder_rates=(0.01,),
        decoder_rates=(0.01,),
        validate_every=(1,),
        tiles=4,
    )
    plan = recipe.plan(divided(coloured(2), 1))
    norms = [part for part in plan.network.encoder.modules() if isinstance(part, nn.BatchNorm2d)]
    before = [norm.weight.detach().clone() for norm in norms]
    fit(tmp_path, recipe, plan)
    assert all(not norm.running_mean.any() and (norm.running_var == 1).all() for norm in norms)
    assert all(not torch.equal(norm.weight, old) for norm, old in zip(norms, before, strict=True))


def test_the_statistics_of_encoders_that_start_from_imagenet_are_frozen(
    data: TrainingData[Any], tmp_path: Path
) -> None:
    file = str(tmp_path / "resnet.safetensors")
    save_file(build("resnet", depth=18).state_dict(), file)
    for arguments, frozen in (
        ({}, ()),
        ({"pretrained": file}, ("encoder",)),
        ({"pretrained": file, "context_pretrained": file}, ("encoder", "context_encoder")),
    ):
        plan = tiny(arguments={**SMALL, **arguments}).plan(data)
        assert {phase.frozen for phase in plan.phases} == {frozen}
        assert plan.card["arguments"] == {**SMALL, "classes": 3}  # a card fetches nothing
        plan.phases[0].begin_epoch(plan.network, 0)
        for name in ("encoder", "context_encoder"):
            norm = plan.network.get_submodule(name).bn1
            assert norm.training == (name not in frozen)


def test_the_loss_is_the_mean_likelihood_of_the_labelled_pixels(data: TrainingData[Any]) -> None:
    phase = tiny().plan(data).phases[0]
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    target = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(2))
    target[0, :3] = -100
    counted = [
        -logits[n, :, y, x].log_softmax(0)[target[n, y, x]]
        for n in range(2)
        for y in range(4)
        for x in range(4)
        if target[n, y, x] >= 0
    ]

    class Known(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return logits

    batch = Batch.of([Example("a", (torch.zeros(3),), {"labels": labels}) for labels in target])
    torch.testing.assert_close(phase.loss(Known(), batch), torch.stack(counted).mean())


# -- validation ----------------------------------------------------------------------------------------


class Shade(nn.Module):
    """Tells the class by how bright the fine view is: a class more for each 20 levels."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, views: tuple[Tensor, Tensor]) -> Tensor:
        fine, context = views
        assert fine.shape == context.shape
        shade = (fine[:, 0] * 255 / 20).round()
        levels = torch.arange(self.classes, device=shade.device)[None, :, None, None]
        return -(shade[:, None] - levels).abs() * 50


def test_a_step_over_partly_labelled_tiles_does_not_depend_on_its_parts(data: TrainingData[Any]) -> None:
    phase = tiny(arguments={**SMALL, "variant": "single"}).plan(data).phases[0]
    batch = Batch.of([phase.example("train", index, np.random.default_rng(0)) for index in range(3)])
    batch.targets["labels"][0, :, 1:] = batch.targets["labels"][1] = NO_LABEL
    learned = []
    for size in (None, 1):
        torch.manual_seed(0)
        pixels = nn.Conv2d(3, 3, 1)  # normalises nothing over a batch
        turn = Turn(fabric(), pixels, micro_batch=size)
        turn.use({"weights": torch.optim.SGD(pixels.parameters(), 1.0)})
        losses = phase.step(turn, {"train": batch})
        learned.append(torch.cat([weights(pixels), torch.tensor([losses["loss"]])]))
    torch.testing.assert_close(*learned, rtol=1e-5, atol=1e-6)


def test_whole_fields_are_scored_by_one_confusion_matrix_as_bach_does(tmp_path: Path) -> None:
    classes = ClassTable.of([(1, "Benign", (1, 1, 1)), (2, "In situ", (2, 2, 2)), (9, "Invasive", (3, 3, 3))])
    # what the network will say, and the truth: an odd size, so that tiles overlap
    said = np.zeros((70, 50), int)
    said[:, :30], said[:40, 30:] = 3, 1
    truth = np.array([0, 1, 2, 9], np.uint8)[said]
    truth[:10, :30] = 2  # 300 px, said to be invasive
    truth[60:, :] = IGNORE
    grey = np.repeat((said * 20).astype(np.uint8)[..., None], 3, axis=-1)
    images = LabelledArrays([grey, grey], [truth, truth], classes)
    plan = tiny(mean=(0, 0, 0), std=(1, 1, 1), size=16).plan(divided(images, 1))
    phase = plan.phases[0]
    scores = phase.validate(Shade(4), Turn(fabric(), nn.Identity()))
    assert scores["IoU background"] == 1
    assert scores["IoU Benign"] == 1
    assert scores["IoU In situ"] == 0
    assert scores["IoU Invasive"] == pytest.approx(1500 / 1800)
    assert scores["mean IoU"] == pytest.approx((1 + 1 + 0 + 1500 / 1800) / 4)
    assert scores["accuracy"] == pytest.approx(1 - 300 / 3000)
    # off by one in 300 px; benign could be off by 2, in situ by 2, invasive by 3; background does not count
    assert scores["BACH score"] == pytest.approx(1 - 300 / (2 * 800 + 2 * 300 + 3 * 1500))
    other = replace_classes(
        images, ClassTable.of([(1, "a", (1, 1, 1)), (2, "b", (2, 2, 2)), (9, "c", (3, 3, 3))])
    )
    phase = tiny(mean=(0, 0, 0), std=(1, 1, 1), size=16).plan(divided(other, 1)).phases[0]
    assert "BACH score" not in phase.validate(Shade(4), Turn(fabric(), nn.Identity()))


def test_tiles_without_a_label_are_not_answered() -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    truth = np.full((64, 64), IGNORE, np.uint8)
    truth[40:44, 15:17] = 0  # in two of 16 tiles
    images = LabelledArrays([black, black], [truth, truth])
    phase = tiny(mean=(0, 0, 0), std=(1, 1, 1), size=16).plan(divided(images, 1)).phases[0]
    network, answered = Shade(3), []
    network.register_forward_hook(lambda module, inputs, logits: answered.append(len(logits)))
    scores = phase.validate(network, Turn(fabric(), nn.Identity()))
    assert answered == [2]
    assert scores["accuracy"] == 1
    assert np.isfinite(scores["loss"])


def test_a_class_that_is_nowhere_has_no_score() -> None:
    black = np.zeros((40, 40, 3), np.uint8)
    images = LabelledArrays([black, black], [np.zeros((40, 40), np.uint8)] * 2)
    phase = tiny(mean=(0, 0, 0), std=(1, 1, 1), size=16).plan(divided(images, 1)).phases[0]
    scores = phase.validate(Shade(3), Turn(fabric(), nn.Identity()))
    assert scores.keys() == {"loss", "mean IoU", "accuracy", "IoU background"}
    assert scores["mean IoU"] == 1


def replace_classes(images: LabelledArrays, classes: ClassTable) -> LabelledArrays:
    count = range(len(images.items))
    return LabelledArrays([images.image(n) for n in count], [images.labels(n) for n in count], classes)


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
    ious = table.query("name == 'mean IoU'")["value"].to_numpy()
    assert ious[-1] > max(0.45, ious[0])  # one class everywhere: 0.2; six seeds end at 0.63 to 0.79
    rates = table.query("kind == 'rate'")
    assert rates.query("phase == 'step 2'")["value"].tolist() == [0.02, 0.03]


def test_killed_it_goes_on_to_the_same_weights(data: TrainingData[Any], tmp_path: Path) -> None:
    recipe = tiny(
        arguments={**SMALL, "variant": "single"}, epochs=(1, 2), tiles=8, encoder_rates=(0.01, 0.01)
    )
    whole, killed, resumed = (recipe.plan(data) for _ in range(3))
    fit(tmp_path / "whole", recipe, whole)
    kill(killed.phases[1], 1, 1)
    with pytest.raises(KilledError):
        fit(tmp_path / "killed", recipe, killed)
    fit(tmp_path / "killed", recipe, resumed)
    assert torch.equal(weights(resumed.network), weights(whole.network))


def test_the_trained_model_runs_over_a_slide(
    data: TrainingData[Any], trained: tuple[Plan, Path], tmp_path: Path
) -> None:
    plan, _ = trained
    card = card_of(plan)
    assert [view.mpp for view in card.input.views] == [0.5, 1.0]
    folder = save_model(tmp_path, plan.network.eval(), card)
    model = load_model(folder)
    picture, truth = data.images.image(5), data.images.labels(5)
    whole = Region(0, 0, SIDE, SIDE)
    run = napari_lumen.predict(ArraySlide(picture), model, whole, tmp_path / "run", device="cpu")
    names = {record.name: record for record in run.record.rasters}
    assert {"refined_4", "refined_1"} <= names.keys()
    said = np.asarray(run.levels(names["classes"])[0])[:SIDE, :SIDE]
    turn = Turn(fabric(), plan.network)
    with torch.no_grad():
        scores = replace(plan.phases[0], validation=[5]).validate(plan.network, turn)
    assert (said == truth).mean() == pytest.approx(scores["accuracy"], abs=0.1)
    assert (said == truth).mean() > 0.6
    assert set(np.unique(said)) <= {0, *(known.value for known in TWO)}
