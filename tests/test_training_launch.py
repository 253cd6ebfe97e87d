"""A training on several devices: here, processes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from napari_lumen.errors import Cancelled, RunError
from napari_lumen.training.config import TrainingConfig
from napari_lumen.training.example import Batch
from napari_lumen.training.feeding import Feeder
from napari_lumen.training.job import Job
from napari_lumen.training.launch import Tell, launch
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.settings import Settings
from napari_lumen.training.trainer import Trainer
from napari_lumen.training.turn import Turn
from training_fakes import LinePhase
from training_pictures import write_config, write_discs


def plain_network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def train(
    folder: Path, phase: LinePhase, settings: Settings, fabric: Fabric, tell: Tell, cancel: Event
) -> list[float]:
    network = plain_network()
    Trainer(fabric, settings, folder, 7, on_progress=tell, cancel=cancel).fit(network, (phase,))
    return torch.cat([item.detach().flatten() for item in network.state_dict().values()]).tolist()


def both(folder: Path, settings: Settings, fabric: Fabric, tell: Tell, cancel: Event) -> list[list[float]]:
    """Train twice on the same devices: to start their processes is what takes long."""
    plain = LinePhase(batch=7, choice=None)  # of seven, one device takes four and the other three
    phases = {"plain": plain, "labelled": PartlyLabelled()}
    for name in phases:
        (folder / name).mkdir(parents=True, exist_ok=True)  # each of them comes by here
    return [train(folder / name, phase, settings, fabric, tell, cancel) for name, phase in phases.items()]


class PartlyLabelled(LinePhase):
    """Only the first example of a step has a label: one of two devices has none."""

    def step(self, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        batch = batches["train"]
        labelled = [float(place == 0 and turn.rank == 0) for place in range(len(batch))]
        batch.targets["labelled"] = torch.tensor(labelled)[:, None]  # type: ignore[index]
        return turn.descend("weights", batch, self.loss, weight=self.labelled)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        errors = (network(batch.image) - batch.targets["y"]).square() * batch.targets["labelled"]
        return errors.sum() / max(1, self.labelled(batch))

    @staticmethod
    def labelled(batch: Batch) -> int:
        return int(batch.targets["labelled"].sum())


@pytest.mark.slow  # processes that import torch
def test_two_devices_learn_what_one_does_tell_their_progress_and_stop_together(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    two = Settings(device="cpu", devices=2)
    for name in ("cancelled", "bad"):
        (tmp_path / name).mkdir()
    single = Settings(device="cpu")
    alone = launch(single, partial(both, tmp_path / "one", single), lambda event: None, Event())
    told: list[TrainingProgress] = []
    together = launch(two, partial(both, tmp_path / "two", two), told.append, Event())
    for found, wanted in zip(together, alone, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert {item.event for item in told} == {"phase", "step", "validated"}

    cancel = Event()
    long = LinePhase(epochs=100_000, choice=None)
    with pytest.raises(Cancelled):
        launch(two, partial(train, tmp_path / "cancelled", long, two), lambda event: cancel.set(), cancel)
    assert (tmp_path / "cancelled" / "checkpoint.pt").exists()

    bad = LinePhase(count=8, batch=8, poisoned=5)
    with pytest.raises(RunError, match=r"step 1 of epoch 1.*nan.*example 5"):
        launch(two, partial(train, tmp_path / "bad", bad, two), lambda event: None, Event())
    assert set(threading.enumerate()) <= before


def test_more_devices_than_a_step_has_examples_is_refused(tmp_path: Path) -> None:
    write_discs(tmp_path / "data")
    config = TrainingConfig.read(write_config(tmp_path, settings={"device": "cpu", "devices": 3}))
    images = config.data.open()
    with pytest.raises(RunError, match=r"phase 'training' has 2 examples, too few for 3 devices\. Ask"):
        Job(config, config.make_recipe(), images, config.split.divide(images), tmp_path).plan()
    turn = cast(Turn, SimpleNamespace(world=3, phase_name="line", step=0))
    with Feeder(0, 0) as feeder, pytest.raises(RunError, match="'line' has too few examples for 3"):
        next(feeder.steps(LinePhase(), [{"train": [0, 1]}], turn))


def test_more_devices_than_there_are_is_one_sentence() -> None:
    count = torch.cuda.device_count() + 1
    settings = Settings(device="cuda" if torch.cuda.is_available() else "mps", devices=max(2, count))
    with pytest.raises(RunError, match=r"devices|no device"):
        settings.resolved()
