"""Inputs of any size for networks that halve theirs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad the lower and right edges of (N, C, H, W) so that H and W are multiples of `multiple`.

    By reflection, or by repeating the edge where the image is smaller than what is missing.
    """
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    if bottom == 0 and right == 0:
        return x
    mode = "reflect" if bottom < x.shape[-2] and right < x.shape[-1] else "replicate"
    return F.pad(x, (0, right, 0, bottom), mode=mode)
