"""The phase of networks that segment a tile by it and its context (DA-RefineNet, sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from napari_lumen.evaluation import Overlap, accuracy, bach_score, confusion_matrix, mean_iou
from napari_lumen.evaluation.bach import CLASSES as BACH_CLASSES
from napari_lumen.models import InputSpec
from napari_lumen.models.darefinenet import DARefineNet
from napari_lumen.training.augmentation import flip, random_hed_shift
from napari_lumen.training.data.image_set import RGB, ImageSet, Labels
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.dense import NO_LABEL, to_input, to_target
from napari_lumen.training.example import Batch, Example
from napari_lumen.training.fields import FieldTiles, Part, Tile, TileViews, covering, pixels_of
from napari_lumen.training.losses import count_labelled, masked_cross_entropy
from napari_lumen.training.phase import TRAIN, Choice, Draw, LossPhase
from napari_lumen.training.samples import Sample, class_values, spread
from napari_lumen.training.turn import Turn


@dataclass
class RegionPhase(LossPhase):
    """Epochs over tiles of large fields, encoders and decoder each at a rate of its own.

    Attributes
    ----------
    images : ImageSet
    tiles : FieldTiles
        Of the images that are trained on.
    validation : sequence of int
        Numbers of the images that are held out.
    views : TileViews
    spec : InputSpec
        How views are normalised.
    tiles_per_epoch : int
    favoured_share : float
        Of the tiles of an epoch, see `FieldTiles.draw`.
    least_scale : float
        A fine view is scaled by this to 1, and so much of it cut out as fills its size.
    dye_change : float
        Strength of `random_hed_shift`, of both views together.
    batch : int
    encoder_rate, decoder_rate : float
    optimiser : {"sgd", "adam"}
    momentum, weight_decay : float
        Momentum of SGD.
    frozen : tuple of str
        Sub-networks whose batch normalisation keeps its statistics.
    """

    name: str
    epochs: int
    images: ImageSet
    tiles: FieldTiles
    validation: Sequence[int]
    views: TileViews
    spec: InputSpec
    tiles_per_epoch: int
    favoured_share: float
    least_scale: float
    dye_change: float
    batch: int
    encoder_rate: float
    decoder_rate: float
    optimiser: Literal["sgd", "adam"]
    momentum: float
    weight_decay: float
    frozen: tuple[str, ...] = ()
    choice: Choice | None = None
    validate_every: int = 1

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return the tiles of an epoch; a last, smaller step is left out."""
        drawn = self.tiles.draw(self.tiles_per_epoch, self.favoured_share, rng)
        steps = [drawn[start : start + self.batch] for start in range(0, len(drawn), self.batch)]
        if len(steps) > 1 and len(steps[-1]) < self.batch:
            steps.pop()
        return [{TRAIN: step} for step in steps]

    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        """Read a tile and its context: the tile scaled and cropped, all flipped together."""
        tile = self.tiles[index]
        image, labels = self.images.image(tile.field), self.images.labels(tile.field)
        step = self.views.step(self.images.mpp(tile.field))
        seen = step * self.least_scale / rng.uniform(self.least_scale, 1)
        y, x = (start + rng.uniform(0, self.views.size * (step - seen)) for start in (tile.y, tile.x))
        views = (self.views.fine(image, y, x, seen), *self.views.around(image, tile.y, tile.x, step))
        if self.dye_change:
            views = tuple(random_hed_shift(np.stack(views), rng, strength=self.dye_change))
        truth = self.views.labels(labels, y, x, seen)
        vertical, horizontal = rng.random(2) < 0.5
        turned = [flip(array, vertical=vertical, horizontal=horizontal) for array in (truth, *views)]
        return self._example(tile, turned[1:], turned[0])

    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        """Return one optimiser of two groups, encoders and decoder: what two optimisers of one each do."""
        assert isinstance(network, DARefineNet)
        groups = [
            {"params": list(network.encoder_parameters()), "lr": self.encoder_rate},
            {"params": list(network.decoder_parameters()), "lr": self.decoder_rate},
        ]
        if self.optimiser == "adam":
            return {"weights": Adam(groups, weight_decay=self.weight_decay)}
        return {"weights": SGD(groups, momentum=self.momentum, weight_decay=self.weight_decay)}

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        """Let all train but the statistics of frozen batch normalisation, whose weights still learn."""
        network.train()
        for name in self.frozen:
            for module in network.get_submodule(name).modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the mean negative log likelihood of the labelled pixels."""
        return masked_cross_entropy(network(batch.image), batch.targets["labels"])

    def step(self, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        """Make one step over the labelled pixels of all its tiles."""
        return turn.descend("weights", batches[TRAIN], self.loss, weight=count_labelled)

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        """Segment the fields that are held out and score the pixels of all of them together.

        Returns
        -------
        dict
            ``loss``, ``mean IoU``, ``accuracy``, ``IoU`` of the background and of each class that there is,
            and where the classes are those of BACH its ``BACH score``. Logits are taken to the pixels of
            the field by cubic interpolation, as in the paper.
        """
        values = [0, *self._values]
        table = np.asarray(values, np.uint8)
        confusion = np.zeros((len(values), len(values)), np.int64)
        loss, counted = 0.0, 0
        for number in self.validation:
            labels = self.images.labels(number)
            predicted = np.zeros(labels.shape, np.uint8)
            for part, classes, target, logits in self._answers(network, number, turn):
                predicted[part] = table[classes]
                loss += F.cross_entropy(logits[None], target[None], reduction="sum").item()
                counted += int((target != NO_LABEL).sum())
            confusion += confusion_matrix(predicted, labels, values, ignore=IGNORE)
        names = ["background", *(known.name for known in self.images.classes)]
        by_class = Overlap.of_confusion(confusion).jaccard()
        scores = {
            "loss": loss / counted if counted else float("nan"),
            "mean IoU": float(mean_iou(confusion)),
            "accuracy": float(accuracy(confusion)),
            **{
                f"IoU {name}": float(iou)
                for name, iou in zip(names, by_class, strict=True)
                if not np.isnan(iou)
            },
        }
        if tuple(name.lower() for name in names[1:]) == BACH_CLASSES[1:]:
            scores["BACH score"] = float(bach_score(confusion))
        return scores

    def samples(self, network: nn.Module, turn: Turn, most: int) -> Sequence[Sample]:
        """Return the tile in the middle of some fields."""
        found = []
        for number in spread(self.validation, most):
            turn.check()
            image, labels = self.images.image(number), self.images.labels(number)
            step = self.views.step(self.images.mpp(number))
            tiles = covering(labels.shape, self.views.size * step)
            y, x, _ = tiles[len(tiles) // 2]
            fine, truth = self.views.fine(image, y, x, step), self.views.labels(labels, y, x, step)
            views = (fine, *self.views.around(image, y, x, step))
            batch = Batch.of([self._example(Tile(number, y, x), views, truth)]).to(turn.device)
            predicted = class_values(network(batch.image)[0], self._values, "softmax")
            found.append(Sample(self.images.items[number].name, fine, truth, predicted))
        return found

    def _answers(
        self, network: nn.Module, number: int, turn: Turn
    ) -> Iterator[tuple[Part, npt.NDArray[np.int64], Tensor, Tensor]]:
        """Yield the parts of a field with the classes of their pixels, and target and logits of the tile.

        Tiles without any label are left out: they have no part in a score.
        """
        image, labels = self.images.image(number), self.images.labels(number)
        step = self.views.step(self.images.mpp(number))
        side = self.views.size * step
        tiles = [
            (y, x, part)
            for y, x, part in covering(labels.shape, side)
            if (labels[pixels_of(y, side), pixels_of(x, side)] != IGNORE).any()
        ]
        for first in range(0, len(tiles), self.batch):
            turn.check()
            some = tiles[first : first + self.batch]
            examples = [
                self._example(
                    Tile(number, y, x),
                    (self.views.fine(image, y, x, step), *self.views.around(image, y, x, step)),
                    self.views.labels(labels, y, x, step),
                )
                for y, x, _ in some
            ]
            batch = Batch.of(examples).to(turn.device)
            said = turn.finite(network(batch.image)).float()
            answers = zip(some, said, batch.targets["labels"], strict=True)
            for (y, x, part), logits, target in answers:
                classes = at_pixels(logits, (y, x), step, part).argmax(dim=0)
                yield part, classes.cpu().numpy(), target, logits

    def _example(self, tile: Tile, views: Sequence[RGB], truth: Labels) -> Example:
        name = f"{self.images.items[tile.field].name} at {round(tile.y)}, {round(tile.x)}"
        inputs = tuple(to_input(view, self.spec) for view in views)
        return Example(name, inputs, {"labels": to_target(truth, self._values)})

    @property
    def _values(self) -> list[int]:
        return [known.value for known in self.images.classes]


def at_pixels(logits: Tensor, corner: tuple[float, float], step: float, part: Part) -> Tensor:
    """Return the logits of a tile at pixels of its field, by cubic interpolation.

    Parameters
    ----------
    logits : Tensor
        (classes, h, w).
    corner : (float, float)
        Of the tile, px of the field.
    step : float
        Pixels of the field for one of the tile.
    part : (slice, slice)
        Rows and columns of the field.

    Returns
    -------
    Tensor
        (classes, rows, columns).
    """
    places = [
        2 * (torch.arange(pixels.start, pixels.stop, dtype=torch.float64) + 0.5 - start) / (side * step) - 1
        for pixels, start, side in zip(part, corner, logits.shape[1:], strict=True)
    ]
    y, x = torch.meshgrid(*places, indexing="ij")
    grid = torch.stack([x, y], dim=-1).to(logits)
    return F.grid_sample(logits[None], grid[None], "bicubic", "border", align_corners=False)[0]
