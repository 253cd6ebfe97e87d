"""Small fields and a small recipe, for tests of the multi-stage recipe."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.models.multistage import MultiStage
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.splits import Split
from napari_lumen.training.recipe import TrainingData
from napari_lumen.training.recipes.multistage import MultiStageRecipe

PATCH, SIDE = 16, 4  # px of a patch, patches along a side of a field
CLASSES = ClassTable.of([(1, "gland", (0, 0, 255)), (3, "tumour", (255, 0, 0))])


class Fields:
    """Fields of 4 x 4 patches: tumour is darker, on one half of a field; what is left of it is normal."""

    def __init__(self, count: int = 8, *, contrast: float = 60, mpp: float | None = 0.5) -> None:
        self.classes = CLASSES
        self.items = tuple(Item(f"field {index}", patient=f"patient {index}") for index in range(count))
        self._contrast, self._mpp = contrast, mpp

    def labels(self, index: int) -> np.ndarray:
        return self._truth(index)

    def _truth(self, index: int) -> np.ndarray:
        side = PATCH * SIDE
        labels = np.full((side, side), index % 2, np.uint8)  # background and glands are both normal
        labels[:, : side // 2] = 3
        return np.ascontiguousarray(np.rot90(labels, index))

    def image(self, index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        labels = self._truth(index)
        noise = rng.normal(0, 40, (*labels.shape, 3))
        return (170 + noise - self._contrast * (labels == 3)[..., None]).clip(0, 255).astype(np.uint8)

    def mpp(self, index: int) -> float | None:
        return self._mpp


class SmallBackbone(nn.Module):
    """An encoder of a few weights, with batch normalisation, in place of a ResNet."""

    widths = (12,)

    def __init__(self, depth: int, pretrained: object, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.layers(x).mean(dim=(2, 3))
        return pooled


class SmallRecipe(MultiStageRecipe):
    """The recipe with that encoder."""

    def _model(self) -> MultiStage:
        with patch("napari_lumen.models.feature_extractor.ResNet", SmallBackbone):
            return super()._model()


def recipe(kind: type[MultiStageRecipe] = SmallRecipe, **numbers: Any) -> MultiStageRecipe:
    """Return the recipe for fields, with few epochs and large rates."""
    small: dict[str, Any] = {
        "tumour": ("tumour",),
        "encoder": "resnet18",
        "patch": PATCH,
        "crop": 14,
        "width": 4,
        "map_size": SIDE,
        "reduction": 2,
        "patch_epochs": 2,
        "patch_batch": 16,
        "patch_rate": 1e-2,
        "map_epochs": 3,
        "map_batch": 3,
        "map_rate": 1e-2,
        "end_to_end_epochs": 2,
        "extractor_rate": 1e-4,
        "segmenter_rate": 1e-3,
        "mini_batch": 5,
        "segmentation_batch": 2,
    }
    return kind(**small | numbers)


def data(fields: Any, held_out: int = 3) -> TrainingData[Any]:
    """Divide fields: the last ones are for validation."""
    names = [item.name for item in fields.items]
    parts = {"train": tuple(names[:-held_out]), "validation": tuple(names[-held_out:])}
    return TrainingData(fields, Split(by="patient", seed=0, parts=parts), "Fields.")


def weights(network: nn.Module) -> Tensor:
    return torch.cat([item.detach().flatten().double() for item in network.state_dict().values()])
