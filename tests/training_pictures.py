"""Pictures in memory with labels or grades, and trainings on them that are tiny, or killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import nn

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.models import ModelCard, TrainingRecord
from napari_lumen.training.checkpoint import Place
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.splits import Split
from napari_lumen.training.example import Batch
from napari_lumen.training.phase import Phase
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.recipe import Plan, Recipe, TrainingData
from napari_lumen.training.settings import Settings
from napari_lumen.training.trainer import Trainer
from napari_lumen.training.turn import Turn

TWO = ClassTable.of([(2, "pink", (255, 0, 100)), (5, "blue", (0, 0, 255))])


def toml(content: Mapping[str, object]) -> str:
    """Write a table of fields as TOML, each a line."""

    def written(value: object) -> str:
        if isinstance(value, Mapping):
            return (
                "{" + ", ".join(f"{json.dumps(key)} = {written(item)}" for key, item in value.items()) + "}"
            )
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(written, value)) + "]"
        return json.dumps(value)

    return "".join(f"{field} = {written(value)}\n" for field, value in content.items() if value is not None)


DISCS: dict[str, object] = {
    "name": "discs",
    "recipe": {
        "name": "focusnetpp",
        "architecture": "unet",
        "arguments": {"width": 4, "classes": 1},
        "size": 48,
        "epochs": 6,
        "batch": 2,
        "rates": [[0, 0.01]],
    },
    "data": {"kind": "images", "folder": "data", "classes": ["disc"]},
    "split": {"proportions": {"train": 8, "validation": 4}},
    "settings": {"device": "cpu", "workers": 0},
}


def write_discs(folder: Path, count: int = 12) -> Path:
    """Write pictures of dark discs on a light ground with their label images, and return the folder."""
    rng = np.random.default_rng(0)
    for sub in ("images", "labels"):
        (folder / sub).mkdir(parents=True)
    y, x = np.mgrid[:48, :48]
    for number in range(count):
        inside = np.zeros((48, 48), bool)
        for _ in range(4):
            cy, cx, radius = (*rng.integers(6, 42, 2), rng.integers(4, 8))
            inside |= (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        ground = np.where(inside[..., None], (90, 40, 130), (230, 200, 220))
        image = ground + rng.integers(-12, 12, (48, 48, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{number:02}.png")
        Image.fromarray(inside.astype(np.uint8)).save(folder / "labels" / f"{number:02}.png")
    return folder


def write_config(folder: Path, **changes: object) -> Path:
    """Write the configuration of a small training on `write_discs`, with some fields changed."""
    content = dict(DISCS)
    for field, value in changes.items():
        before = content.get(field, {})
        if field == "recipe" and isinstance(value, dict) and "name" in value:  # of other numbers
            before = {}
        content[field] = {**before, **value} if isinstance(value, dict) else value  # type: ignore[dict-item]
    file = folder / "training.toml"
    file.write_text(toml(content))
    return file


class LabelledArrays:
    """Images (h, w, 3) with labels (h, w): an `ImageSet`."""

    def __init__(
        self,
        images: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        classes: ClassTable = TWO,
        mpp: float | None = 0.5,
    ) -> None:
        self._images, self._labels, self._mpp = images, labels, mpp
        self.classes = classes
        self.items = tuple(Item(f"image {number}") for number in range(len(images)))

    def image(self, index: int) -> np.ndarray:
        return self._images[index]

    def labels(self, index: int) -> np.ndarray:
        return self._labels[index]

    def mpp(self, index: int) -> float | None:
        return self._mpp


class GradedArrays:
    """Images (h, w, 3) of one class each: a `GradedSet`."""

    def __init__(
        self,
        images: Sequence[np.ndarray],
        grades: Sequence[int],
        classes: ClassTable = TWO,
        mpp: float | None = 0.5,
    ) -> None:
        self._images, self._grades, self._mpp = images, grades, mpp
        self.classes = classes
        self.items = tuple(Item(f"image {number}") for number in range(len(images)))

    def image(self, index: int) -> np.ndarray:
        return self._images[index]

    def grade(self, index: int) -> int:
        return self._grades[index]

    def mpp(self, index: int) -> float | None:
        return self._mpp


def divided(images: LabelledArrays | GradedArrays, training: int) -> TrainingData:
    """The first so many are trained on, the others held out."""
    names = [item.name for item in images.items]
    parts = {"train": tuple(names[:training]), "validation": tuple(names[training:])}
    return TrainingData(images, Split(by="image", seed=0, parts=parts))


class KilledError(BaseException):
    """Ends a training as a kill does: nothing is written any more."""


def kill(phase: Phase, epoch: int, step: int) -> None:
    """Let a phase die before a step."""
    make: Callable[[Turn, Mapping[str, Batch]], Mapping[str, float]] = phase.step

    def step_or_die(turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        if (turn.epoch, turn.step) == (epoch, step):
            raise KilledError
        return make(turn, batches)

    phase.step = step_or_die  # type: ignore[method-assign]


def fabric() -> Fabric:
    """One CPU."""
    return Fabric(accelerator="cpu", devices=1)


def fit(folder: Path, recipe: Recipe, plan: Plan, told: list[TrainingProgress] | None = None) -> Place:
    """Train a plan on the CPU."""
    folder.mkdir(exist_ok=True)
    trainer = Trainer(
        fabric(),
        Settings(device="cpu"),
        folder,
        recipe.seed,
        largest_gradient=recipe.largest_gradient,
        on_progress=None if told is None else told.append,
    )
    return trainer.fit(plan.network, plan.phases)


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([item.detach().flatten().double() for item in network.state_dict().values()])


def card_of(plan: Plan) -> ModelCard:
    """The card of a trained plan, with the texts that a person gives."""
    return ModelCard.model_validate(
        {
            "name": "trained",
            "title": "Trained",
            "summary": "Trained in a test.",
            "training": TrainingRecord(data="drawn", split="by image"),
            "scores": {},
            "licence": "BSD-3-Clause",
            "limits": "Nothing.",
            "weights_sha256": "0" * 64,
            **plan.card,
        }
    )
