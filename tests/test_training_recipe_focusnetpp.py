"""FocusNet++'s recipe: its loss over what is labelled, its augmentation."""

from __future__ import annotations

import numpy as np
import torch

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.training.dense import NO_LABEL
from napari_lumen.training.recipes.focusnetpp import FocusNetPPRecipe
from training_pictures import LabelledArrays, divided


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
