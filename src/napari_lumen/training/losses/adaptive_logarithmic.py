"""The loss of FocusNet++ (Kaul et al., ISBI 2021, section 2.2) and its two parts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_CLIP = 1e-7  # of probabilities, so that no logarithm is infinite


def balanced_cross_entropy(logits: Tensor, target: Tensor, *, positive_weight: float = 0.7) -> Tensor:
    """Binary cross entropy with one weight for the foreground and the rest for the background.

    Parameters
    ----------
    logits : Tensor
        Of the foreground, (N, 1, H, W) or any other shape.
    target : Tensor
        Same shape, 0 or 1.
    positive_weight : float
        Omega; the paper prints the loss without its minus sign.
    """
    probability, target = _probability(logits), target.float()
    foreground = positive_weight * target * torch.log(probability)
    background = (1 - positive_weight) * (1 - target) * torch.log(1 - probability)
    return -(foreground + background).mean()


def tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    false_positive_weight: float = 0.3,
    false_negative_weight: float = 0.7,
) -> Tensor:
    """One minus the Tversky index of the foreground, its soft counts pooled over the batch, smoothed by 1.

    Parameters
    ----------
    logits, target : Tensor
        As of `balanced_cross_entropy`.
    false_positive_weight, false_negative_weight : float
        alpha and beta; 0.5 and 0.5 give the Dice loss.
    """
    probability, target = _probability(logits), target.float()
    true_positive = (probability * target).sum()
    false_positive = (probability * (1 - target)).sum()
    false_negative = ((1 - probability) * target).sum()
    errors = false_positive_weight * false_positive + false_negative_weight * false_negative
    return 1 - (true_positive + 1) / (true_positive + errors + 1)


def adaptive_logarithmic_hybrid(
    logits: Tensor,
    target: Tensor,
    *,
    positive_weight: float = 0.7,
    false_positive_weight: float = 0.3,
    false_negative_weight: float = 0.7,
    cross_entropy_share: float = 0.5,
    gamma: float = 0.1,
    omega: float = 10.0,
    epsilon: float = 0.5,
) -> Tensor:
    """Hybrid adaptive logarithmic loss (equations 1 and 2).

    Balanced cross entropy and Tversky loss, mixed, then steepened near zero by `adaptive_logarithm`.

    Parameters
    ----------
    logits, target : Tensor
        As of `balanced_cross_entropy`.
    positive_weight, false_positive_weight, false_negative_weight : float
        Of the two parts.
    cross_entropy_share : float
        k of equation 1.
    gamma, omega, epsilon : float
        Of equation 2.
    """
    cross_entropy = balanced_cross_entropy(logits, target, positive_weight=positive_weight)
    tversky = tversky_loss(
        logits,
        target,
        false_positive_weight=false_positive_weight,
        false_negative_weight=false_negative_weight,
    )
    hybrid = cross_entropy_share * cross_entropy + (1 - cross_entropy_share) * tversky
    return adaptive_logarithm(hybrid, gamma=gamma, omega=omega, epsilon=epsilon)


def adaptive_logarithm(
    loss: Tensor, *, gamma: float = 0.1, omega: float = 10.0, epsilon: float = 0.5
) -> Tensor:
    """Return omega ln(1 + L / epsilon) of a loss L below gamma and L - C above, continuous (equation 2)."""
    offset = gamma - omega * math.log(1 + gamma / epsilon)
    return torch.where(loss < gamma, omega * torch.log1p(loss / epsilon), loss - offset)


def _probability(logits: Tensor) -> Tensor:
    return torch.sigmoid(logits.float()).clamp(_CLIP, 1 - _CLIP)
