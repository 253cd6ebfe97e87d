"""Losses: the identities of their papers, other implementations of their parts, and sums by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import DiceLoss, TverskyLoss
from torch import Tensor

from napari_lumen.training.losses import (
    balanced_cross_entropy,
    exponential_logarithmic,
    exponential_logarithmic_sigmoid,
    global_share,
    masked_cross_entropy,
    tversky_loss,
    two_term,
)
from napari_lumen.training.losses.adaptive_logarithmic import adaptive_logarithm

NO_LABEL = -100


def binary(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 1, 9, 7, generator=generator)
    return logits, (torch.rand(3, 1, 9, 7, generator=generator) < 0.3).float()


def classes(count: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, count, 6, 5, generator=generator)
    return logits, torch.randint(0, count, (2, 6, 5), generator=generator)


# -- FocusNet++ ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (0.5, 0.5), (0.9, 0.2)])
def test_the_tversky_loss_is_that_of_monai(alpha: float, beta: float) -> None:
    logits, target = binary()
    monai = TverskyLoss(sigmoid=True, alpha=alpha, beta=beta, smooth_nr=1, smooth_dr=1, batch=True)
    ours = tversky_loss(logits, target, false_positive_weight=alpha, false_negative_weight=beta)
    assert ours.item() == pytest.approx(monai(logits, target).item(), rel=1e-5)


def test_with_equal_weights_it_is_the_dice_loss() -> None:
    logits, target = binary(1)
    # numerator and denominator of Dice are twice those of the index
    dice = DiceLoss(sigmoid=True, smooth_nr=2, smooth_dr=2, batch=True)
    ours = tversky_loss(logits, target, false_positive_weight=0.5, false_negative_weight=0.5)
    assert ours.item() == pytest.approx(dice(logits, target).item(), rel=1e-5)


def test_the_balanced_cross_entropy_weighs_the_two_kinds_of_pixels() -> None:
    logits, target = binary(2)
    plain = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weighted = (plain * torch.where(target > 0, 0.7, 0.3)).mean()
    assert balanced_cross_entropy(logits, target).item() == pytest.approx(weighted.item(), rel=1e-5)


@given(st.floats(0, 3))
def test_the_adaptive_logarithm_rises_steepest_at_zero(loss: float) -> None:
    value = torch.tensor(loss, dtype=torch.float64, requires_grad=True)
    found = adaptive_logarithm(value)
    found.backward()
    below = loss < 0.1
    wanted = 10 * math.log1p(loss / 0.5) if below else loss + 1.7232155679395459
    assert found.item() == pytest.approx(wanted, abs=1e-6)
    assert value.grad is not None
    assert value.grad.item() == pytest.approx(10 / (0.5 + loss) if below else 1.0, rel=1e-6)


# -- NAS-SCAM ------------------------------------------------------------------------------------------


def by_hand(logits: Tensor, target: Tensor, frequencies: np.ndarray, share: float = 0.8) -> float:
    probability = np.moveaxis(logits.softmax(dim=1).double().numpy(), 1, -1).reshape(-1, logits.shape[1])
    truth = target.numpy().ravel()
    of_dice, of_entropy = [], []
    for value in np.unique(truth):
        inside = truth == value
        dice = 2 * probability[inside, value].sum() / (probability[:, value].sum() + inside.sum())
        of_dice.append((-np.log(dice)) ** 0.3)
    for value, own in zip(truth, probability[np.arange(len(truth)), truth], strict=True):
        weight = np.sqrt(frequencies.sum() / frequencies[value])
        of_entropy.append(weight * (-np.log(own)) ** 0.3)
    return share * float(np.mean(of_dice)) + (1 - share) * float(np.mean(of_entropy))


@pytest.mark.parametrize("share", [0.8, 1.0])
def test_the_exponential_logarithmic_loss_is_the_sum_by_hand(share: float) -> None:
    logits, target = classes(4)
    target[target == 2] = 1  # a class that is nowhere in the batch
    own = np.bincount(target.numpy().ravel(), minlength=4)
    found = exponential_logarithmic(logits, target, dice_share=share)
    assert found.item() == pytest.approx(by_hand(logits, target, own, share), rel=1e-5)
    given = np.array([100.0, 20.0, 5.0, 1.0])
    found = exponential_logarithmic(logits, target, torch.from_numpy(given), dice_share=share)
    assert found.item() == pytest.approx(by_hand(logits, target, given, share), rel=1e-5)


def by_hand_of_sigmoids(logits: Tensor, target: Tensor, frequencies: np.ndarray, share: float) -> float:
    probability, truth = logits.sigmoid().double().numpy(), target.numpy()
    of_dice, of_entropy = [], []
    for channel in range(logits.shape[1]):
        inside = truth == channel + 1
        if not inside.any():
            continue
        own = probability[:, channel][inside]
        # what is said of the background and of other classes counts in the Dice
        of_dice.append((-np.log(2 * own.sum() / (probability[:, channel].sum() + inside.sum()))) ** 0.3)
        weight = np.sqrt(frequencies.sum() / frequencies[channel])
        of_entropy += [weight * (-np.log(value)) ** 0.3 for value in own]
    return share * float(np.mean(of_dice)) + (1 - share) * float(np.mean(of_entropy))


@pytest.mark.parametrize("share", [0.8, 1.0, 0.0])
def test_with_a_sigmoid_for_each_class_the_loss_is_the_sum_by_hand(share: float) -> None:
    logits, target = classes(5)
    logits = logits[:, 1:]  # four classes, for labels of a background and four
    target[target == 3] = 0  # a class that is nowhere in the batch
    own = np.bincount(target.numpy().ravel(), minlength=5)[1:]
    for frequencies, counted in ((None, own), (torch.tensor([100, 20, 5, 1]), np.array([100, 20, 5, 1]))):
        found = exponential_logarithmic_sigmoid(logits, target, frequencies, dice_share=share)
        assert found.item() == pytest.approx(by_hand_of_sigmoids(logits, target, counted, share), rel=1e-5)


def test_its_dice_is_that_of_monai() -> None:
    logits, target = classes(4)
    logits = logits[:, 1:]
    truth = F.one_hot(target, 4).movedim(-1, 1)[:, 1:].float()
    dice = 1 - DiceLoss(sigmoid=True, batch=True, smooth_nr=0, smooth_dr=0, reduction="none")(logits, truth)
    found = exponential_logarithmic_sigmoid(logits, target, dice_share=1.0)
    assert found.item() == pytest.approx(((-dice.log()) ** 0.3).mean().item(), rel=1e-5)


def with_sigmoids(logits: Tensor, target: Tensor) -> Tensor:
    """The form of sigmoids, called as that of softmax: its first channel is of label 1."""
    return exponential_logarithmic_sigmoid(logits[:, 1:], target)


@pytest.mark.parametrize("form", [exponential_logarithmic, with_sigmoids])
def test_perfect_and_hopeless_answers_have_finite_gradients(form: Callable[[Tensor, Tensor], Tensor]) -> None:
    _, target = classes()
    right = 2 * F.one_hot(target, 3).movedim(-1, 1).float() - 1
    for logits in (right * 200, -right * 200):
        logits.requires_grad_()
        loss = form(logits, target)
        loss.backward()
        assert loss.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0  # the hopeless one learns


# -- places without a label ----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [masked_cross_entropy, exponential_logarithmic, with_sigmoids])
def test_what_has_no_label_changes_neither_loss_nor_gradients(loss: object) -> None:
    logits, target = classes(seed=3)
    target[:, 2:4] = NO_LABEL
    results = []
    for noise in (0.0, 50.0):
        changed = logits.clone()
        changed[:, :, 2:4] += noise * torch.randn(2, 3, 2, 5, generator=torch.Generator().manual_seed(1))
        changed.requires_grad_()
        value = loss(changed, target)  # type: ignore[operator]
        value.backward()
        results.append((value.item(), changed.grad))
    assert results[0][0] == results[1][0]
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=0)
    assert not results[0][1][:, :, 2:4].any()


@pytest.mark.parametrize("loss", [masked_cross_entropy, exponential_logarithmic, with_sigmoids])
def test_without_any_label_nothing_is_learnt(loss: object) -> None:
    logits, target = classes()
    logits.requires_grad_()
    value = loss(logits, torch.full_like(target, NO_LABEL))  # type: ignore[operator]
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_where_all_is_labelled_it_is_the_negative_log_likelihood() -> None:
    logits, target = classes(seed=4)
    picked = logits.log_softmax(dim=1).gather(1, target[:, None])
    assert masked_cross_entropy(logits, target).item() == pytest.approx(-picked.mean().item(), rel=1e-6)


# -- gated attention -----------------------------------------------------------------------------------


def test_lambda_falls_by_a_tenth_every_twenty_epochs() -> None:
    shares = [global_share(epoch) for epoch in (0, 19, 20, 39, 40, 199, 200, 500)]
    assert shares == pytest.approx([1, 1, 0.9, 0.9, 0.8, 0.1, 0, 0])


def test_two_terms_are_mixed_by_lambda() -> None:
    of_global, of_fusion = torch.randn(4, 3), torch.randn(4, 3)
    target = torch.tensor([0, 2, 1, 1])
    terms = F.cross_entropy(of_global, target), F.cross_entropy(of_fusion, target)
    found = two_term(of_global, of_fusion, target, 0.3)
    assert found.item() == pytest.approx(0.3 * terms[0].item() + 0.7 * terms[1].item())
    assert two_term(of_global, None, target, 1.0).item() == pytest.approx(terms[0].item())
    with pytest.raises(ValueError, match=r"lambda is 0\.9"):
        two_term(of_global, None, target, 0.9)
