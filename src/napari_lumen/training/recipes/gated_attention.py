"""Gated attention (Fan et al., MICCAI 2020): fields of view, by the whole and by its key instances."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator

from napari_lumen.errors import RunError
from napari_lumen.models import InputSpec, View, attention_modules, build
from napari_lumen.models.instances import LEAST_SIDE
from napari_lumen.training.grades import GatedPhase, GradedPhase
from napari_lumen.training.losses import global_share
from napari_lumen.training.phase import Choice
from napari_lumen.training.recipe import Plan, Recipe, TrainingData, fitting_arguments

_UNKNOWN_MPP = 0.5  # of images that say none: the card must name one
_OF_INSTANCES = ("instances", "threshold", "margin", "least_side")
_SHOWN = ("semantic_S", "channel_gate", "rival.se", "omega", "instance_mask", "instances")


class GatedAttentionRecipe(Recipe):
    """Training of gated attention, of its rivals of Table 2, and of a plain ResNet (sections 3 and 4)."""

    kind: ClassVar[str] = "gated_attention"

    architecture: Literal["gated_attention", "resnet"] = Field(
        default="gated_attention", description="resnet: the baseline, on the small image alone."
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the network. Of gated attention: module (gated, spatial, channel, dual, "
        "se, global_context, none), pretrained and local_pretrained, files or URLs of ImageNet weights, "
        "from which the paper starts. Of resnet: depth, pretrained. The classes follow from the data.",
    )
    global_size: int = Field(default=224, gt=0, description="Side of the whole image, px.")
    local_size: int = Field(default=336, gt=0, description="Side of the instances, px.")
    instances: int = Field(default=4, gt=0, description="Key instances of an image, K.")
    threshold: float = Field(
        default=0.5, ge=0, lt=1, description="Of the attention, from 0 to 1 in each image, in instances."
    )
    margin: float = Field(
        default=0.1, ge=0, description="Added to each side of an instance, as a part of its own."
    )
    least_side: float = Field(
        default=LEAST_SIDE, gt=0, le=1, description="Of an instance, as a part of the image's."
    )
    field_size: int = Field(
        default=2048,
        gt=0,
        description="Side of the fields that a run on a slide classifies, px at full resolution; training "
        "takes its images whole.",
    )
    mpp: float | None = Field(
        default=None, gt=0, description="µm per pixel of the images, where they do not say it themselves."
    )
    epochs: int = Field(default=200, gt=0)
    batch: int = Field(default=16, gt=0)
    rate: float = Field(default=0.05, gt=0, description="First learning rate.")
    rate_factor: float = Field(default=0.1, gt=0, description="The rate is multiplied by it.")
    rate_every: int = Field(default=50, gt=0, description="Epochs between changes of the rate.")
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    share_step: float = Field(
        default=0.1, ge=0, le=1, description="What lambda, the global head's share of the loss, falls by."
    )
    share_every: int = Field(default=20, gt=0, description="Epochs between changes of lambda.")
    colour_change: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="Saturation, contrast, brightness and sharpness of training images change by factors of "
        "1 plus or minus it; the paper names none.",
    )
    mean: tuple[float, float, float] = Field(default=(0.485, 0.456, 0.406), description="Of ImageNet.")
    std: tuple[float, float, float] = Field(default=(0.229, 0.224, 0.225), description="Of ImageNet.")

    @field_validator("arguments")
    @classmethod
    def _fit_the_network(cls, arguments: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return fitting_arguments(info.data.get("architecture"), arguments)

    @model_validator(mode="after")
    def _fusion_learns(self) -> GatedAttentionRecipe:
        share = global_share(self.epochs - 1, step=self.share_step, every=self.share_every)
        if self.architecture == "gated_attention" and share == 1:
            raise ValueError(
                f"lambda stays 1 for all {self.epochs} 'epochs', and the head that decides would never be "
                "trained; take more of them, a smaller 'share_every' or a larger 'share_step'"
            )
        return self

    def plan(self, data: TrainingData[Any]) -> Plan:
        """Build the network and the one phase; the epoch of the best validation accuracy is kept."""
        images, training = data.images, data.part("train")
        if not hasattr(images, "grade"):
            raise RunError(
                "Gated attention learns from images of one class each; these have label images. Take "
                "graded data, or another recipe."
            )
        if len(images.classes) < 2:
            raise RunError("Gated attention tells classes apart; the data have only one. Add another.")
        arguments = {**self.arguments, "classes": len(images.classes)}
        own = images.mpp(training[0]) or self.mpp or _UNKNOWN_MPP
        is_gated = self.architecture == "gated_attention"
        if is_gated:
            arguments |= {"global_size": self.global_size, "local_size": self.local_size}
            arguments = {name: getattr(self, name) for name in _OF_INSTANCES} | arguments
            view = View(size=self.field_size, mpp=own)
        else:  # it sees the same field, small
            view = View(size=self.global_size, mpp=own * self.field_size / self.global_size)
        torch.manual_seed(self.seed)
        network = build(self.architecture, **arguments)
        spec = InputSpec(views=(view,), mean=self.mean, std=self.std, overlap=0)
        common: dict[str, Any] = {
            "name": "training",
            "epochs": self.epochs,
            "images": images,
            "training": training,
            "validation": data.part("validation"),
            "spec": spec,
            "size": self.global_size,
            "batch": self.batch,
            "rate": self.rate,
            "rate_factor": self.rate_factor,
            "rate_every": self.rate_every,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "colour_change": self.colour_change,
        }
        phase: GradedPhase
        if is_gated:
            phase = GatedPhase(
                **common,
                share_step=self.share_step,
                share_every=self.share_every,
                # before, the head that decides has learned nothing
                choice=Choice("accuracy", first_epoch=self.share_every),
            )
        else:
            phase = GradedPhase(**common, choice=Choice("accuracy"))
        recorded = {info.name for info, _ in attention_modules(network)}
        card = {
            "task": "classification",
            "architecture": self.architecture,
            "arguments": {key: of for key, of in arguments.items() if not key.endswith("pretrained")},
            "activation": "softmax",
            "classes": images.classes,
            "input": spec,
            "attention": tuple(name for name in _SHOWN if name in recorded),
        }
        return Plan(network, (phase,), card)
