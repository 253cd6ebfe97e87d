"""The baseline Segmentation Only: a U-Net on the reduced image, its answer averaged over each patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from napari_lumen.geometry import Window
from napari_lumen.models import InputSpec
from napari_lumen.models.card import SlideMap as Layout
from napari_lumen.models.feature_map import FeatureMap, mean_per_cell
from napari_lumen.models.multistage import tumour_probability
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.dense import to_input
from napari_lumen.training.example import Batch, Example
from napari_lumen.training.losses import count_labelled, masked_cross_entropy
from napari_lumen.training.losses.masked import NO_LABEL
from napari_lumen.training.phase import TRAIN, Choice, Draw, LossPhase, shuffled_batches
from napari_lumen.training.recipes.multistage_layout import SlideMap, slide_maps, training_maps
from napari_lumen.training.recipes.multistage_network import MultiStageInTraining
from napari_lumen.training.recipes.multistage_scores import PatchScores
from napari_lumen.training.recipes.multistage_slides import SlideSet
from napari_lumen.training.turn import Turn


@dataclass
class ReducedPhase(LossPhase):
    """Epochs over the fields that the maps of slides cover, as reduced images with labels of pixels.

    Attributes
    ----------
    slides : SlideSet
    training, validation : sequence of int
        Numbers of the slides.
    layout : {"slide", "lumps"}
        Of what there is one field.
    map_size : int
        Patches along a side of a field.
    cell : int
        Side of a patch in the reduced image, px.
    spec : InputSpec
        How the image is normalised.
    rate : float
        Of Adam.
    batch : int
        Fields of a step.
    """

    name: str
    epochs: int
    slides: SlideSet
    training: Sequence[int]
    validation: Sequence[int]
    layout: Layout
    map_size: int
    cell: int
    spec: InputSpec
    rate: float
    batch: int
    choice: Choice | None = None
    validate_every: int = 1
    _maps: list[SlideMap] = field(init=False, repr=False)

    def begin(self, network: nn.Module, turn: Turn) -> None:
        """List the fields."""
        self._maps = training_maps(self.slides, self.training, self.layout, self.map_size)

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return every field once, in random order."""
        return shuffled_batches(len(self._maps), self.batch, rng)

    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        """Read one field."""
        one = self._maps[index]
        image, labels, _ = self._field(one, self.map_size)
        return Example(one.name, (image,), {"labels": labels})

    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        """Return Adam over the U-Net."""
        return {"weights": Adam(cast(MultiStageInTraining, network).segmenter.parameters(), self.rate)}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross entropy over the labelled pixels."""
        return masked_cross_entropy(network(batch.inputs[0]), batch.targets["labels"])

    def step(self, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        """Make one step over the labelled pixels of all its fields; none where nothing is labelled."""
        return turn.descend("weights", batches[TRAIN], self.loss, weight=count_labelled)

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        """Score the labelled patches by the mean over each; see `PatchScores`."""
        found = PatchScores()
        for one in slide_maps(self.slides, self.validation, self.layout):
            turn.check()
            extent = one.cells.amax(dim=0) - one.cells.amin(dim=0) + 1
            image, _, laid_out = self._field(one, max(self.map_size, int(extent.max())))
            probability = turn.finite(tumour_probability(network(image[None].to(turn.device))))
            cells = mean_per_cell(probability, self.cell)
            found.add(laid_out.gather(cells.cpu()).flatten(), one.labels)
        return found.scores()

    def _field(self, one: SlideMap, side: int) -> tuple[Tensor, Tensor, FeatureMap]:
        """Return image (3, h, w), labels (h, w) and layout of a field of `side` x `side` patches."""
        laid_out = one.laid_out(torch.ones(len(one.cells), 1), side)
        image, labels = self.slides.reduced(one.slide, Window(*laid_out.origin, side, side), self.cell)
        target = torch.from_numpy(labels.astype(np.int64))
        target[target == IGNORE] = NO_LABEL
        there = laid_out.values[0, 0].bool()
        there = there.repeat_interleave(self.cell, 0).repeat_interleave(self.cell, 1)
        return to_input(image, self.spec), target.masked_fill(~there, NO_LABEL), laid_out
