"""The exponential logarithmic loss of NAS-SCAM (Liu et al., MICCAI 2020, after Wong et al., MICCAI 2018).

``L = s mean_c[(-ln D_c)^g] + (1 - s) mean_x[w_c (-ln p_c)^h]`` with ``w_c = sqrt(sum f / f_c)``: hard classes
and pixels keep their pull, rare classes weigh more. D_c is the soft Dice of a class, pooled over the batch;
the second mean is over the pixels that are of a class, p_c the probability of that class there.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_CLIP = 1e-7  # of Dice and probabilities, so that no logarithm, nor the slope of its power, is infinite
_NO_LABEL = -100


def exponential_logarithmic(
    logits: Tensor,
    target: Tensor,
    frequencies: Tensor | None = None,
    *,
    dice_share: float = 0.8,
    dice_exponent: float = 0.3,
    cross_entropy_exponent: float = 0.3,
    ignore: int = _NO_LABEL,
) -> Tensor:
    """Loss of classes that exclude each other, by softmax; a background is a class like the others.

    Parameters
    ----------
    logits : Tensor
        (N, C, H, W).
    target : Tensor
        (N, H, W) integers below C, or `ignore`.
    frequencies : Tensor, optional
        (C,) how often each class is in the training data; those of the batch without it.
    dice_share : float
        s; 1 leaves the Dice half alone, as the authors' release does.
    dice_exponent, cross_entropy_exponent : float
        g and h.
    ignore : int
        Value of pixels that do not count.

    Returns
    -------
    Tensor
        Scalar; 0, with gradients of 0, where no pixel counts. A class that is nowhere in the batch has no
        Dice and is left out of the mean.
    """
    counts = target != ignore
    log_probability = F.log_softmax(logits.float(), dim=1).movedim(1, -1)[counts]
    truth = F.one_hot(target[counts].long(), logits.shape[1]).float()
    return _mixed(log_probability, truth, frequencies, dice_share, dice_exponent, cross_entropy_exponent)


def exponential_logarithmic_sigmoid(
    logits: Tensor,
    target: Tensor,
    frequencies: Tensor | None = None,
    *,
    dice_share: float = 0.8,
    dice_exponent: float = 0.3,
    cross_entropy_exponent: float = 0.3,
    ignore: int = _NO_LABEL,
) -> Tensor:
    """Loss of a sigmoid for each class and none for the background, as NAS-SCAM has them.

    What is said of the background counts in the Dice alone.

    Parameters
    ----------
    logits : Tensor
        (N, C, H, W).
    target : Tensor
        (N, H, W) integers: 0 background, 1 the class of the first channel, up to C, or `ignore`.
    frequencies, dice_share, dice_exponent, cross_entropy_exponent, ignore
        As of `exponential_logarithmic`.

    Returns
    -------
    Tensor
        Scalar; 0, with gradients of 0, where no pixel is of a class. A class that is nowhere in the batch
        has no Dice and is left out of the mean.
    """
    counts = target != ignore
    log_probability = F.logsigmoid(logits.float()).movedim(1, -1)[counts]
    truth = F.one_hot(target[counts].long(), logits.shape[1] + 1)[:, 1:].float()
    return _mixed(log_probability, truth, frequencies, dice_share, dice_exponent, cross_entropy_exponent)


def _mixed(
    log_probability: Tensor,
    truth: Tensor,
    frequencies: Tensor | None,
    dice_share: float,
    dice_exponent: float,
    cross_entropy_exponent: float,
) -> Tensor:
    """Return the loss of pixels (P, C), each of one class or, where `truth` has no 1, of none."""
    present = truth.sum(dim=0)
    of_a_class = truth.any(dim=1)
    if not of_a_class.any():
        return log_probability.sum() * 0
    probability = log_probability.exp()
    overlap = 2 * (probability * truth).sum(dim=0)
    dice = (overlap / (probability.sum(dim=0) + present)).clamp(_CLIP, 1 - _CLIP)
    of_dice = (-dice.log())[present > 0] ** dice_exponent
    seen = present if frequencies is None else frequencies.to(present)
    weight = (seen.sum() / seen.clamp_min(1e-12)).sqrt()
    log_probability, truth = log_probability[of_a_class], truth[of_a_class]
    # clipped at one end alone: at the other the worst pixels would be left without a gradient
    own = (-(log_probability * truth).sum(dim=1)).clamp_min(_CLIP)
    of_entropy = (truth * weight).sum(dim=1) * own**cross_entropy_exponent
    return dice_share * of_dice.mean() + (1 - dice_share) * of_entropy.mean()
