"""DA-RefineNet (Li, Tao, Wu and Li): regions of tissue, by a fine view and the context around it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, field_validator, model_validator
from torch import nn

from napari_lumen.models import InputSpec, View, attention_modules, build
from napari_lumen.training.fields import FieldTiles, TileViews
from napari_lumen.training.phase import Choice
from napari_lumen.training.recipe import DYE_CHANGE, Plan, Recipe, TrainingData, fitting_arguments
from napari_lumen.training.regions import RegionPhase

_UNKNOWN_MPP = 0.5  # of images that say none: the card must name one
_ENCODERS = {"encoder": "pretrained", "context_encoder": "context_pretrained"}  # and what fills them


class DARefineNetRecipe(Recipe):
    """Training of DA-RefineNet and of its variants (sections III.E and IV), on large labelled fields.

    Where the paper gives a tile the 5,000 px region that it was cut from as its context, here the context
    lies around the centre of the tile: so a run reads it. Where it has 3,000 tiles drawn once, and 500 of
    another slide to choose the epoch by, here each epoch draws as many anew, and all of the fields that are
    held out decide.
    """

    kind: ClassVar[str] = "darefinenet"

    arguments: dict[str, Any] = Field(
        default_factory=lambda: {
            "depth": 50,
            "context_depth": 50,
            "variant": "dual",
            "fusion": "attention",
        },
        description="Arguments of the network: depth (50, 101, 152), variant (dual, single, multi_size), "
        "fusion (attention, concat, add), light; pretrained and context_pretrained are files or URLs of "
        "ImageNet weights, from which the paper starts. The classes follow from the data.",
    )
    size: int = Field(default=500, gt=0, description="Side of each view, px.")
    mpp: float | None = Field(
        default=None, gt=0, description="µm per pixel of the fine view; by default `shrink` decides."
    )
    shrink: float = Field(
        default=2.0, gt=0, description="Pixels of the images that make one of the fine view, along a side."
    )
    context: float = Field(
        default=5.0, gt=1, description="How many times the side of the fine field the one of the context is."
    )
    stride: float = Field(
        default=0.5, gt=0, le=1, description="From one tile to the next, as a part of their side."
    )
    tiles: int = Field(default=3000, gt=0, description="Tiles of an epoch, if there are so many.")
    favoured: tuple[str, ...] = Field(
        default=("benign", "in situ"),
        description="Classes of which an epoch holds enough, in capitals or not; names that the data do not "
        "have count for nothing.",
    )
    favoured_share: float = Field(
        default=2 / 3, ge=0, le=1, description="Part of an epoch's tiles that shows a favoured class."
    )
    least_scale: float = Field(
        default=0.5, gt=0, le=1, description="A fine view is scaled by this to 1 of its pixels, and cropped."
    )
    dye_change: float = DYE_CHANGE
    epochs: tuple[int, ...] = Field(default=(25, 25, 25), description="Of each step.")
    encoder_rates: tuple[NonNegativeFloat, ...] = Field(
        default=(5e-4, 2.5e-4, 1e-4), description="Learning rate of the encoders in each step."
    )
    decoder_rates: tuple[NonNegativeFloat, ...] = Field(
        default=(5e-3, 2.5e-3, 1e-3), description="Learning rate of the decoder in each step."
    )
    validate_every: tuple[int, ...] = Field(
        default=(1, 2, 2), description="Epochs between validations in each step."
    )
    optimiser: Literal["sgd", "adam"] = Field(
        default="sgd",
        description="The paper has SGD. With Adam, what gets weak gradients learns as fast: gates above all.",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Of SGD.")
    weight_decay: float = Field(default=1e-5, ge=0)
    batch: int = Field(default=12, gt=0)
    frozen_statistics: bool | None = Field(
        default=None,
        description="Whether batch normalisation keeps its statistics; by default in those encoders that "
        "start from ImageNet, as all of the paper's do.",
    )
    mean: tuple[float, float, float] = Field(default=(0.485, 0.456, 0.406), description="Of ImageNet.")
    std: tuple[float, float, float] = Field(default=(0.229, 0.224, 0.225), description="Of ImageNet.")

    @field_validator("arguments")
    @classmethod
    def _fit_the_network(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        return fitting_arguments("darefinenet", arguments)

    @model_validator(mode="after")
    def _steps_agree(self) -> DARefineNetRecipe:
        for name in ("encoder_rates", "decoder_rates", "validate_every"):
            if len(getattr(self, name)) != len(self.epochs):
                raise ValueError(
                    f"'{name}' has {len(getattr(self, name))} values for {len(self.epochs)} steps of "
                    "'epochs'; give one a step"
                )
        if not self.epochs or min(*self.epochs, *self.validate_every) < 1:
            raise ValueError("'epochs' and 'validate_every' must be 1 or more in each step")
        return self

    def plan(self, data: TrainingData[Any]) -> Plan:
        """Build the network and a phase a step; of all steps the epoch of the best mean IoU is kept."""
        images = data.images
        torch.manual_seed(self.seed)
        network = build("darefinenet", **{**self.arguments, "classes": len(images.classes) + 1})
        training = data.part("train")
        own = images.mpp(training[0]) or _UNKNOWN_MPP
        is_dual = network.view_count == 2
        views = TileViews(
            self.size, self.mpp or self.shrink * own, own, context=self.context if is_dual else None
        )
        mpps = [views.mpp, views.mpp * self.context] if is_dual else [views.mpp]
        spec = InputSpec(
            views=tuple(View(size=self.size, mpp=mpp) for mpp in mpps),
            mean=self.mean,
            std=self.std,
            overlap=self.size // 4,
        )
        favoured = {name.lower() for name in self.favoured}
        tiles = FieldTiles(
            images,
            training,
            views,
            stride=self.stride,
            favoured=[known.value for known in images.classes if known.name.lower() in favoured],
        )
        last = len(self.epochs) - 1
        phases = tuple(
            RegionPhase(
                name=f"step {step + 1}",
                epochs=epochs,
                images=images,
                tiles=tiles,
                validation=data.part("validation"),
                views=views,
                spec=spec,
                tiles_per_epoch=self.tiles,
                favoured_share=self.favoured_share,
                least_scale=self.least_scale,
                dye_change=self.dye_change,
                batch=self.batch,
                encoder_rate=self.encoder_rates[step],
                decoder_rate=self.decoder_rates[step],
                optimiser=self.optimiser,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                frozen=self._frozen(network),
                # each step goes on from where the one before stopped, and all compete for the best epoch
                choice=Choice("mean IoU", anew=False, restored=step == last),
                validate_every=self.validate_every[step],
            )
            for step, epochs in enumerate(self.epochs)
        )
        return Plan(network, phases, self._card(network, data, spec))

    def _frozen(self, network: nn.Module) -> tuple[str, ...]:
        """Return the encoders whose batch normalisation keeps its statistics."""
        return tuple(
            name
            for name, source in _ENCODERS.items()
            if getattr(network, name) is not None
            and (
                self.arguments.get(source) is not None
                if self.frozen_statistics is None
                else self.frozen_statistics
            )
        )

    def _card(self, network: nn.Module, data: TrainingData[Any], spec: InputSpec) -> dict[str, Any]:
        kept = {key: value for key, value in self.arguments.items() if not key.endswith("pretrained")}
        return {
            "task": "segmentation",
            "architecture": "darefinenet",
            "arguments": {**kept, "classes": len(data.images.classes) + 1},
            "activation": "softmax",
            "classes": data.images.classes,
            "input": spec,
            "attention": tuple(info.name for info, _ in attention_modules(network) if info.kind == "spatial"),
        }
