"""The phase of networks of one view that give a class for each pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_lumen.evaluation import Overlap
from napari_lumen.models.card import Activation, InputSpec
from napari_lumen.training.data.image_set import ImageSet, Labels
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.example import Batch, Example
from napari_lumen.training.framing import Framing
from napari_lumen.training.phase import Choice, Draw, LossPhase, shuffled_batches
from napari_lumen.training.samples import Sample, class_values, spread
from napari_lumen.training.turn import Turn

NO_LABEL = -100  # torch's value of targets that do not count
Augment = Callable[[npt.NDArray[Any], Labels, np.random.Generator], tuple[npt.NDArray[Any], Labels]]
DenseLoss = Callable[[Tensor, Tensor], Tensor]


def to_input(image: npt.NDArray[Any], spec: InputSpec) -> Tensor:
    """Return RGB (h, w, 3), uint8 or float in [0, 1], as a network eats it: (3, h, w) float32."""
    values = image.astype(np.float32) / 255 if image.dtype == np.uint8 else image.astype(np.float32)
    normalised = (values - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1), np.float32))


def to_target(labels: Labels, values: Sequence[int]) -> Tensor:
    """Return which class each pixel is: int64 (h, w), 0 background, 1 the first of `values`, `NO_LABEL`."""
    table = np.zeros(256, np.int64)
    table[list(values)] = np.arange(1, len(values) + 1)
    table[IGNORE] = NO_LABEL
    return torch.from_numpy(table[labels])


@dataclass
class DensePhase(LossPhase):
    """Epochs over images with label images.

    Attributes
    ----------
    images : ImageSet
    training, validation : sequence of int
        Numbers of the images.
    framing : Framing
    spec : InputSpec
        How the network's input is normalised.
    activation : {"sigmoid", "softmax"}
        sigmoid: one channel a class; softmax: the background first.
    loss_of : callable
        Takes logits (N, channels, h, w) and targets as of `to_target` (N, h, w); returns a scalar.
    optimiser : callable
        Makes the optimiser of a network.
    batch : int
        Examples of a step.
    rate : callable, optional
        Learning rate of an epoch; without it the optimiser's own stays.
    augment : callable, optional
        Changes image and labels of an example for training.
    """

    name: str
    epochs: int
    images: ImageSet
    training: Sequence[int]
    validation: Sequence[int]
    framing: Framing
    spec: InputSpec
    activation: Activation
    loss_of: DenseLoss
    optimiser: Callable[[nn.Module], Optimizer]
    batch: int
    rate: Callable[[int], float] | None = None
    augment: Augment | None = None
    choice: Choice | None = None
    validate_every: int = 1

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return the training images in random order, without a last, smaller step: of others each epoch."""
        return shuffled_batches(len(self.training), self.batch, rng, keep_last=False)

    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        """Frame and augment one image."""
        number = self.training[index]
        labels = self.images.labels(number)
        image, labels = self.framing.one(self.images.image(number), labels, self.images.mpp(number), rng)
        if self.augment is not None:
            image, labels = self.augment(image, labels, rng)
        return self._example(self.images.items[number].name, image, labels)

    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        """Return the one optimiser."""
        return {"weights": self.optimiser(network)}

    def rates(self, epoch: int) -> Mapping[str, Sequence[float]]:
        """Return the rate of the schedule, if there is one."""
        return {} if self.rate is None else {"weights": [self.rate(epoch)]}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the recipe's loss."""
        return self.loss_of(network(batch.image), batch.targets["labels"])

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        """Score the validation images.

        Returns
        -------
        dict
            ``loss``, a mean over batches that have a label; ``dice``, ``jaccard``, ``precision`` and
            ``recall``, of each image that has a label, with 1 added to both sides of the ratio, mean over
            images and classes; ``dice pooled``, of the pixels of all images, mean over the classes that are
            there; where the set has several classes, also that of each by its name.
        """
        losses: list[float] = []
        counted: list[tuple[str, npt.NDArray[np.int64]]] = []
        for batch in self._validation_batches(turn):
            logits = turn.finite(network(batch.image))
            if bool((batch.targets["labels"] != NO_LABEL).any()):
                losses.append(self.loss_of(logits, batch.targets["labels"]).item())
            counted += zip(batch.names, self._counts(logits, batch.targets["labels"]), strict=True)
        names = list(dict.fromkeys(name for name, _ in counted))
        by_image = np.zeros((len(names), *counted[0][1].shape), np.int64)
        for name, counts in counted:
            by_image[names.index(name)] += counts
        overlap = Overlap(*np.moveaxis(by_image[by_image.sum(axis=(1, 2)) > 0], -1, 0))
        scores = {
            name: float(np.nanmean(getattr(overlap, name)(smooth=1)))
            for name in ("dice", "jaccard", "precision", "recall")
        }
        pooled = Overlap(*np.moveaxis(by_image.sum(axis=0), -1, 0)).dice()
        defined = pooled[~np.isnan(pooled)]
        scores |= {
            "loss": float(np.mean(losses)),
            "dice pooled": float(defined.mean()) if len(defined) else float("nan"),
        }
        if len(pooled) > 1:
            for known, value in zip(self.images.classes, pooled, strict=True):
                if not np.isnan(value):
                    scores[f"dice pooled {known.name}"] = float(value)
        return scores

    def samples(self, network: nn.Module, turn: Turn, most: int) -> Sequence[Sample]:
        """Return, of some images, the example that shows most of the classes."""
        values = [known.value for known in self.images.classes]
        found = []
        for number in spread(self.validation, most):
            turn.check()
            name, labels = self.images.items[number].name, self.images.labels(number)
            framed = self.framing.all(self.images.image(number), labels, self.images.mpp(number))
            image, truth = max(framed, key=lambda one: int(np.isin(one[1], values).sum()))
            batch = Batch.of([self._example(name, image, truth)]).to(turn.device)
            predicted = class_values(network(batch.image)[0], values, self.activation)
            found.append(Sample(name, image, truth, predicted))
        return found

    def _example(self, name: str, image: npt.NDArray[Any], labels: Labels) -> Example:
        values = [known.value for known in self.images.classes]
        return Example(name, (to_input(image, self.spec),), {"labels": to_target(labels, values)})

    def _validation_batches(self, turn: Turn) -> Iterator[Batch]:
        waiting: list[Example] = []
        for number in self.validation:
            name, image = self.images.items[number].name, self.images.image(number)
            for seen, labels in self.framing.all(image, self.images.labels(number), self.images.mpp(number)):
                waiting.append(self._example(name, seen, labels))
                if len(waiting) == self.batch:
                    turn.check()
                    yield Batch.of(waiting).to(turn.device)
                    waiting = []
        if waiting:
            yield Batch.of(waiting).to(turn.device)

    def _counts(self, logits: Tensor, target: Tensor) -> npt.NDArray[np.int64]:
        """Return true and false positives, false and true negatives: (N, classes, 4)."""
        classes = len(self.images.classes)
        indices = torch.arange(1, classes + 1, device=logits.device)
        truth = target[:, None] == indices[None, :, None, None]
        if self.activation == "softmax":
            said = logits.argmax(dim=1)[:, None] == indices[None, :, None, None]
        else:
            said = logits > 0
        counts = target[:, None] != NO_LABEL
        pairs = (said & truth, said & ~truth, ~said & truth, ~said & ~truth)
        return torch.stack([(pair & counts).sum(dim=(2, 3)) for pair in pairs], dim=-1).cpu().numpy()
