"""Losses, on logits, with the equations of their papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor


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
    """Hybrid adaptive logarithmic loss of FocusNet++ (section 2.2, equations 1 and 2).

    Balanced cross entropy and Tversky loss, mixed to HL, then omega ln(1 + HL / epsilon) below gamma and
    HL - C above it, which steepens the loss near zero.

    Parameters
    ----------
    logits : Tensor
        (N, 1, H, W), of the foreground.
    target : Tensor
        Same shape, 0 or 1.
    positive_weight : float
        Omega of the balanced cross entropy; the paper prints it without its minus sign.
    false_positive_weight, false_negative_weight : float
        alpha and beta of the Tversky index, whose soft counts are pooled over the batch.
    cross_entropy_share : float
        k of equation 1.
    gamma, omega, epsilon : float
        Of equation 2.

    Returns
    -------
    Tensor
        Scalar, at least 0.
    """
    probability = torch.sigmoid(logits.float()).clamp(1e-7, 1 - 1e-7)
    target = target.float()
    cross_entropy = -(
        positive_weight * target * torch.log(probability)
        + (1 - positive_weight) * (1 - target) * torch.log(1 - probability)
    ).mean()
    true_positive = (probability * target).sum()
    false_positive = (probability * (1 - target)).sum()
    false_negative = ((1 - probability) * target).sum()
    tversky = (true_positive + 1) / (
        true_positive + false_positive_weight * false_positive + false_negative_weight * false_negative + 1
    )
    hybrid = cross_entropy_share * cross_entropy + (1 - cross_entropy_share) * (1 - tversky)
    offset = gamma - omega * math.log(1 + gamma / epsilon)
    return torch.where(hybrid < gamma, omega * torch.log1p(hybrid / epsilon), hybrid - offset)
