"""Scores of patches, pooled over all slides (Takahama et al., section 4)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_lumen.evaluation import accuracy, confusion_matrix, precision_recall
from napari_lumen.training.losses.masked import NO_LABEL

_TUMOUR_FROM = 0.5
_LEAST = 1e-12  # probability of which the logarithm is taken


class PatchScores:
    """Gathers what was said of labelled patches; those without a label are passed over."""

    def __init__(self) -> None:
        self._probability: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, probability: Tensor, labels: Tensor) -> None:
        """Take the probability of tumour (N,) and the labels (N,) of some patches."""
        labels = labels.cpu()
        counts = labels != NO_LABEL
        self._probability.append(probability.double().cpu()[counts])
        self._labels.append(labels[counts])

    def scores(self) -> dict[str, float]:
        """Return the scores; NaN without labelled patches.

        Returns
        -------
        dict
            ``loss``, the mean negative logarithm of the true class's probability; ``accuracy`` at a
            probability of 0.5; ``average precision`` of tumour, NaN where no patch is tumour.
        """
        if not self._labels:
            return dict.fromkeys(("loss", "accuracy", "average precision"), float("nan"))
        said, tumour = torch.cat(self._probability).numpy(), torch.cat(self._labels).numpy() == 1
        of_truth = np.where(tumour, said, 1 - said).clip(_LEAST)
        confusion = confusion_matrix(said >= _TUMOUR_FROM, tumour, (0, 1))
        return {
            "loss": float(-np.log(of_truth).mean()) if len(said) else float("nan"),
            "accuracy": float(accuracy(confusion)),
            "average precision": precision_recall(said, tumour).area,
        }
