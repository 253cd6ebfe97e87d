"""The second phase: a U-Net learns on the maps of the vectors, which are computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from napari_lumen.errors import RunError
from napari_lumen.models.card import SlideMap as Layout
from napari_lumen.models.multistage import MultiStage, tumour_probability
from napari_lumen.training.example import Batch, Example
from napari_lumen.training.losses import count_labelled, masked_cross_entropy
from napari_lumen.training.phase import TRAIN, Choice, Draw, LossPhase, shuffled_batches
from napari_lumen.training.recipes.multistage_layout import (
    KeptVectors,
    SlideMap,
    labels_on,
    slide_maps,
    training_maps,
    vectors_of,
)
from napari_lumen.training.recipes.multistage_network import MultiStageInTraining
from napari_lumen.training.recipes.multistage_reading import PatchView
from napari_lumen.training.recipes.multistage_scores import PatchScores
from napari_lumen.training.recipes.multistage_slides import SlideSet
from napari_lumen.training.turn import Turn

_BOTTLENECK = 16  # cells of a map that are one at the U-Net's bottleneck, which its statistics cannot take


@dataclass
class MapPhase(LossPhase):
    """Epochs over the maps of all slides; only the U-Net learns.

    Attributes
    ----------
    slides : SlideSet
    training, validation : sequence of int
        Numbers of the slides.
    layout : {"slide", "lumps"}
        Of what there is one map.
    map_size : int
        Cells along a side of a map.
    view : PatchView
    rate : float
        Of Adam.
    batch : int
        Maps of a step.
    mini_batch : int
        Patches whose vectors are computed at once.
    """

    name: str
    epochs: int
    slides: SlideSet
    training: Sequence[int]
    validation: Sequence[int]
    layout: Layout
    map_size: int
    view: PatchView
    rate: float
    batch: int
    mini_batch: int
    choice: Choice | None = None
    validate_every: int = 1
    _maps: list[SlideMap] = field(init=False, repr=False)
    _held_out: list[SlideMap] = field(init=False, repr=False)
    _vectors: KeptVectors = field(init=False, repr=False)
    _least: int = field(init=False, repr=False)  # maps that a step needs

    def begin(self, network: nn.Module, turn: Turn) -> None:
        """Compute the vectors of all patches.

        Raises
        ------
        RunError
            When there are too few maps for a step.
        """
        stages = cast(MultiStageInTraining, network)
        self._maps = training_maps(self.slides, self.training, self.layout, self.map_size)
        self._held_out = slide_maps(self.slides, self.validation, self.layout)
        self._least = turn.world * (2 if self.map_size <= _BOTTLENECK else 1)
        if min(len(self._maps), self.batch) < self._least:
            raise RunError(
                f"There are {len(self._maps)} maps of {self.map_size} x {self.map_size} patches to train "
                f"on, in steps of {self.batch}; a step needs {self._least}. Add slides, or make steps or "
                "maps larger."
            )
        every = [*self._maps, *self._held_out]
        self._vectors = KeptVectors(every, stages.extractor.width)
        network.eval()
        for number, one in enumerate(every):
            vectors = vectors_of(stages.model, self.slides, one, self.view, self.mini_batch, turn)
            self._vectors.put(number, vectors)

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        """Set the U-Net alone to training."""
        network.eval()
        cast(MultiStageInTraining, network).segmenter.train()

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return every map once, but for a last step that is too small for batch normalisation."""
        steps = shuffled_batches(len(self._maps), self.batch, rng)
        return [step for step in steps if len(step[TRAIN]) >= self._least]

    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        """Lay out one map."""
        one = self._maps[index]
        laid_out = one.laid_out(self._vectors.get(index), self.map_size)
        return Example(one.name, (laid_out.values[0],), {"labels": labels_on(laid_out, one.labels)})

    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        """Return Adam over the U-Net."""
        return {"weights": Adam(cast(MultiStageInTraining, network).segmenter.parameters(), self.rate)}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross entropy over the labelled cells."""
        logits = cast(MultiStageInTraining, network).model.segment(batch.inputs[0])
        return masked_cross_entropy(logits, batch.targets["labels"])

    def step(self, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        """Make one step over the labelled cells of all its maps; none where nothing is labelled."""
        return turn.descend("weights", batches[TRAIN], self.loss, weight=count_labelled)

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        """Score the labelled patches of the validation slides; see `PatchScores`."""
        model, found = cast(MultiStageInTraining, network).model, PatchScores()
        for number, one in enumerate(self._held_out, start=len(self._maps)):
            turn.check()
            vectors = self._vectors.get(number).to(turn.device)
            found.add(turn.finite(map_probability(model, one, vectors)), one.labels)
        return found.scores()


def map_probability(model: MultiStage, one: SlideMap, vectors: Tensor) -> Tensor:
    """Return the probability of tumour (N,) of the patches of a map, as a run would."""
    laid_out, logits = model.classify(vectors, one.cells.to(vectors.device))
    return laid_out.gather(tumour_probability(logits)).flatten()
