"""The first phase: the feature extractor learns to classify patches, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from napari_lumen.errors import RunError
from napari_lumen.models.multistage import tumour_probability
from napari_lumen.training.data.patch_rules import PatchLabel
from napari_lumen.training.example import Batch, Example
from napari_lumen.training.phase import TRAIN, Choice, Draw, LossPhase, shuffled_batches
from napari_lumen.training.recipes.multistage_layout import full_precision, on_device
from napari_lumen.training.recipes.multistage_network import MultiStageInTraining
from napari_lumen.training.recipes.multistage_reading import PatchView, mini_batches
from napari_lumen.training.recipes.multistage_scores import PatchScores
from napari_lumen.training.recipes.multistage_slides import SlideSet
from napari_lumen.training.turn import Turn

Patches = npt.NDArray[np.int64]  # (N, 4): slide, row, column, label


@dataclass
class PatchPhase(LossPhase):
    """Epochs over the labelled patches of all slides; only f_1 to f_n learn.

    Attributes
    ----------
    slides : SlideSet
    training, validation : sequence of int
        Numbers of the slides.
    view : PatchView
    rate : float
        Of Adam.
    batch : int
        Patches of a step.
    balanced : bool
        Whether an epoch has as many patches of either class: all of the rarer one, and other ones of the
        more frequent one each time.
    mini_batch : int
        Patches that are classified at once in the validation.
    """

    name: str
    epochs: int
    slides: SlideSet
    training: Sequence[int]
    validation: Sequence[int]
    view: PatchView
    rate: float
    batch: int
    balanced: bool
    mini_batch: int
    choice: Choice | None = None
    validate_every: int = 1
    _patches: Patches = field(init=False, repr=False)

    def begin(self, network: nn.Module, turn: Turn) -> None:
        """List the patches.

        Raises
        ------
        RunError
            When too few are labelled.
        """
        self._patches = labelled_patches(self.slides, self.training)
        counts = np.bincount(self._patches[:, 3], minlength=2)
        if counts.sum() < 2 or (self.balanced and not counts.all()):
            raise RunError(
                f"The training slides have {counts[0]} normal and {counts[1]} tumour patches of "
                f"{self.slides.patch} px, too few to learn from. Look at the annotations, or at the shares "
                "that make a patch normal or tumour."
            )

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return the labelled patches, or as many of either class; a last, smaller step is left out."""
        chosen = np.arange(len(self._patches))
        if self.balanced:
            classes = [np.flatnonzero(self._patches[:, 3] == label) for label in (0, 1)]
            count = min(map(len, classes))
            chosen = np.concatenate([rng.permutation(indices)[:count] for indices in classes])
        steps = shuffled_batches(len(chosen), self.batch, rng, keep_last=False)
        return [{TRAIN: chosen[step[TRAIN]].tolist()} for step in steps]

    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        """Read and augment one patch."""
        slide, row, column, label = self._patches[index].tolist()
        view = self.view.augmented(self.slides.read(slide, row, column), rng)
        name = f"{self.slides.items[slide].name}, patch in row {row}, column {column}"
        return Example(name, (view,), {"label": torch.tensor(label)})

    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        """Return Adam over the extractor and f_n."""
        stages = cast(MultiStageInTraining, network)
        heads = [] if stages.f_n is None else list(stages.f_n.parameters())
        return {"weights": Adam([*stages.extractor.parameters(), *heads], self.rate)}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross entropy of the patches."""
        patches = batch.inputs[0].contiguous(memory_format=torch.channels_last)
        stages = cast(MultiStageInTraining, network)
        logits = stages.classify_patches(stages.model.features(patches))
        return F.cross_entropy(logits.float(), batch.targets["label"])

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        """Score the middles of the labelled patches of the validation slides; see `PatchScores`."""
        stages, found = cast(MultiStageInTraining, network), PatchScores()
        patches = labelled_patches(self.slides, self.validation)
        places, labels = patches[:, :3].tolist(), torch.from_numpy(patches[:, 3])
        for numbers, pixels in mini_batches(
            lambda number: self.view.whole(self.slides.read(*places[number])), len(places), self.mini_batch
        ):
            turn.check()
            vectors = stages.model.patch_features(on_device(pixels, stages.model, turn))
            logits = turn.finite(stages.classify_patches(full_precision(vectors)))
            found.add(tumour_probability(logits[..., None, None]).flatten(), labels[numbers])
        return found.scores()


def labelled_patches(slides: SlideSet, indices: Sequence[int]) -> Patches:
    """Return slide, row, column and label of all patches that are normal or tumour: (N, 4)."""
    found = [np.zeros((0, 4), np.int64)]
    for index in indices:
        cells = slides.cells(index)
        rows, columns = np.isin(cells, (PatchLabel.NORMAL, PatchLabel.TUMOUR)).nonzero()
        found.append(np.stack([np.full(len(rows), index), rows, columns, cells[rows, columns]], axis=1))
    return np.concatenate(found)
