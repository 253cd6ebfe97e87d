"""A network that marks where a slide is dark, and slides that are dark in one known place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fakes import ArraySlide, Pixels
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.geometry import Region
from napari_lumen.models import InputSpec, Model, ModelCard, TrainingRecord, View
from napari_lumen.models.attention import AttentionPoint, mark_attention
from napari_lumen.models.padding import pad_to_multiple

TWO = ClassTable.of([(4, "pale", (0, 0, 255)), (9, "dark", (255, 0, 0))])


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class Marker(nn.Module):
    """Its maps are how dark each cell of a stride is; without one, each of 7 x 7 parts of the input."""

    task = "segmentation"
    view_count = 1

    def __init__(self, *strides: int | None, multiple: int = 1, whole: bool = False) -> None:
        super().__init__()
        self.strides, self.multiple, self.whole = strides, multiple, whole
        for stride in strides:
            self.add_module(
                f"map{stride}",
                mark_attention(AttentionPoint(), "spatial", "Darkness.", stride=stride),
            )
        self.gate = mark_attention(_Mean(), "channel", "Darkness of red, green and blue.")
        self.boxes = mark_attention(nn.Identity(), "boxes", "Two of three boxes.")

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> Tensor:
        fine = x if isinstance(x, Tensor) else x[0]
        dark = 1 - fine.mean(dim=1, keepdim=True)
        padded = pad_to_multiple(dark, self.multiple)
        for stride in self.strides:
            value = (
                F.adaptive_avg_pool2d(dark, 7)
                if stride is None
                else F.avg_pool2d(padded, stride, ceil_mode=True)
            )
            self.get_submodule(f"map{stride}")(value)
        self.gate(1 - fine)
        nothing = [float("nan")] * 5
        known = torch.tensor([[0.0, 0.0, 0.25, 0.5, 2.25], [0.5, 0.75, 1.0, 1.0, 7.5], nothing])
        self.boxes(known.repeat(len(fine), 1, 1))
        if self.whole:
            mean = dark.mean(dim=(1, 2, 3))[:, None]
            return torch.cat([torch.zeros_like(mean), (mean - 0.5) * 10], dim=1)
        return torch.cat([(0.5 - dark) * 20, (dark - 0.5) * 20], dim=1)


def marker_model(
    *strides: int | None,
    multiple: int = 1,
    whole: bool = False,
    attention: tuple[str, ...] = (),
    overlap: int = 0,
    **views: Any,
) -> Model:
    """Give the marker a card; `views` are size and mpp."""
    size, mpp = views.get("size", 64), views.get("mpp", 0.5)
    card = ModelCard(
        name="marker",
        title="Marker",
        summary="Marks what is dark.",
        task="classification" if whole else "segmentation",
        architecture="marker",
        activation="softmax" if whole else "sigmoid",
        classes=TWO,
        input=InputSpec(views=(View(size=size, mpp=mpp),), overlap=overlap),
        attention=attention,
        objects="none",
        training=TrainingRecord(data="none", split="none"),
        scores={},
        licence="none",
        limits="none",
        weights_sha256="0" * 64,
    )
    return Model(Marker(*strides, multiple=multiple, whole=whole).eval(), card, Path("marker"))


def dark_at(region: Region, shape: tuple[int, int], *levels: tuple[int, int], mpp: float = 0.5) -> ArraySlide:
    """A white slide that is black in one rectangle of whole pixels of every level."""
    arrays: list[Pixels] = []
    for height, width in (shape, *levels):
        step = round(shape[0] / height)
        pixels = np.full((height, width, 3), 255, np.uint8)
        rows = slice(round(region.y / step), round(region.bottom / step))
        columns = slice(round(region.x / step), round(region.right / step))
        pixels[rows, columns] = 0
        arrays.append(pixels)
    return ArraySlide(*arrays, mpp=(mpp, mpp))
