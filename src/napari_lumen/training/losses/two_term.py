"""The two-term loss of gated attention (Fan et al.): the whole image first, then more and more the fusion."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def global_share(epoch: int, *, step: float = 0.1, every: int = 20) -> float:
    """Return lambda of an epoch, counted from 0: 1 for the first 20, then 0.1 less every 20, at least 0."""
    return max(0.0, 1.0 - step * (epoch // every))


def two_term(global_logits: Tensor, fused_logits: Tensor | None, target: Tensor, share: float) -> Tensor:
    """Return ``lambda CE(Y_g, y) + (1 - lambda) CE(Y_f, y)``.

    Parameters
    ----------
    global_logits : Tensor
        (N, C) of the global network, Y_g.
    fused_logits : Tensor or None
        (N, C) of the fusion with the instances, Y_f; not needed where `share` is 1, so that the fusion's
        statistics stay untouched by networks that find no instances yet.
    target : Tensor
        (N,) classes.
    share : float
        lambda, see `global_share`.

    Raises
    ------
    ValueError
        When `share` is below 1 and the fused logits are missing.
    """
    of_global = F.cross_entropy(global_logits.float(), target.long())
    if share >= 1:
        return of_global
    if fused_logits is None:
        raise ValueError(f"lambda is {share:g}, so the loss needs the fused logits")
    of_fusion = F.cross_entropy(fused_logits.float(), target.long())
    return share * of_global + (1 - share) * of_fusion
