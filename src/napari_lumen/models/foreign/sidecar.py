"""What a user writes beside a foreign model: the fields of a card that its own files leave open."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


def different(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of classes, each of which stands there once; for the field of a config.

    Raises
    ------
    ValueError
        Naming those that do not.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"class name used twice: {', '.join(twice)}")
    return names


class Sidecar(BaseModel):
    """Fields of a card, those that the model's own files cannot say and those that the user puts right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mpp: float = Field(gt=0, le=100, description="µm per pixel of a tile.")
    tile: int | None = Field(default=None, gt=0, le=8192, description="Side of a square tile, px.")
    overlap: int | None = Field(default=None, ge=0, description="Pixels that neighbouring tiles share.")
    task: Literal["segmentation", "classification"] | None = Field(
        default=None, description="A class for each pixel, or for each tile."
    )
    activation: Literal["sigmoid", "softmax", "none"] | None = Field(
        default=None, description="What turns the answer to probabilities; none when it is those already."
    )
    classes: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Names of the network's channels; in a segmentation, 'background' is not drawn.",
    )
    mean: tuple[float, float, float] | None = Field(
        default=None, description="Subtracted from RGB in [0, 1]."
    )
    std: tuple[float, float, float] | None = Field(
        default=None, description="Divides RGB in [0, 1] after the mean is subtracted."
    )
    title: str | None = Field(default=None, description="Name shown in lists.")
    summary: str | None = Field(default=None, description="One sentence: what it finds, on what.")
    data: str | None = Field(default=None, description="What it was trained on.")
    licence: str | None = Field(default=None, description="Licence of the weights.")
    limits: str | None = Field(default=None, description="What the model is not for.")

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return names and different(names)
