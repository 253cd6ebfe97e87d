"""What is run in these benchmarks: networks taught for some seconds, saved as models of the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from bench.files import tissue
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.models import InputSpec, Model, ModelCard, TrainingRecord, View, build, load_model
from napari_lumen.models.card import Objects
from napari_lumen.models.store import save_model

TILE, OVERLAP = 256, 32
MPP = 0.25  # of the slides, see `bench.files`
_STEPS, _BATCH, _CROP = 80, 8, 64
_DARK = 130  # of red, blurred: nuclei


def unet(folder: Path, objects: Objects = "components") -> tuple[Model, str]:
    """Return the U-Net that most figures speak of, and how it is called in a table."""
    return model_of(folder, "unet", {"width": 16}, objects=objects)


def model_of(
    folder: Path,
    architecture: str,
    arguments: dict[str, object],
    mpp: float = MPP,
    objects: Objects = "components",
) -> tuple[Model, str]:
    """Teach a network, save it, load it, and return it with its label.

    Its answer is a class for each pixel; with ``components`` each connected area is an object of the table,
    too.
    """
    network = _taught(architecture, tuple(arguments.items()), round(mpp / MPP))
    card = ModelCard(
        name=architecture,
        title=architecture,
        summary="Says where it is dark.",
        task="segmentation",
        architecture=architecture,
        arguments=arguments,
        activation="sigmoid",
        classes=ClassTable.of([(1, "dark", (0, 0, 255))]),
        input=InputSpec(views=(View(size=TILE, mpp=mpp),), overlap=OVERLAP),
        objects=objects,
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


@cache
def _taught(architecture: str, arguments: tuple[tuple[str, object], ...], step: int) -> nn.Module:
    """Teach a network to find nuclei, about: one that says noise finds hundreds of thousands of objects."""
    torch.manual_seed(0)
    network = build(architecture, **dict(arguments))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pixels = tissue()[::step, ::step]
    dark = gaussian_filter(pixels[..., 0].astype(np.float32), 4 / step) < _DARK
    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(network.to(device).train().parameters(), lr=3e-3)
    for _ in range(_STEPS):
        corners = rng.integers(0, len(pixels) - _CROP, (_BATCH, 2))
        crops = [(slice(y, y + _CROP), slice(x, x + _CROP)) for y, x in corners]
        tiles = torch.from_numpy(np.stack([pixels[crop] for crop in crops])).to(device)
        truth = torch.from_numpy(np.stack([dark[crop] for crop in crops])).to(device)
        logits = network(tiles.permute(0, 3, 1, 2).float() / 255)
        loss = nn.functional.binary_cross_entropy_with_logits(logits[:, 0], truth.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval().cpu()
