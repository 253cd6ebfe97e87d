"""What is run in these benchmarks: networks without training, saved as models of the package."""

from __future__ import annotations

from pathlib import Path

import torch

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.models import InputSpec, Model, ModelCard, TrainingRecord, View, build, load_model
from napari_lumen.models.store import save_model

TILE, OVERLAP = 256, 32
MPP = 0.25  # of the slides, see `bench.files`


def unet(folder: Path) -> tuple[Model, str]:
    """Return the U-Net that most figures speak of, and how it is called in a table."""
    return model_of(folder, "unet", {"width": 16})


def model_of(
    folder: Path, architecture: str, arguments: dict[str, object], mpp: float = MPP
) -> tuple[Model, str]:
    """Save a network with the weights that a seed gives it, load it, and return it with its label."""
    torch.manual_seed(0)
    network = build(architecture, **arguments)
    card = ModelCard(
        name=architecture,
        title=architecture,
        summary="Says nothing: it is not trained.",
        task="segmentation",
        architecture=architecture,
        arguments=arguments,
        activation="sigmoid",
        classes=ClassTable.of([(1, "one", (0, 0, 255))]),
        input=InputSpec(views=(View(size=TILE, mpp=mpp),), overlap=OVERLAP),
        training=TrainingRecord(data="none", split="none"),
        scores={},
        licence="BSD-3-Clause",
        limits="Everything.",
        weights_sha256="0" * 64,
    )
    weights = sum(parameter.numel() for parameter in network.parameters())
    told = ", ".join(f"{key}={value}" for key, value in arguments.items())
    label = f"{architecture}({told}), {weights:,} weights"
    return load_model(save_model(folder, network, card)), label
