"""The trainer beside a bare loop over the same steps, and how long its steps wait for their examples."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Adam

from bench.report import Figure, Report
from bench.timing import interleaved
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.models import InputSpec, View, build
from napari_lumen.models.allocator import memory_kept
from napari_lumen.slides.synthetic import SyntheticSlide
from napari_lumen.training.augmentation import random_flip
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.data.item import Item
from napari_lumen.training.dense import DensePhase
from napari_lumen.training.example import Batch
from napari_lumen.training.framing import Cropped
from napari_lumen.training.losses import masked_cross_entropy
from napari_lumen.training.phase import TRAIN
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.seeds import example_rng, order_rng
from napari_lumen.training.settings import Settings
from napari_lumen.training.trainer import Trainer
from napari_lumen.training.turn import Turn

_IMAGES, _SIDE, _CROP, _BATCH = 64, 512, 256, 4
_ROUNDS = 3
_SEED = 1


class _Images:
    """Fields of a synthetic slide in memory, as those of a cache are: an `ImageSet`."""

    def __init__(self) -> None:
        slide = SyntheticSlide(4096, 4096, mpp=0.5, seed=5)
        places = [(y, x) for y in range(0, 4096, _SIDE) for x in range(0, 4096, _SIDE)][:_IMAGES]
        self._seen = [slide.read(y, x, _SIDE, _SIDE) for y, x in places]
        self._labels = [(slide.truth(y, x, _SIDE, _SIDE).classes > 0).astype(np.uint8) for y, x in places]
        self.classes = ClassTable.of([(1, "nucleus", (0, 190, 255))])
        self.items = tuple(Item(f"{y}-{x}") for y, x in places)

    def image(self, index: int) -> RGB:
        return self._seen[index]

    def labels(self, index: int) -> Labels:
        return self._labels[index]

    def mpp(self, index: int) -> float | None:
        return 0.5


class _Trained(DensePhase):
    """An epoch without its validation, which a bare loop has not."""

    def validate(self, network: nn.Module, turn: Turn) -> Mapping[str, float]:
        return {}


def run(report: Report) -> None:
    """Measure and fill the report."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = _Images()
    spec = InputSpec(views=(View(size=_CROP, mpp=0.5),), overlap=32)
    phase = _Trained(
        name="training",
        epochs=1,
        images=images,
        training=range(_IMAGES),
        validation=[],
        framing=Cropped(_CROP, zoom=1.25),
        spec=spec,
        activation="softmax",
        loss_of=masked_cross_entropy,
        optimiser=_adam,
        batch=_BATCH,
        augment=random_flip,
    )
    network = build("unet", width=16, classes=2)
    fabric = Fabric(accelerator=device, devices=1, precision=Settings().precision_on(torch.device(device)))
    network.to(fabric.device)
    batches = _batches(phase, fabric.device)
    waited: list[float] = []

    def bare() -> None:
        network.train()
        optimiser = fabric.setup_optimizers(_adam(network))
        for batch in batches:
            with fabric.autocast():
                loss = phase.loss(network, batch)
            fabric.backward(loss)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def trained() -> None:
        def tell(event: TrainingProgress) -> None:
            if event.event == "step":
                waited.append(event.waited)

        with tempfile.TemporaryDirectory() as folder:
            Trainer(fabric, Settings(device=device), Path(folder), _SEED, on_progress=tell).fit(
                network, (phase,)
            )

    times = interleaved({"ours": trained, "bare": memory_kept()(bare)}, _ROUNDS)
    what = f"an epoch of {len(batches)} steps, unet(width=16), {_CROP} px, batch {_BATCH}, on {device}"
    report.figures += [
        Figure(
            f"{what}, with reading, augmentation and a checkpoint",
            times["ours"],
            times["bare"],
            "bare loop over ready batches",
            "s",
            1.05,
        ),
        Figure(
            "waiting for examples in that epoch, the worst of all rounds",
            100 * max(waited),
            5.0,
            "the bound",
            "%",
            1.0,
        ),
    ]


def _adam(network: nn.Module) -> Adam:
    return Adam(network.parameters(), 1e-4)


def _batches(phase: DensePhase, device: torch.device) -> Sequence[Batch]:
    """Return what the trainer's epoch goes through."""
    found = []
    for step, draw in enumerate(phase.order(0, order_rng(_SEED, 0, 0))):
        examples = [
            phase.example(TRAIN, index, example_rng(_SEED, 0, 0, step, place))
            for place, index in enumerate(draw[TRAIN])
        ]
        found.append(Batch.of(examples).to(device))
    return found
