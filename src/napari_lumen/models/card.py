"""What a model on disk says of itself: `card.json`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.stain.normalisation import Macenko, Reinhard
from napari_lumen.validation import CHECKSUM_PATTERN, NAME_PATTERN

Task = Literal["segmentation", "classification", "slide"]
SlideMap = Literal["slide", "lumps"]
Activation = Literal["sigmoid", "softmax"]
Objects = Literal["none", "components", "watershed"]
_LARGEST_LABEL = 255  # of a byte; 0 is the background
LARGEST_SIDE = 16_384  # of a tile, px: its pixels alone are 3 GB as float32
_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class View(BaseModel):
    """One field of view that a network eats."""

    model_config = _FROZEN

    size: int = Field(gt=0, le=LARGEST_SIDE, description="Side of the square tile, px.")
    mpp: float = Field(gt=0, le=100, description="µm per pixel of the tile, both axes.")


class InputSpec(BaseModel):
    """What a network eats: RGB tiles of one or more concentric views, normalised per channel."""

    model_config = _FROZEN

    views: tuple[View, ...] = Field(min_length=1, description="Fine view first; all share their centre.")
    mean: tuple[float, float, float] = Field(
        default=(0.0, 0.0, 0.0), description="Subtracted from RGB in [0, 1]."
    )
    std: tuple[float, float, float] = Field(
        default=(1.0, 1.0, 1.0), description="Divides RGB in [0, 1] after the mean is subtracted."
    )
    overlap: int = Field(ge=0, description="Pixels that neighbouring tiles of the first view share.")
    stain: Macenko | Reinhard | None = Field(
        default=None,
        discriminator="method",
        description="How tiles come to the stain that the network was trained on: by the method macenko or "
        "reinhard, from that of their own slide to the reference given here. Without it they stay as they "
        "are.",
    )
    tissue_share: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="A run of a whole slide answers tiles of which more than this part is tissue; without it "
        "all that tissue, or its pale rim, reaches into.",
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # runs are known again by it, those too that were made before there were these
        return ((name, value) for name, value in super().__repr_args__() if value is not None)

    @model_validator(mode="after")
    def _overlap_fits(self) -> InputSpec:
        if self.overlap >= self.views[0].size:
            raise ValueError(f"overlap {self.overlap} must be below the tile size {self.views[0].size}")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std must be positive, not {self.std}")
        return self


class TrainingRecord(BaseModel):
    """What a model was trained on and how it was measured."""

    model_config = _FROZEN

    data: str = Field(description="Data sets with their sources.")
    split: str = Field(description="How training and held-out images were kept apart.")
    recipe: dict[str, Any] = Field(default_factory=dict, description="Numbers of the training.")


class ModelCard(BaseModel):
    """The card of a model folder; every field is shown to the user."""

    model_config = _FROZEN

    name: str = Field(pattern=NAME_PATTERN, description="Name of the folder and on the command line.")
    title: str = Field(description="Name shown in lists.")
    summary: str = Field(description="One sentence: what it finds, on what.")
    task: Task = Field(
        description="segmentation: a class for each pixel; classification: a class for each tile, seen by "
        "itself; slide: a class for each tile, seen with all others of the slide: one network turns tiles "
        "into vectors, a second reads the map of them."
    )
    architecture: str = Field(description="Name of the network, see napari_lumen.models.names().")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Arguments of the network.")
    activation: Activation = Field(
        description="Turns logits to probabilities. sigmoid: one channel per class; softmax: one per class "
        "too in classification, and in the other tasks one more, first, for the background."
    )
    classes: ClassTable = Field(description="Classes in the order of the channels; a background is left out.")
    input: InputSpec = Field(description="What the network eats.")
    slide_map: SlideMap = Field(
        default="slide",
        description="What the second network of task slide reads at once: the map of the whole slide, or "
        "that of each lump of tissue.",
    )
    attention: tuple[str, ...] = Field(
        default=(),
        description="Attention stored by a run, by its recorded names: spatial maps; in classification "
        "gates of channels and boxes as well.",
    )
    objects: Objects = Field(
        default="components",
        description="What of a segmentation is counted and listed. components: connected areas; watershed: "
        "nuclei, connected areas split at their necks; none: nothing, where only a class's area matters.",
    )
    training: TrainingRecord = Field(description="What it was trained on.")
    scores: dict[str, float] = Field(description="Measured scores, each key naming measure and data.")
    licence: str = Field(description="Licence of the weights.")
    limits: str = Field(description="What the model is not for.")
    weights_sha256: str = Field(
        pattern=CHECKSUM_PATTERN,
        description="Checksum of weights.safetensors, or of the file of a foreign model.",
    )

    @model_validator(mode="after")
    def _classes_fit(self) -> ModelCard:
        if not len(self.classes):
            raise ValueError("field 'classes' names none; a model tells one or more")
        for item in self.classes:
            if not 1 <= item.value <= _LARGEST_LABEL:
                raise ValueError(
                    f"field 'classes': the value of {item.name!r} must be 1 to {_LARGEST_LABEL}, not "
                    f"{item.value}"
                )
        if self.channels == 1 and self.activation == "softmax":
            raise ValueError("field 'activation': the softmax of one channel is 1 everywhere; use sigmoid")
        return self

    @property
    def network_arguments(self) -> dict[str, Any]:
        """Arguments of the network without published weights: a card fetches nothing."""
        return {key: value for key, value in self.arguments.items() if not key.endswith("pretrained")}

    @property
    def mpp(self) -> float:
        """µm per pixel of the first view."""
        return self.input.views[0].mpp

    @property
    def channels(self) -> int:
        """How many channels the network gives for this task, activation and classes."""
        return len(self.classes) + self.has_background

    @property
    def has_background(self) -> bool:
        """Whether the first channel of the network is a background, which is no class."""
        return self.task != "classification" and self.activation == "softmax"
