"""Slides and models of known content, for tests of what runs over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import SlideError
from napari_lumen.geometry import Window
from napari_lumen.models import InputSpec, Model, ModelCard, TrainingRecord, View
from napari_lumen.models.attention import mark_attention
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.level import levels_from_shapes
from napari_lumen.slides.slide import Slide

Pixels = npt.NDArray[Any]


class ArraySlide(Slide):
    """A slide whose levels are arrays (h, w, 3)."""

    def __init__(
        self, *levels: Pixels, mpp: tuple[float, float] | None = (0.5, 0.5), broken: Window | None = None
    ) -> None:
        super().__init__(Path("array.tif"))
        self.levels = levels_from_shapes([level.shape[:2] for level in levels])
        self.mpp = mpp
        self.magnification = None
        self.vendor = "array"
        self.properties = {}
        self.bounds = None
        self.associated = AssociatedImages({})
        self.largest_read = 0
        self._arrays = levels
        self._broken = broken

    def fingerprint_now(self) -> str:
        return "array"

    def _read(self, level: int, window: Window) -> Pixels:
        self.largest_read = max(self.largest_read, window.height * window.width)
        if self._broken is not None:
            common = window.intersect(self._broken)
            if common.height and common.width:
                raise SlideError("array.tif cannot be decoded there.")
        return self._arrays[level][window.slices]

    def close(self) -> None:
        pass


class Darkness(nn.Module):
    """Says how dark a pixel is, as a logit; its attention map is the same at a quarter of the size."""

    def __init__(self, stride: int = 4) -> None:
        super().__init__()
        self.attention = mark_attention(nn.AvgPool2d(stride), "spatial", "Darkness.")

    def forward(self, x: Tensor) -> Tensor:
        dark = 1 - x.mean(dim=1, keepdim=True)
        self.attention(dark)
        return (dark - 0.5) * 200


class Constant(nn.Module):
    """Says the same probability everywhere."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.logit = float(torch.logit(torch.tensor(probability, dtype=torch.float64)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x[:, :1], self.logit)


def model_of(
    network: nn.Module,
    *,
    mpp: float = 0.5,
    size: int = 64,
    overlap: int = 16,
    attention: tuple[str, ...] = (),
    classes: ClassTable | None = None,
    activation: str = "sigmoid",
) -> Model:
    """Give a network a card."""
    card = ModelCard.model_validate(
        {
            "name": "known",
            "title": "Known",
            "summary": "Answers by a rule.",
            "task": "segmentation",
            "architecture": "rule",
            "activation": activation,
            "classes": classes or ClassTable.of([(1, "dark", (0, 0, 255))]),
            "input": InputSpec(views=(View(size=size, mpp=mpp),), overlap=overlap),
            "attention": attention,
            "training": TrainingRecord(data="none", split="none"),
            "scores": {},
            "licence": "BSD-3-Clause",
            "limits": "Nothing.",
            "weights_sha256": "0" * 64,
        }
    )
    return Model(network.eval(), card, Path("known"))
