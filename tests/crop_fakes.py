"""Small images of blue and red discs, for recipes that learn from crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from lightning_fabric import Fabric
from torch import nn

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.training.checkpoint import Place
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.splits import Split
from napari_lumen.training.phase import Phase
from napari_lumen.training.recipe import TrainingData
from napari_lumen.training.settings import Settings
from napari_lumen.training.trainer import Trainer

CLASSES = ClassTable.of([(1, "blue", (0, 0, 255)), (3, "red", (255, 0, 0))])
_COLOURS = {0: (235, 200, 215), 1: (70, 50, 150), 3: (190, 40, 60)}
_ROWS, _COLUMNS = np.mgrid[:48, :48]


class Discs:
    """Eight images of 48 px with discs of two classes, at 0.5 µm: an `ImageSet`."""

    def __init__(self, count: int = 8, values: tuple[int, ...] = (1, 3)) -> None:
        self.classes = CLASSES
        self.items = tuple(Item(f"disc {number}") for number in range(count))
        rng = np.random.default_rng(5)
        self.truth = [disc_labels(rng, values) for _ in self.items]
        self._images = [disc_image(labels, rng) for labels in self.truth]

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        return self._images[index]

    def labels(self, index: int) -> npt.NDArray[np.uint8]:
        return self.truth[index]

    def mpp(self, index: int) -> float | None:
        return 0.5


def disc_labels(rng: np.random.Generator, values: tuple[int, ...] = (1, 3)) -> npt.NDArray[np.uint8]:
    """Labels of two discs of each class."""
    labels = np.zeros((48, 48), np.uint8)
    for value in values * 2:
        y, x = rng.uniform(6, 42, 2)
        labels[np.hypot(_ROWS - y, _COLUMNS - x) < rng.uniform(5, 8)] = value
    return labels


def disc_image(labels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The picture of labels, with noise."""
    table = np.zeros((256, 3))
    for value, colour in _COLOURS.items():
        table[value] = colour
    return np.clip(table[labels] + rng.normal(0, 8, (*labels.shape, 3)), 0, 255).astype(np.uint8)


def disc_data(images: Discs | None = None, *, search: bool = False) -> TrainingData[Discs]:
    """The discs, five of them to learn from and one to two for each other part."""
    images = images or Discs()
    names = [item.name for item in images.items]
    parts = {"train": tuple(names[:5]), "validation": tuple(names[5:7])}
    if search:
        parts["search"] = tuple(names[7:])
    return TrainingData(images, Split(by="image", seed=1, parts=parts))


class KilledError(BaseException):
    """Ends a training as a kill does: nothing is written any more."""


def fit(folder: Path, network: nn.Module, phases: tuple[Phase, ...], *, every_step: bool = False) -> Place:
    """Train in a folder, with a checkpoint at each step or at each epoch."""
    folder.mkdir(exist_ok=True)
    settings = Settings(device="cpu", workers=0, checkpoint_seconds=1e-9 if every_step else 60)
    return Trainer(Fabric(accelerator="cpu", devices=1), settings, folder, seed=7).fit(network, phases)
