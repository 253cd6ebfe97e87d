"""FocusNet++'s recipe: its numbers, its loss over what is labelled, its augmentation."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.models import build
from napari_lumen.models.describe import outlined
from napari_lumen.training.dense import NO_LABEL
from napari_lumen.training.phase import Choice
from napari_lumen.training.recipes.focusnetpp import FocusNetPPRecipe
from training_pictures import LabelledArrays, divided


def test_the_numbers_are_those_of_the_paper() -> None:
    recipe = FocusNetPPRecipe()
    assert (recipe.epochs, recipe.batch, recipe.size, recipe.framing) == (50, 8, 256, "resize")
    rates = {epoch: recipe.rate(epoch) for epoch in (0, 15, 16, 25, 26, 40, 41, 49)}
    assert rates == {0: 1e-4, 15: 1e-4, 16: 1e-5, 25: 1e-5, 26: 1e-6, 40: 1e-6, 41: 1e-7, 49: 1e-7}
    pixels = [np.zeros((16, 16, 3), np.uint8)] * 2
    one = LabelledArrays(pixels, [image[..., 0] for image in pixels], classes=ClassTable.named(["nucleus"]))
    plan = FocusNetPPRecipe(arguments={"preset": "light"}).plan(divided(one, 1))
    (phase,) = plan.phases
    assert phase.choice == Choice("loss", best="lowest")
    (optimiser,) = phase.optimisers(plan.network).values()
    assert type(optimiser) is torch.optim.Adam


@pytest.mark.parametrize("change", [{}, {"false_positive_weight": 0.6}, {"omega": 4.0, "epsilon": 0.2}])
def test_the_loss_is_the_sum_by_hand_of_its_equations(change: dict[str, float]) -> None:
    numbers = {
        "positive_weight": 0.7,
        "false_positive_weight": 0.3,
        "false_negative_weight": 0.7,
        "cross_entropy_share": 0.5,
        "gamma": 0.1,
        "omega": 10.0,
        "epsilon": 0.5,
        **change,
    }
    for scale in (0.5, 40.0):  # unsure, above gamma; and nearly right, below it
        generator = torch.Generator().manual_seed(1)
        target = torch.randint(0, 2, (2, 9, 7), generator=generator)
        logits = (scale * (target * 2 - 1) + torch.randn(2, 9, 7, generator=generator))[:, None]
        p, t = logits[:, 0].double().sigmoid().clamp(1e-7, 1 - 1e-7).numpy(), target.numpy()
        entropy = -np.where(
            t, numbers["positive_weight"] * np.log(p), (1 - numbers["positive_weight"]) * np.log(1 - p)
        )
        hit, false, missed = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
        wrong = numbers["false_positive_weight"] * false + numbers["false_negative_weight"] * missed
        tversky = 1 - (hit + 1) / (hit + wrong + 1)
        hybrid = (
            numbers["cross_entropy_share"] * entropy.mean() + (1 - numbers["cross_entropy_share"]) * tversky
        )
        gamma, omega, epsilon = numbers["gamma"], numbers["omega"], numbers["epsilon"]
        lift = omega * np.log1p(gamma / epsilon) - gamma
        assert (hybrid < gamma) == (scale == 40.0)
        wanted = omega * np.log1p(hybrid / epsilon) if hybrid < gamma else hybrid + lift
        assert FocusNetPPRecipe(**change).loss(logits, target).item() == pytest.approx(
            wanted, rel=1e-4, abs=1e-6
        )


def test_a_network_is_built_once_to_see_that_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[dict[str, Any]] = []

    def count(name: str, **arguments: Any) -> object:
        built.append(arguments)
        return outlined(name, **arguments)

    monkeypatch.setattr("napari_lumen.training.recipe.outlined", count)
    unet: dict[str, Any] = {"architecture": "unet", "arguments": {"width": 4, "classes": 77}}
    for epochs in (1, 2, 3):  # as a form asks while a number is typed
        FocusNetPPRecipe(**unet, epochs=epochs)
    assert built == [{"width": 4, "classes": 77}]
    for _ in range(2):
        with pytest.raises(ValidationError, match="classes must be a whole number, not True"):
            FocusNetPPRecipe(architecture="unet", arguments={"width": 4, "classes": True})
    FocusNetPPRecipe(architecture="unet", arguments={"width": 4, "classes": 78})
    assert len(built) == 4


@pytest.mark.parametrize("architecture", get_args(FocusNetPPRecipe.model_fields["architecture"].annotation))
def test_every_rival_is_built_without_arguments(architecture: str) -> None:
    recipe = FocusNetPPRecipe(architecture=architecture)
    with torch.device("meta"):
        assert sum(value.numel() for value in build(architecture, **recipe.arguments).parameters()) > 1e6


def test_pixels_without_a_label_change_no_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 8, 8, generator=generator, requires_grad=True)
    target = torch.randint(0, 2, (2, 8, 8), generator=generator)
    recipe = FocusNetPPRecipe()
    alone = recipe.loss(logits[..., :4], target[..., :4])
    target[..., 4:] = NO_LABEL
    masked = recipe.loss(logits, target)
    torch.testing.assert_close(masked, alone)
    (gradient,) = torch.autograd.grad(masked, logits)
    assert (gradient[..., 4:] == 0).all()
    assert recipe.loss(logits, torch.full_like(target, NO_LABEL)).item() == 0


def test_images_are_dyed_anew_where_that_is_asked_for() -> None:
    pink = np.full((8, 8, 3), (200, 120, 160), np.uint8)
    one = LabelledArrays([pink] * 2, [pink[..., 0] * 0] * 2, classes=ClassTable.named(["nucleus"]))
    seen = []
    for change in (0.0, 0.2):
        recipe = FocusNetPPRecipe(
            architecture="unet", arguments={"width": 4, "classes": 1}, size=8, dye_change=change
        )
        (phase,) = recipe.plan(divided(one, 1)).phases
        seen.append(phase.example("train", 0, np.random.default_rng(0)).inputs[0])
    assert torch.allclose(seen[0][:, 0, 0] * 255, torch.tensor([200.0, 120, 160]))
    assert (seen[0] - seen[1]).abs().max() > 0.02
