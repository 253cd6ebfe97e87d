"""Fine-tuning the shipped model of nuclei on corrected windows: what that gains on windows held out."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.papers.shared import SHARED
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.evaluation import dice, panoptic_quality
from napari_lumen.holding import write_text
from napari_lumen.inference.forward import Forward
from napari_lumen.inference.instances import components, split_touching
from napari_lumen.models import load_model
from napari_lumen.models.device import resolve_device
from napari_lumen.training import TrainingConfig, train
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.known import ConsepTiles, consep_patches

SIDE, MPP = 256, 0.5
MODEL = "nuclei-focusnetpp-light"
WINDOWS = 20
NUMBERS: dict[str, Any] = {
    "name": "focusnetpp",
    "arguments": {"preset": "light"},
    "framing": "crop",
    "size": SIDE,
    "mpp": MPP,
    "epochs": 12,
    "batch": 4,
    "rates": [[0, 2e-4], [8, 5e-5]],
}
_SPLIT_SEED = 7
_TEST, _VALIDATION = 6, 4  # tiles


class ConsepWindows:
    """The CoNSeP tiles at 0.5 µm in windows of 256 px, all nuclei as one class: an `ImageSet`."""

    def __init__(self) -> None:
        tiles = ConsepTiles(consep_patches(SHARED / "nuclei_consep"))
        self.classes = ClassTable.of([(1, "nucleus", (0, 190, 255))])
        items, images, labels = [], [], []
        for index, item in enumerate(tiles.items):
            image = _halved(tiles.image(index)).round().astype(np.uint8)
            mask = _halved(tiles.labels(index) > 0) >= 0.5
            for row in (0, image.shape[0] - SIDE):  # 500 px: they overlap by 12
                for column in (0, image.shape[1] - SIDE):
                    place = slice(row, row + SIDE), slice(column, column + SIDE)
                    items.append(Item(f"{item.name}-{row}-{column}", tile=item.name))
                    images.append(image[place])
                    labels.append(mask[place].astype(np.uint8))
        self.items = tuple(items)
        self._images, self._labels = images, labels

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return a window: uint8 (256, 256, 3)."""
        return self._images[index]

    def labels(self, index: int) -> npt.NDArray[np.uint8]:
        """Return 1 for nuclei: uint8 (256, 256)."""
        return self._labels[index]

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel."""
        return MPP


@dataclass(frozen=True)
class FineTuned:
    """What the model came to with one seed, on the same windows before and after."""

    seed: int
    before: dict[str, float]
    after: dict[str, float]
    seconds: float
    numbers: dict[str, Any]
    machine: str
    date: str

    def write(self, folder: Path) -> None:
        """Write it as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.seed}.json"
        write_text(file, json.dumps(asdict(self), indent=1) + "\n")


def fine_tune(images: ConsepWindows, seed: int) -> FineTuned:
    """Fine-tune on 20 windows drawn of the tiles for training; a training that was interrupted goes on."""
    sys.stderr.write(f"fine-tuning: seed {seed}\n")
    parts = divided(images, seed)
    split = {"by": "image", "proportions": {}, "fixed": parts, "within": True}
    config = TrainingConfig.model_validate(
        {
            "name": "nuclei-fine-tuned",
            "recipe": {**NUMBERS, "seed": seed},
            "data": {"kind": "consep", "folder": SHARED / "nuclei_consep"},
            "split": split,
            "start": MODEL,
        }
    )
    folder = Path(tempfile.gettempdir()) / "napari-lumen-papers" / "fine-tuning" / str(seed)
    training = train(
        config, folder, images=_Chosen(images, [name for part in parts.values() for name in part])
    )
    held_out = [index for index, item in enumerate(images.items) if item.name in parts["test"]]
    return FineTuned(
        seed,
        scores(MODEL, images, held_out),
        scores(str(training.model), images, held_out),
        round(training.state.seconds, 1),
        NUMBERS,
        f"{platform.machine()}, {training.state.device}",
        datetime.now(UTC).date().isoformat(),
    )


def divided(images: ConsepWindows, seed: int) -> dict[str, list[str]]:
    """Return the names of the windows by part: tiles are never divided, and those held out are the same."""
    tiles = np.random.default_rng(_SPLIT_SEED).permutation(sorted({str(item.tile) for item in images.items}))
    by_part = {"test": tiles[:_TEST], "validation": tiles[_TEST : _TEST + _VALIDATION]}
    by_part["train"] = tiles[_TEST + _VALIDATION :]
    parts = {
        part: [item.name for item in images.items if item.tile in set(of)] for part, of in by_part.items()
    }
    drawn = np.random.default_rng(seed).choice(parts["train"], WINDOWS, replace=False)
    return {**parts, "train": sorted(drawn.tolist())}


def scores(model: str, images: ConsepWindows, chosen: list[int]) -> dict[str, float]:
    """Return Dice over all pixels and the mean panoptic quality of a model on windows."""
    forward = Forward(load_model(model), resolve_device("cpu"))
    found, qualities = [], []
    for index in chosen:
        probability = forward.submit([images.image(index)[None]]).result().probability[0, 0]
        mask = probability >= 0.5
        found.append(mask)
        numbers = split_touching(components(mask)), split_touching(components(images.labels(index) > 0))
        qualities.append(panoptic_quality(*numbers))
    truth = np.stack([images.labels(index) > 0 for index in chosen])
    return {
        "dice": round(dice(np.stack(found), truth), 5),
        "panoptic quality": round(float(np.mean(qualities)), 5),
    }


def read_results(folder: Path) -> dict[int, FineTuned]:
    """Read what is finished, by seed; what was made by other numbers is left out."""
    found = (FineTuned(**json.loads(file.read_text())) for file in sorted(folder.glob("*.json")))
    return {result.seed: result for result in found if result.numbers == NUMBERS}


class _Chosen:
    """Some of the windows."""

    def __init__(self, images: ConsepWindows, names: list[str]) -> None:
        self._images = images
        self._places = [index for index, item in enumerate(images.items) if item.name in set(names)]
        self.items = tuple(images.items[place] for place in self._places)
        self.classes = images.classes

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        return self._images.image(self._places[index])

    def labels(self, index: int) -> npt.NDArray[np.uint8]:
        return self._images.labels(self._places[index])

    def mpp(self, index: int) -> float | None:
        return MPP


def _halved(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    blocks = pixels.astype(np.float64).reshape(height, 2, width, 2, *pixels.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3)))
