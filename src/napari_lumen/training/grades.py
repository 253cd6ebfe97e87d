"""The phases of networks that classify an image as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from napari_lumen.evaluation import roc
from napari_lumen.models import InputSpec
from napari_lumen.models.gated_attention import GatedAttention
from napari_lumen.models.instances import resize
from napari_lumen.training.augmentation import flip, quarter_turn, random_enhance
from napari_lumen.training.data.image_set import RGB, GradedSet
from napari_lumen.training.example import Batch, Example
from napari_lumen.training.losses import global_share, two_term
from napari_lumen.training.phase import Choice, Draw, LossPhase, shuffled_batches
from napari_lumen.training.samples import Sample, spread
from napari_lumen.training.turn import Turn


@dataclass
class GradedPhase(LossPhase):
    """Epochs over images of one class each, seen whole and small.

    Attributes
    ----------
    images : GradedSet
    training, validation : sequence of int
        Numbers of the images.
    spec : InputSpec
        How they are normalised.
    size : int
        Side to which an image is resized, its aspect not kept, px.
    batch : int
    rate, momentum, weight_decay : float
    rate_factor : float
        The rate is multiplied by it every `rate_every` epochs.
    rate_every : int
    colour_change : float
        Saturation, contrast, brightness and sharpness change by factors of 1 plus or minus it.
    """

    name: str
    epochs: int
    images: GradedSet
    training: Sequence[int]
    validation: Sequence[int]
    spec: InputSpec
    size: int
    batch: int
    rate: float
    rate_factor: float
    rate_every: int
    momentum: float
    weight_decay: float
    colour_change: float = 0.0
    choice: Choice | None = None
    validate_every: int = 1

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return the training images in random order, without a last, smaller step: of others each epoch."""
        return shuffled_batches(len(self.training), self.batch, rng, keep_last=False)

    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        """Read an image, flipped, turned by quarters and changed in its colours."""
        number = self.training[index]
        vertical, horizontal = rng.random(2) < 0.5
        turned = quarter_turn(self.images.image(number), int(rng.integers(4)))
        image = flip(turned, vertical=vertical, horizontal=horizontal)
        if self.colour_change:
            image = random_enhance(image, rng, low=1 - self.colour_change, high=1 + self.colour_change)
        return self._example(number, image)

    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        """Return the one optimiser."""
        return {
            "weights": SGD(
                network.parameters(), self.rate, momentum=self.momentum, weight_decay=self.weight_decay
            )
        }

    def rates(self, epoch: int) -> Mapping[str, Sequence[float]]:
        """Return the rate of an epoch."""
        return {"weights": [self.rate * self.rate_factor ** (epoch // self.rate_every)]}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the cross entropy."""
        return F.cross_entropy(network(batch.image).float(), batch.targets["grade"])

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        """Classify the validation images, one by one.

        Returns
        -------
        dict
            ``loss``; ``accuracy``; ``recall`` of each class, the share of its images that was told right;
            ``area under ROC``, of each class against the others, mean over classes: with two, both are the
            same. What no image defines is left out. Of a head that the network does not decide by, its
            accuracy.
        """
        answers: dict[str, list[Tensor]] = {}
        for number in self.validation:
            turn.check()
            example = self._example(number, self.images.image(number))
            for head, logits in self.answer(network, Batch.of([example]).to(turn.device)).items():
                answers.setdefault(head, []).append(turn.finite(logits).float().cpu())
        truth = torch.tensor([self.images.grade(number) for number in self.validation])
        heads = {head: torch.cat(logits) for head, logits in answers.items()}
        logits = heads.pop("")
        right = (logits.argmax(dim=1) == truth).numpy()
        probability = logits.softmax(dim=1).numpy()
        is_of = [(truth == place).numpy() for place in range(len(self.images.classes))]
        areas = [roc(probability[:, place], of).area for place, of in enumerate(is_of)]
        defined = [area for area in areas if not np.isnan(area)]
        return {
            "loss": F.cross_entropy(logits, truth).item(),
            "accuracy": float(right.mean()),
            **({"area under ROC": float(np.mean(defined))} if defined else {}),
            **{
                f"recall {known.name}": float(right[of].mean())
                for known, of in zip(self.images.classes, is_of, strict=True)
                if of.any()
            },
            **{
                f"accuracy {head}": float((said.argmax(dim=1) == truth).float().mean())
                for head, said in heads.items()
            },
        }

    def samples(self, network: nn.Module, turn: Turn, most: int) -> Sequence[Sample]:
        """Return some images, small, with the class that each is said to be of."""
        names = [known.name for known in self.images.classes]
        found = []
        for number in spread(self.validation, most):
            turn.check()
            image = self.images.image(number)
            batch = Batch.of([self._example(number, image)]).to(turn.device)
            said = names[int(self.answer(network, batch)[""].argmax())]
            step = max(1, max(image.shape) // self.size)
            truth = names[self.images.grade(number)]
            text = said if said == truth else f"{said}, is {truth}"
            found.append(Sample(self.images.items[number].name, image[::step, ::step], said=text))
        return found

    def answer(self, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return logits (N, classes) by head; the name of the one that the network decides by is empty."""
        return {"": network(batch.image)}

    def _example(self, number: int, image: RGB) -> Example:
        small = resize(_normalised(_planes(image), self.spec), self.size)[0]
        return Example(self.images.items[number].name, (small,), {"grade": self._grade(number)})

    def _grade(self, number: int) -> Tensor:
        return torch.tensor(self.images.grade(number))


@dataclass
class GatedPhase(GradedPhase):
    """Epochs of gated attention: the image small, and its instances cut from the image as it is.

    Attributes
    ----------
    share_step : float
        What lambda falls by every `share_every` epochs, from 1.
    share_every : int
    """

    share_step: float = 0.1
    share_every: int = 20
    _share: float = field(default=0.0, init=False, repr=False)  # of the epoch

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        """Set lambda."""
        super().begin_epoch(network, epoch)
        self._share = global_share(epoch, step=self.share_step, every=self.share_every)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the two-term loss; while lambda is 1 the instances have no part in it."""
        of_global, of_fusion = self._heads(network, batch)
        return two_term(of_global, of_fusion, batch.targets["grade"], self._share)

    def answer(self, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the logits of both heads, or while lambda is 1 of the global one, which alone learns."""
        of_global, of_fusion = self._heads(network, batch)
        return {"": of_global} if of_fusion is None else {"": of_fusion, "global": of_global}

    def _heads(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        assert isinstance(network, GatedAttention)
        fused = self._share < 1
        return network.global_and_fused(self._originals(batch) if fused else batch.inputs[0], fused=fused)

    def _example(self, number: int, image: RGB) -> Example:
        example = super()._example(number, image)
        # as bytes: a batch of large images would be four times the size, and waits for its turn
        return Example(example.name, example.inputs, example.targets, {"image": _planes(image)[0]})

    def _originals(self, batch: Batch) -> list[Tensor]:
        """Return the images at full resolution, normalised: each (3, h, w) float32."""
        device = batch.inputs[0].device
        return [_normalised(extra["image"].to(device), self.spec) for extra in batch.extra]


def _planes(image: RGB) -> Tensor:
    """Return an image (h, w, 3) as a stack of one: uint8 (1, 3, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]


def _normalised(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Return what a network eats of uint8 (..., 3, h, w): float32."""
    mean, std = (torch.tensor(of, device=pixels.device)[:, None, None] for of in (spec.mean, spec.std))
    return (pixels.float() / 255 - mean) / std
