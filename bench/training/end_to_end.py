"""An end-to-end step of multi-stage, in processes of its own: memory and time by the number of patches."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from lightning_fabric import Fabric

from bench.peers.alone import memory_mb
from bench.report import Figure, Report
from napari_lumen.models import InputSpec, View, build
from napari_lumen.models.googlenet import IMAGENET_MEAN, IMAGENET_STD
from napari_lumen.training.data.item import Item
from napari_lumen.training.example import Batch
from napari_lumen.training.phase import TRAIN
from napari_lumen.training.recipes.multistage_end_to_end import EndToEndPhase
from napari_lumen.training.recipes.multistage_network import MultiStageInTraining
from napari_lumen.training.recipes.multistage_reading import PatchView
from napari_lumen.training.turn import Turn

_FEW, _MANY = 256, 4096
_PATCH, _CROP, _MAP, _MINI = 64, 56, 64, 64
_FEATURES_MB = 16 * 4 / 1e6  # a vector of sixteen float32 a patch, which the figure leaves aside


class _Slide:
    """One slide of noise, whose patches are drawn when they are read: a `SlideSet`."""

    patch = _PATCH

    def __init__(self, patches: int) -> None:
        self.items = (Item("slide"),)
        self._side = round(patches**0.5)
        self._pixels = np.random.default_rng(0).integers(0, 256, (2 * _PATCH, 2 * _PATCH, 3), np.uint8)

    def cells(self, index: int) -> np.ndarray:
        """Return the labels of the patches, 0 and 1 in turn."""
        return (np.add.outer(np.arange(self._side), np.arange(self._side)) % 2).astype(np.int16)

    def read(self, index: int, row: int, column: int) -> np.ndarray:
        """Return a patch: uint8 (patch, patch, 3)."""
        y, x = row % _PATCH, column % _PATCH
        return self._pixels[y : y + _PATCH, x : x + _PATCH]


def run(report: Report) -> None:
    """Measure and fill the report."""
    few, many = (_alone(patches) for patches in (_FEW, _MANY))
    what = f"end-to-end step, ResNet-18, patches of {_PATCH} px, mini-batches of {_MINI}"
    report.figures += [
        Figure(
            f"peak memory of the process, {what}, {_MANY:,} patches, vectors aside",
            many["peak_mb"] - _MANY * _FEATURES_MB,
            few["peak_mb"] - _FEW * _FEATURES_MB,
            f"{_FEW} patches",
            "MB",
            1.1,
        ),
        Figure(
            f"{what}, {_MANY:,} patches",
            many["step"],
            many["bare"],
            "one forward and backward of the patches",
            "s",
            2.2,
        ),
    ]


def _alone(patches: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.training.end_to_end", str(patches)]
    found: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )
    return found


def main(patches: int) -> None:
    """Make one step and one bare pass, and print seconds and peak memory as JSON."""
    torch.manual_seed(0)
    model = build("multistage", encoder="resnet18", map_size=_MAP, patch=_PATCH, crop=_CROP, width=16)
    network = MultiStageInTraining(model)
    spec = InputSpec(views=(View(size=_PATCH, mpp=0.5),), mean=IMAGENET_MEAN, std=IMAGENET_STD, overlap=0)
    phase = EndToEndPhase(
        name="end to end",
        epochs=1,
        slides=_Slide(patches),
        training=[0],
        validation=[0],
        layout="slide",
        map_size=_MAP,
        view=PatchView(spec, _CROP, 0.75, 1.25),
        extractor_rate=1e-9,
        segmenter_rate=1e-7,
        batch=1,
        mini_batch=_MINI,
    )
    fabric = Fabric(accelerator="cuda" if torch.cuda.is_available() else "cpu", devices=1)
    network.to(fabric.device)
    turn = Turn(fabric, network)
    phase.begin(network, turn)
    turn.use(phase.optimisers(network))
    phase.begin_epoch(network, 0)
    example = Batch.of([phase.example(TRAIN, 0, np.random.default_rng(0))])
    seconds = [_timed(lambda: phase.step(turn, {TRAIN: example})) for _ in range(2)]
    peak = memory_mb("VmHWM") * 1024**2 / 1e6
    bare = [_timed(lambda: _one_pass(network, phase, example, turn)) for _ in range(2)]
    sys.stdout.write(json.dumps({"peak_mb": peak, "step": min(seconds), "bare": min(bare)}) + "\n")


def _one_pass(network: MultiStageInTraining, phase: EndToEndPhase, batch: Batch, turn: Turn) -> None:
    """Read all patches alike and go through the extractor once, forwards and backwards."""
    given = batch.extra[0]
    for _, patches in phase.augmented(given["map"], given["seed"], turn):
        phase.extracted(turn, patches, with_graph=True).sum().backward()
    network.zero_grad(set_to_none=True)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]))
