"""A network that workers of a cluster can build by its name, of known answer and known speed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import tifffile
from distributed import Worker, WorkerPlugin
from torch import Tensor

from fakes import Darkness, model_of
from napari_lumen.models import registry, save_model

_PATIENCE = 30.0  # s
_LONGER = 2.0  # s, for a cancel to reach the worker


class SlowDarkness(Darkness):
    """Says how dark a pixel is, and takes its time over a batch.

    Over black it waits until there is the file `word`, and a little longer: a run whose slide has a black
    place cannot come to its end before somebody allows it, however late what it has finished is noticed.
    """

    def __init__(self, pause: float = 0.0, word: str = "") -> None:
        super().__init__()
        self.pause = pause
        self.word = word

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.pause)
        held = self.word and not x.is_meta and not Path(self.word).exists()
        if held and bool((x.amax(dim=1) <= 0).any()):
            until = time.monotonic() + _PATIENCE
            while not Path(self.word).exists() and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(_LONGER)
        return super().forward(x)


def teach() -> None:
    """Make the network known in this process."""
    sys.modules["napari_lumen.models.cluster_fakes"] = sys.modules[__name__]
    registry._NETWORKS["slow_darkness"] = ("cluster_fakes", "SlowDarkness")


class Teacher(WorkerPlugin):
    """Makes the network known on workers, those too that take the place of killed ones."""

    def setup(self, worker: Worker) -> None:
        teach()


def write_model(folder: Path, name: str = "known", *, pause: float = 0.0, word: str = "") -> Path:
    known = model_of(SlowDarkness(pause, word), size=256, overlap=32, attention=("attention",))
    arguments = {"pause": pause, "word": word}
    changes = {"name": name, "architecture": "slow_darkness", "arguments": arguments}
    return save_model(folder, known.network, known.card.model_copy(update=changes))


def write_slide(path: Path, height: int, width: int, seed: int = 3) -> Path:
    """Write a slide of random squares of 30 px; one near its last corner is black."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-height // 30), -(-width // 30), 3), np.uint8)
    coarse[-3, -6] = 0
    image = np.kron(coarse, np.ones((30, 30, 1), np.uint8))[:height, :width]
    where = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}  # 0.5 µm
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", compression="deflate", **where)
    return path
