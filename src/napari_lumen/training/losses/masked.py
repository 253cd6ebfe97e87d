"""Cross entropy over the labelled places alone (Takahama et al., ICCV 2019; DA-RefineNet without a mask)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_lumen.training.example import Batch

NO_LABEL = -100


def masked_cross_entropy(logits: Tensor, target: Tensor, *, no_label: int = NO_LABEL) -> Tensor:
    """Mean over the labelled places of the negative log likelihood of their class.

    Parameters
    ----------
    logits : Tensor
        (N, C, ...).
    target : Tensor
        (N, ...) integers below C, or `no_label`.
    no_label : int
        Value of places without a label, empty cells of a feature map among them: what they hold, and what
        the network says there, changes neither the loss nor its gradients.

    Returns
    -------
    Tensor
        Scalar; 0, with gradients of 0, where nothing is labelled.
    """
    if logits.dtype != torch.float64:
        logits = logits.float()
    if not (target != no_label).any():
        return logits.sum() * 0
    return F.cross_entropy(logits, target.long(), ignore_index=no_label)


def count_labelled(batch: Batch) -> int:
    """Return how many places of the target ``labels`` of a batch have one: what that mean is of."""
    return int((batch.targets["labels"] != NO_LABEL).sum())
