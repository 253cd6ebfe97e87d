"""What the search and the trainings of NAS-SCAM's table share: crops, loss, validation and their numbers."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from napari_lumen.errors import RunError
from napari_lumen.models import InputSpec, View
from napari_lumen.models.attention import map_strides
from napari_lumen.stain.normalisation import USUAL_COLOURS, ColourStatistics, Dyes, Macenko, Method, Reinhard
from napari_lumen.training.class_balance import class_balanced_steps
from napari_lumen.training.crops import CropList, OverlappingCrops
from napari_lumen.training.data.image_set import ImageSet
from napari_lumen.training.dense import DensePhase
from napari_lumen.training.example import Example
from napari_lumen.training.losses import exponential_logarithmic_sigmoid
from napari_lumen.training.phase import TRAIN, Choice, Draw
from napari_lumen.training.recipe import Recipe, TrainingData
from napari_lumen.training.recipes.nas_scam_augmentation import OneChange
from napari_lumen.training.stained_images import StainedImages

SEARCH = "search"  # role of the crops that alphas are learnt from
SCORE = "dice pooled"
_MONUSAC_MPP = 0.25  # of the paper's slides, 40x: the card must name one


@dataclass(kw_only=True)
class BalancedCrops(DensePhase):
    """Epochs over crops, as many of each class.

    Attributes
    ----------
    framing : OverlappingCrops
    lists : mapping of str to CropList
        The crops of each role.
    steps : int
        Of an epoch.
    """

    framing: OverlappingCrops
    lists: Mapping[str, CropList]
    steps: int

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return steps of crops of the classes in turn."""
        return [{TRAIN: step} for step in self.balanced(TRAIN, rng)]

    def balanced(self, role: str, rng: np.random.Generator) -> list[list[int]]:
        """Return the crops of a role in each step of an epoch."""
        return class_balanced_steps(self.lists[role].by_class, self.steps, self.batch, rng)

    def example(self, role: str, index: int, rng: np.random.Generator) -> Example:
        """Cut and change one crop."""
        crop = self.lists[role].crops[index]
        image, labels = self.images.image(crop.image), self.images.labels(crop.image)
        image, labels = self.framing.cut(image, labels, crop.y, crop.x, self.images.mpp(crop.image))
        if self.augment is not None:
            image, labels = self.augment(image, labels, rng)
        return self._example(self.images.items[crop.image].name, image, labels)


class CropRecipe(Recipe, ABC):
    """Numbers of sections 3 and 4 that all trainings of NAS-SCAM's table share.

    Validation is the paper's test: squares of `size` px at `test_stride`, of which the middles count, each
    class by its own threshold of 0.5, Dice of the pixels of all images.
    """

    size: int = Field(default=256, gt=0, description="Side of a crop, px.")
    stride: int = Field(default=128, gt=0, description="Between the crops that are learnt from, px.")
    test_stride: int = Field(
        default=128, gt=0, description="Between the crops of the validation, px; their middles count."
    )
    mpp: float | None = Field(
        default=None, gt=0, description="µm per pixel of crops; images are taken as they are without it."
    )
    batch: int = Field(default=4, gt=0, description="Crops of a step, of the classes in turn.")
    steps: int | None = Field(
        default=None,
        gt=0,
        description="Steps of an epoch; half as many as the longest list of crops of a class without it, as "
        "in the release (1,223 of 2,445).",
    )
    rate: float = Field(default=1e-4, gt=0, description="Adam's learning rate of the weights.")
    width: int = Field(default=16, gt=0, description="Channels of the host U-Net's stem.")
    mode: Literal["P", "S"] = Field(default="P", description="P: parallel, S: serial attention.")
    augmentation: OneChange = Field(default_factory=OneChange, description="Random change of a crop.")
    colours: ColourStatistics | Dyes | None = Field(
        default=USUAL_COLOURS,
        description="Stain that every slide is brought to, in training and in runs: CIELAB mean and "
        "deviation of the tissue for Reinhard's method, or haematoxylin, eosin and their strongest densities "
        "for Macenko's. Images that name no slide are one each. null leaves the colours as they are.",
    )
    loss: Literal["exponential_logarithmic", "dice_only"] = Field(
        default="exponential_logarithmic", description="dice_only: its Dice half alone, as in the release."
    )
    dice_share: float = Field(default=0.8, ge=0, le=1, description="Weight of the Dice half of the loss.")
    dice_exponent: float = Field(default=0.3, gt=0, description="Of the logarithm of Dice.")
    cross_entropy_exponent: float = Field(default=0.3, gt=0, description="Of the logarithm of probabilities.")
    validate_every: int = Field(default=1, gt=0, description="Epochs between validations.")

    @model_validator(mode="after")
    def _crops_fit(self) -> CropRecipe:
        if self.stride > self.size:
            raise ValueError(f"stride {self.stride} leaves gaps between crops of {self.size} px")
        if self.test_stride > self.size or (self.size - self.test_stride) % 2:
            raise ValueError(
                f"test_stride must leave a margin of whole pixels on both sides of {self.size} px, which "
                f"{self.test_stride} does not"
            )
        return self

    def numbers_shared(self) -> dict[str, Any]:
        """Return the numbers that a search and the training of what it found have in common."""
        return {name: getattr(self, name) for name in CropRecipe.model_fields}

    def crops(self) -> OverlappingCrops:
        """Return how crops are cut."""
        return OverlappingCrops(self.size, self.stride, self.test_stride, self.mpp)

    @property
    def stain(self) -> Method | None:
        """How images come to one stain."""
        if self.colours is None:
            return None
        return Macenko(self.colours) if isinstance(self.colours, Dyes) else Reinhard(self.colours)

    def shown(self, data: TrainingData[ImageSet]) -> ImageSet:
        """Return the images in the colours that the network sees."""
        if self.stain is None:
            return data.images
        return StainedImages(data.images, self.stain, self.spec(data).views[0].mpp)

    def listed(self, data: TrainingData[ImageSet]) -> CropList:
        """List the crops for training.

        Raises
        ------
        RunError
            When none shows one of the classes.
        """
        found = self.crops().listed(data.images, data.part("train"))
        for known, examples in zip(data.images.classes, found.by_class, strict=True):
            if not examples:
                raise RunError(
                    f"No image of the part 'train' shows the class {known.name!r}, so it cannot be learnt. "
                    "Divide the data anew, or leave the class out."
                )
        return found

    def common(self, data: TrainingData[ImageSet], lists: Mapping[str, CropList]) -> dict[str, Any]:
        """Return the fields of a phase that all have in common."""
        train = lists[TRAIN]
        return {
            "images": self.shown(data),
            "training": data.part("train"),
            "validation": data.part("validation"),
            "framing": self.crops(),
            "lists": lists,
            "steps": self.steps or -(-max(map(len, train.by_class)) // 2),
            "spec": self.spec(data),
            "activation": "sigmoid",
            "loss_of": partial(self.loss_of, frequencies=torch.tensor(train.pixels)),
            "optimiser": self.adam,
            "batch": self.batch,
            "augment": self.augmentation,
            "validate_every": self.validate_every,
        }

    def loss_of(self, logits: Tensor, target: Tensor, frequencies: Tensor) -> Tensor:
        """Return the loss of logits (N, C, h, w) and targets as of `to_target`."""
        return exponential_logarithmic_sigmoid(
            logits,
            target,
            frequencies,
            dice_share=1.0 if self.loss == "dice_only" else self.dice_share,
            dice_exponent=self.dice_exponent,
            cross_entropy_exponent=self.cross_entropy_exponent,
        )

    def adam(self, network: nn.Module) -> Optimizer:
        """Return the optimiser of all weights."""
        return Adam(network.parameters(), self.rate)

    def best(self, first_epoch: int = 0) -> Choice:
        """Return the rule: the highest class mean of Dice."""
        return Choice(SCORE, first_epoch=first_epoch)

    def spec(self, data: TrainingData[ImageSet]) -> InputSpec:
        """Return what the network eats: crops of which neighbours overlap as in the paper's test."""
        known = [mpp for number in data.part("train") if (mpp := data.images.mpp(number)) is not None]
        mpp = self.mpp or (float(np.median(known)) if known else _MONUSAC_MPP)
        view = View(size=self.size, mpp=mpp)
        return InputSpec(views=(view,), overlap=self.size - self.test_stride, stain=self.stain)

    def card(
        self, data: TrainingData[ImageSet], network: nn.Module, architecture: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the card's fields; all spatial maps that the network records are stored by a run."""
        return {
            "task": "segmentation",
            "architecture": architecture,
            "arguments": arguments,
            "activation": "sigmoid",
            "classes": data.images.classes,
            "input": self.spec(data),
            "attention": tuple(map_strides(network)),
            "objects": "watershed",
        }
