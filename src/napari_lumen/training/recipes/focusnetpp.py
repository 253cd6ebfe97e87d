"""FocusNet++ (Kaul et al., ISBI 2021): a mask of one class, by the adaptive logarithmic hybrid loss."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.optim import Adam

from napari_lumen.errors import RunError
from napari_lumen.models import InputSpec, View, attention_modules, build
from napari_lumen.training.augmentation import random_hed_shift
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.dense import NO_LABEL, DensePhase
from napari_lumen.training.framing import Cropped, Framing, Resized
from napari_lumen.training.losses import adaptive_logarithmic_hybrid
from napari_lumen.training.phase import Choice
from napari_lumen.training.recipe import DYE_CHANGE, Plan, Recipe, TrainingData, fitting_arguments

_LAST_STAGE = (
    "d1.0.att0"  # FocusNet++'s attention at the finest stage of the decoder, as the model that ships
)
_UNKNOWN_MPP = 0.5  # of images that say none and are resized: the card must name one


class FocusNetPPRecipe(Recipe):
    """Training of FocusNet++ and of its rivals (sections 3 and 4), on data of one class."""

    kind: ClassVar[str] = "focusnetpp"

    architecture: Literal["focusnetpp", "unet", "attention_unet", "unetpp", "r2unet", "bcdunet"] = Field(
        default="focusnetpp", description="Network; the paper trains all of its table by this recipe."
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the network; without them it is that of the paper's table.",
    )
    framing: Literal["resize", "crop"] = Field(
        default="resize", description="resize: whole images, aspect not kept; crop: squares at `mpp`."
    )
    size: int = Field(default=256, gt=0, description="Side of an example, px.")
    mpp: float | None = Field(default=None, gt=0, description="µm per pixel of cropped squares.")
    epochs: int = Field(default=50, gt=0)
    batch: int = Field(default=8, gt=0)
    rates: tuple[tuple[NonNegativeInt, PositiveFloat], ...] = Field(
        default=((0, 1e-4), (16, 1e-5), (26, 1e-6), (41, 1e-7)),
        min_length=1,
        description="(epoch, rate): Adam's learning rate from that epoch on.",
    )
    dye_change: float = DYE_CHANGE
    positive_weight: float = Field(
        default=0.7, ge=0, le=1, description="Omega of the balanced cross entropy."
    )
    false_positive_weight: float = Field(default=0.3, ge=0, description="alpha of the Tversky loss.")
    false_negative_weight: float = Field(default=0.7, ge=0, description="beta of the Tversky loss.")
    cross_entropy_share: float = Field(default=0.5, ge=0, le=1, description="k of equation 1.")
    gamma: float = Field(default=0.1, gt=0, description="Of equation 2.")
    omega: float = Field(default=10.0, gt=0, description="Of equation 2.")
    epsilon: float = Field(default=0.5, gt=0, description="Of equation 2.")

    @field_validator("arguments")
    @classmethod
    def _fit_the_network(cls, arguments: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return fitting_arguments(info.data.get("architecture"), arguments)

    @field_validator("rates")
    @classmethod
    def _from_the_first_epoch(cls, rates: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
        if min(start for start, _ in rates) > 0:
            raise ValueError("there is none for epoch 0; the first pair must begin there")
        return rates

    def plan(self, data: TrainingData[Any]) -> Plan:
        """Build the network and the one phase; the epoch of the lowest validation loss is kept."""
        classes = data.images.classes
        if len(classes) != 1:
            raise RunError(
                f"FocusNet++ finds one class; the data have {len(classes)}. Take data of one, or another "
                "recipe."
            )
        torch.manual_seed(self.seed)
        network = build(self.architecture, **self.arguments)
        mpp = self.mpp or _UNKNOWN_MPP
        spec = InputSpec(views=(View(size=self.size, mpp=mpp),), overlap=self.size // 8)
        framing: Framing = Resized(self.size) if self.framing == "resize" else Cropped(self.size, self.mpp)
        phase = DensePhase(
            name="training",
            epochs=self.epochs,
            images=data.images,
            training=data.part("train"),
            validation=data.part("validation"),
            framing=framing,
            spec=spec,
            activation="sigmoid",
            loss_of=self.loss,
            optimiser=partial(_adam, rate=self.rates[0][1]),
            batch=self.batch,
            rate=self.rate,
            augment=partial(_dyed, strength=self.dye_change) if self.dye_change else None,
            choice=Choice("loss", best="lowest"),
        )
        card = {
            "task": "segmentation",
            "architecture": self.architecture,
            "arguments": self.arguments,
            "activation": "sigmoid",
            "classes": classes,
            "input": spec,
            "attention": _shown_attention(network),
            "objects": "watershed",
        }
        return Plan(network, (phase,), card)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch."""
        return max((start, rate) for start, rate in self.rates if start <= epoch)[1]

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (N, 1, h, w), over the pixels that have a label; 0 where none has."""
        known = target != NO_LABEL
        if not known.any():
            return logits.sum() * 0
        return adaptive_logarithmic_hybrid(
            logits[:, 0][known],
            target[known] > 0,
            positive_weight=self.positive_weight,
            false_positive_weight=self.false_positive_weight,
            false_negative_weight=self.false_negative_weight,
            cross_entropy_share=self.cross_entropy_share,
            gamma=self.gamma,
            omega=self.omega,
            epsilon=self.epsilon,
        )


def _shown_attention(network: nn.Module) -> tuple[str, ...]:
    """Return the one map that a run shows of a network; of others than FocusNet++ the last, if any."""
    maps = [info.name for info, _ in attention_modules(network) if info.kind == "spatial"]
    return (_LAST_STAGE,) if _LAST_STAGE in maps else tuple(maps[-1:])


def _dyed(image: RGB, labels: Labels, rng: np.random.Generator, strength: float) -> tuple[RGB, Labels]:
    return random_hed_shift(image, rng, strength=strength), labels


def _adam(network: nn.Module, rate: float) -> Adam:
    return Adam(network.parameters(), rate)
