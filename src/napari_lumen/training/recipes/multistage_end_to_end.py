"""The third phase: both stages learn together, whatever the number of patches (section 3.2.2).

A step goes through the extractor twice. First without a graph, one mini-batch after the other, for the
vectors x; the U-Net's backward pass then gives g = dL/dx. Again with a graph, each mini-batch with the
surrogate <g, x>, whose gradient by the extractor's weights is that of L (equations 2 to 4). So a step holds
the graph of one mini-batch and of the U-Net, and the vectors of all patches, but never all patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from napari_lumen.models.card import SlideMap as Layout
from napari_lumen.training.example import Batch, Example
from napari_lumen.training.losses import masked_cross_entropy
from napari_lumen.training.losses.masked import NO_LABEL
from napari_lumen.training.phase import TRAIN, Choice, Draw, Phase, shuffled_batches
from napari_lumen.training.recipes.multistage_layout import (
    SlideMap,
    full_precision,
    labels_on,
    on_device,
    slide_maps,
    training_maps,
    vectors_of,
)
from napari_lumen.training.recipes.multistage_maps import map_probability
from napari_lumen.training.recipes.multistage_network import MultiStageInTraining
from napari_lumen.training.recipes.multistage_reading import PatchView, mini_batches
from napari_lumen.training.recipes.multistage_scores import PatchScores
from napari_lumen.training.recipes.multistage_slides import SlideSet
from napari_lumen.training.turn import Turn


@dataclass
class EndToEndPhase(Phase):
    """Epochs over the maps of all slides; extractor and U-Net learn.

    Batch normalisation keeps its statistics and dropout is off: else g would belong to other vectors than
    those of the second pass.

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
    extractor_rate, segmenter_rate : float
        Of Adam.
    batch : int
        Maps of a step.
    mini_batch : int
        Patches that go through the extractor at once.
    """

    name: str
    epochs: int
    slides: SlideSet
    training: Sequence[int]
    validation: Sequence[int]
    layout: Layout
    map_size: int
    view: PatchView
    extractor_rate: float
    segmenter_rate: float
    batch: int
    mini_batch: int
    choice: Choice | None = None
    validate_every: int = 1
    _maps: list[SlideMap] = field(init=False, repr=False)

    def begin(self, network: nn.Module, turn: Turn) -> None:
        """List the maps."""
        self._maps = training_maps(self.slides, self.training, self.layout, self.map_size)

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        """Fix all statistics."""
        network.eval()

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return every map once, in random order."""
        return shuffled_batches(len(self._maps), self.batch, rng)

    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        """Name a map, and draw how all its patches are augmented."""
        one = self._maps[index]
        return Example(one.name, extra={"map": one, "seed": int(rng.integers(2**63))})

    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        """Return Adam, a rate for either stage; f_n is in none.

        Adam treats each weight by itself, so this is one optimiser a stage; in fp16 they share the scale of
        the loss, as they must.
        """
        stages = cast(MultiStageInTraining, network)
        groups = [
            {"params": list(stages.extractor.parameters()), "lr": self.extractor_rate},
            {"params": list(stages.segmenter.parameters()), "lr": self.segmenter_rate},
        ]
        return {"weights": Adam(groups)}

    def step(self, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        """Make one step over the labelled cells of each map; none where nothing is labelled."""
        batch = batches[TRAIN]
        labelled = [bool((one["map"].labels != NO_LABEL).any()) for one in batch.extra]
        if not turn.on_any_device(any(labelled)):
            return {"loss": 0.0}
        losses = [
            self._descend(turn, part) if counts else 0.0
            for part, counts in zip(batch.parts(1), labelled, strict=True)
        ]
        turn.update("weights")
        return {"loss": float(np.mean(losses))}

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        """Score the labelled patches of the validation slides; see `PatchScores`."""
        model, found = cast(MultiStageInTraining, network).model, PatchScores()
        for one in slide_maps(self.slides, self.validation, self.layout):
            vectors = vectors_of(model, self.slides, one, self.view, self.mini_batch, turn)
            found.add(turn.finite(map_probability(model, one, vectors)), one.labels)
        return found.scores()

    def _descend(self, turn: Turn, part: Batch) -> float:
        """Add the gradients of one map, and return its loss."""
        model = cast(MultiStageInTraining, turn.network).model
        one, seed = part.extra[0]["map"], part.extra[0]["seed"]
        vectors = torch.cat(
            [
                self.extracted(turn, patches, with_graph=False)
                for _, patches in self.augmented(one, seed, turn)
            ]
        ).requires_grad_()
        laid_out = one.laid_out(vectors, self.map_size)
        target = labels_on(laid_out, one.labels).to(turn.device)
        with turn.autocast():
            loss = masked_cross_entropy(model.segment(laid_out.values), target[None])
        turn.backward(loss, part, inputs=[vectors, *turn.parameters("weights")])
        assert vectors.grad is not None
        for numbers, patches in self.augmented(one, seed, turn):
            extracted = self.extracted(turn, patches, with_graph=True)
            # the gradient of <g, x>; the scale of fp16 and the share of the step are in g already
            torch.autograd.backward(extracted, vectors.grad[numbers])
        return loss.item()

    def augmented(self, one: SlideMap, seed: int, turn: Turn) -> Iterator[tuple[slice, Tensor]]:
        """Yield mini-batches of patches, each patch with the augmentation that was drawn for it."""
        cells = one.cells.tolist()

        def read(number: int) -> Tensor:
            rng = np.random.default_rng([seed, number])
            return self.view.augmented(self.slides.read(one.slide, *cells[number]), rng)

        for numbers, patches in mini_batches(read, len(cells), self.mini_batch):
            turn.check()
            yield numbers, patches

    def extracted(self, turn: Turn, patches: Tensor, *, with_graph: bool) -> Tensor:
        """Return the vectors of a mini-batch."""
        model = cast(MultiStageInTraining, turn.network).model
        with torch.set_grad_enabled(with_graph), turn.autocast():
            return full_precision(model.features(on_device(patches, model, turn)))
