"""The trainings of NAS-SCAM's table: the rebuilt network and its rivals on crops of classes in turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from pydantic import ValidationError
from torch import Tensor, nn

from crop_fakes import CLASSES, Discs, KilledError, disc_data, disc_image, disc_labels, fit
from fakes import ArraySlide
from napari_lumen.errors import RunError
from napari_lumen.evaluation import dice
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.models import ModelCard, TrainingRecord, load_model, record_attention, save_model
from napari_lumen.models.genotype import POSITIONS, Genotype
from napari_lumen.stain.normalisation import USUAL_COLOURS
from napari_lumen.training.checkpoint import Place
from napari_lumen.training.crops import CropList
from napari_lumen.training.phase import TRAIN
from napari_lumen.training.recipe import Plan
from napari_lumen.training.recipes import nas_scam_augmentation
from napari_lumen.training.recipes.nas_scam import NASSCAMRecipe
from napari_lumen.training.recipes.nas_scam_augmentation import OneChange
from napari_lumen.training.recipes.nas_scam_crops import BalancedCrops
from napari_lumen.training.turn import Turn

GENOTYPE = Genotype.uniform("conv1", "conv3")
TINY: dict[str, Any] = {
    "genotype": GENOTYPE,
    "size": 32,
    "stride": 16,
    "test_stride": 16,
    "width": 8,
    "steps": 20,
    "epochs": 2,
    "rate": 1e-2,
    "colours": None,
}


def tiny(**changes: Any) -> NASSCAMRecipe:
    return NASSCAMRecipe(**{**TINY, **changes})


def chance(images: Discs, numbers: tuple[int, ...]) -> float:
    """Dice of the best answer that does not look: every pixel is of every class."""
    labels = np.stack([images.labels(number) for number in numbers])
    return float(np.mean([dice(np.ones_like(labels, bool), labels == known.value) for known in CLASSES]))


def weights(network: nn.Module) -> Tensor:
    return torch.cat([item.detach().flatten() for item in network.state_dict().values()])


@dataclass(frozen=True)
class Trained:
    folder: Path
    plan: Plan
    place: Place


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("rebuilt")
    plan = tiny().plan(disc_data())
    return Trained(folder, plan, fit(folder, plan.network, plan.phases))


def test_the_numbers_are_those_of_the_specification() -> None:
    recipe = NASSCAMRecipe(genotype=GENOTYPE)
    assert (recipe.epochs, recipe.rate, recipe.batch) == (300, 1e-4, 4)
    assert (recipe.size, recipe.stride, recipe.test_stride, recipe.width) == (256, 128, 128, 16)
    assert (recipe.loss, recipe.dice_share) == ("exponential_logarithmic", 0.8)
    assert (recipe.dice_exponent, recipe.cross_entropy_exponent) == (0.3, 0.3)
    assert recipe.colours == USUAL_COLOURS
    change = recipe.augmentation
    assert {change.rotation, change.flip, change.gaussian_blur, change.median_blur, change.elastic} == {0.2}
    assert (change.most_degrees, change.blur_side, change.most_sigma, change.median_side) == (179, 5, 2, 3)
    assert (change.elastic_alpha, change.elastic_sigma, change.elastic_affine) == (3, 0.07, 0.09)


def test_an_epoch_has_the_steps_of_the_release() -> None:
    starts = np.cumsum([0, 2445, 1588, 401, 369])
    lists = tuple(tuple(range(low, high)) for low, high in pairwise(starts))
    common = NASSCAMRecipe(genotype=GENOTYPE).common(disc_data(), {TRAIN: CropList((), lists, (1, 1, 1, 1))})
    assert common["steps"] == 1223


def test_a_rebuilt_network_learns_the_classes_and_the_best_epoch_is_kept(trained: Trained) -> None:
    table = pd.read_parquet(trained.folder / "curves.parquet")
    losses = table[table["kind"] == "loss"]["value"].to_numpy()
    assert losses[-10:].mean() < 0.95 * losses[:10].mean()
    scores = table[table["kind"] == "score"].pivot(index="epoch", columns="name", values="value")
    assert scores["dice pooled"].max() > 2.5 * chance(Discs(), (5, 6))
    assert trained.place.best_epoch == scores["dice pooled"].idxmax()
    of_classes = scores[["dice pooled blue", "dice pooled red"]]
    np.testing.assert_allclose(of_classes.mean(axis=1), scores["dice pooled"])


def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, recipe = BalancedCrops.step, tiny(steps=3, epochs=2, width=4, test_stride=32, colours=USUAL_COLOURS)

    def killed(self: BalancedCrops, turn: Turn, batches: Any) -> Any:
        if (turn.epoch, turn.step) == (1, 2):
            raise KilledError
        return step(self, turn, batches)

    monkeypatch.setattr(BalancedCrops, "step", killed)
    plan = recipe.plan(disc_data())
    with pytest.raises(KilledError):
        fit(tmp_path / "killed", plan.network, plan.phases, every_step=True)
    monkeypatch.setattr(BalancedCrops, "step", step)
    plans = {name: recipe.plan(disc_data()) for name in ("killed", "whole")}
    for name, plan in plans.items():
        fit(tmp_path / name, plan.network, plan.phases)
    assert torch.equal(*(weights(plan.network) for plan in plans.values()))
    pd.testing.assert_frame_equal(*(pd.read_parquet(tmp_path / name / "curves.parquet") for name in plans))


def test_the_model_runs_over_a_slide_and_stores_its_spatial_maps(trained: Trained, tmp_path: Path) -> None:
    rng = np.random.default_rng(77)
    labels = np.block([[disc_labels(rng), disc_labels(rng)], [disc_labels(rng), disc_labels(rng)]])
    card = ModelCard(
        name="discs",
        title="Discs",
        summary="Finds discs.",
        training=TrainingRecord(data="drawn", split="by image"),
        scores={},
        licence="BSD-3-Clause",
        limits="Nothing else.",
        weights_sha256="0" * 64,
        **trained.plan.card,
    )
    model = load_model(save_model(tmp_path, trained.plan.network.eval(), card))
    assert model.card.task == "segmentation"
    assert model.card.activation == "sigmoid"
    assert Genotype.read(model.card.arguments["genotype"]) == GENOTYPE
    assert (model.card.input.views[0].size, model.card.mpp, model.card.input.overlap) == (32, 0.5, 16)
    with record_attention(model.network) as maps:
        model.network(torch.zeros(1, 3, 32, 32))
    spatial = tuple(name for name, value in maps.items() if value.dim() == 4)
    assert set(model.card.attention) == set(spatial) == {f"{position}.sam" for position in POSITIONS}
    run = predict(ArraySlide(disc_image(labels, rng)), model, Region(0, 0, 96, 96), tmp_path / "run")
    found = np.asarray(run.levels(run.labels)[0])[:96, :96]
    scores = [dice(found == known.value, labels == known.value) for known in CLASSES]
    blind = [dice(np.ones_like(labels, bool), labels == known.value) for known in CLASSES]
    assert np.mean(scores) > 2 * np.mean(blind)
    stored = {
        raster.path: raster.name for raster in run.record.rasters if raster.path.startswith("attention")
    }
    assert stored == {f"attention/{name}": name for name in spatial}


class Painted(nn.Module):
    """Answers by colour alone: blue where there is little red, red where little green; both may be."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([0.28 - x[:, 0], 0.35 - x[:, 1]], dim=1)


def test_dice_is_of_the_pixels_of_all_images_with_a_threshold_for_each_class() -> None:
    images = Discs()
    images.truth[5][20:30, 20:30] = 255  # no label: it counts nowhere
    data = disc_data(images)
    phase = tiny().plan(data).phases[0]
    turn = Turn(Fabric(accelerator="cpu", devices=1), nn.Identity())
    scores = phase.validate(Painted(), turn)
    wanted = []
    for channel, threshold, value in ((0, 0.28, 1), (1, 0.35, 3)):
        both = said = there = 0
        for number in (5, 6):
            labels = images.labels(number)
            predicted = (images.image(number)[..., channel] / 255 < threshold) & (labels != 255)
            truth = labels == value
            both, said, there = both + (predicted & truth).sum(), said + predicted.sum(), there + truth.sum()
        wanted.append(2 * both / (said + there))
    assert 0.3 < min(wanted) < max(wanted) < 1  # blue is low in green too: it overlaps red's answer
    assert scores["dice pooled blue"] == pytest.approx(wanted[0])
    assert scores["dice pooled red"] == pytest.approx(wanted[1])
    assert scores["dice pooled"] == pytest.approx(np.mean(wanted))


def test_a_class_that_is_nowhere_in_the_validation_is_left_out_of_the_mean() -> None:
    images = Discs()
    for number in (5, 6):
        images.truth[number][images.truth[number] == 3] = 0
    phase = tiny().plan(disc_data(images)).phases[0]

    class Nowhere(Painted):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) - torch.tensor([0.0, 9.0])[:, None, None]

    scores = phase.validate(Nowhere(), Turn(Fabric(accelerator="cpu", devices=1), nn.Identity()))
    assert "dice pooled red" not in scores
    assert scores["dice pooled"] == scores["dice pooled blue"]


@pytest.mark.parametrize(
    ("architecture", "arguments", "maps"),
    [
        ("host_unet", {}, 0),
        ("cbam_unet", {}, 8),
        ("scse_unet", {}, 8),
        ("deeplabv3plus", {"depth": 18}, 0),
    ],
)
def test_the_rivals_train_by_the_same_recipe(
    architecture: str, arguments: dict[str, Any], maps: int, tmp_path: Path
) -> None:
    recipe = tiny(architecture=architecture, arguments=arguments, genotype=None, steps=1, epochs=1)
    plan = recipe.plan(disc_data())
    before = weights(plan.network)
    assert len(plan.card["attention"]) == maps
    fit(tmp_path, plan.network, plan.phases)
    assert not torch.equal(before, weights(plan.network))
    assert plan.network(torch.zeros(2, 3, 32, 32)).shape == (2, 2, 32, 32)
    again = recipe.plan(disc_data())
    assert torch.equal(before, weights(again.network))  # first weights follow from the seed


def test_each_change_is_made_to_a_fifth_of_the_crops_and_none_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []

    def noting(name: str) -> Any:
        def change(image: Any, *rest: Any, **numbers: Any) -> Any:
            made.append(name)
            return image if "blur" in name else (image, rest[0])

        return change

    kinds = ("random_rotation", "random_flip", "gaussian_blur", "median_blur", "random_elastic")
    for name in kinds:
        monkeypatch.setattr(nas_scam_augmentation, name, noting(name))
    image, labels = disc_image(disc_labels(np.random.default_rng(0)), np.random.default_rng(0)), None
    rng = np.random.default_rng(9)
    for chances, share in ((OneChange(), 0.2), (OneChange(elastic=0.1, flip=0.1), None)):
        made.clear()
        for _ in range(3000):
            before = len(made)
            chances(image, labels, rng)  # type: ignore[arg-type]
            assert len(made) - before <= 1
        counts = Counter(made)
        for name in kinds:
            wanted = share or (0.1 if name in ("random_elastic", "random_flip") else 0.2)
            assert counts[name] / 3000 == pytest.approx(wanted, abs=0.03)
    assert len(made) < 0.85 * 3000


@pytest.mark.parametrize("kind", ["rotation", "flip", "gaussian_blur", "median_blur", "elastic"])
def test_a_change_keeps_shape_and_known_labels(kind: str) -> None:
    rest = dict.fromkeys(("rotation", "flip", "gaussian_blur", "median_blur", "elastic"), 0.0)
    change = OneChange(**{**rest, kind: 1.0})  # type: ignore[arg-type]
    labels = disc_labels(np.random.default_rng(3))
    image = disc_image(labels, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    changes = [change(image, labels, rng) for _ in range(4)]
    assert any(not np.array_equal(seen, image) for seen, _ in changes)
    for seen, truth in changes:
        assert (seen.shape, seen.dtype) == (image.shape, image.dtype)
        assert set(np.unique(truth)) <= {0, 1, 3, 255}
        if "blur" in kind:
            np.testing.assert_array_equal(truth, labels)


def test_the_loss_of_the_release_is_its_dice_half() -> None:
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    pixels = torch.tensor([10, 20])
    found = tiny(loss="dice_only").loss_of(logits, target, pixels)
    probability = logits.sigmoid()
    parts = []
    for channel in range(2):
        truth = target == channel + 1
        overlap = 2 * probability[:, channel][truth].sum() / (probability[:, channel].sum() + truth.sum())
        parts.append((-overlap.log()) ** 0.3)
    assert found.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)
    assert tiny().loss_of(logits, target, pixels).item() != pytest.approx(found.item(), rel=1e-3)


def test_a_class_that_no_training_image_shows_is_named() -> None:
    with pytest.raises(RunError, match=r"'train' shows the class 'red'.*Divide the data anew"):
        tiny().plan(disc_data(Discs(values=(1,))))


def test_a_genotype_is_read_from_the_file_that_a_search_leaves(tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    path.write_text(GENOTYPE.model_dump_json(indent=1))
    recipe = tiny(genotype=str(path))
    assert recipe.genotype == GENOTYPE
    assert NASSCAMRecipe.model_validate(recipe.model_dump(mode="json")) == recipe
    path.write_text('{"D1": {"sam": ["conv7"], "cam": []}}')
    with pytest.raises(ValidationError, match=r"genotype\.json: genotype\.D1\.sam"):
        tiny(genotype=path)
    with pytest.raises(ValidationError, match="cannot be read"):
        tiny(genotype=tmp_path / "no.json")


@pytest.mark.parametrize("numbers", [{"genotype": None}, {"architecture": "cbam_unet"}])
def test_only_nas_scam_has_a_genotype_and_it_needs_one(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="a genotype is what nas_scam needs"):
        tiny(**numbers)
