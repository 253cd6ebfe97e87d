"""A training on several devices: here, processes."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from threading import Event

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from napari_lumen.errors import Cancelled, RunError
from napari_lumen.training.launch import Tell, launch
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.settings import Settings
from napari_lumen.training.trainer import Trainer
from training_fakes import LinePhase


def plain_network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def train(
    folder: Path, phase: LinePhase, settings: Settings, fabric: Fabric, tell: Tell, cancel: Event
) -> list[float]:
    network = plain_network()
    Trainer(fabric, settings, folder, 7, on_progress=tell, cancel=cancel).fit(network, (phase,))
    return torch.cat([item.detach().flatten() for item in network.state_dict().values()]).tolist()


@pytest.mark.slow  # processes that import torch
def test_two_devices_learn_what_one_does_tell_their_progress_and_stop_together(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    two = Settings(device="cpu", devices=2)
    phase = LinePhase(size=7, choice=None)  # of seven, one device takes four and the other three
    for name in ("one", "two", "cancelled", "bad"):
        (tmp_path / name).mkdir()
    single = Settings(device="cpu")
    one = launch(single, partial(train, tmp_path / "one", phase, single), lambda event: None, Event())
    told: list[TrainingProgress] = []
    both = launch(two, partial(train, tmp_path / "two", phase, two), told.append, Event())
    assert both == pytest.approx(one, rel=1e-4, abs=1e-6)
    assert {item.event for item in told} == {"phase", "step", "validated"}

    cancel = Event()
    long = LinePhase(epochs=100_000, choice=None)
    with pytest.raises(Cancelled):
        launch(two, partial(train, tmp_path / "cancelled", long, two), lambda event: cancel.set(), cancel)
    assert (tmp_path / "cancelled" / "checkpoint.pt").exists()

    bad = LinePhase(count=8, size=8, poisoned=5)
    with pytest.raises(RunError, match=r"step 1 of epoch 1.*nan.*example 5"):
        launch(two, partial(train, tmp_path / "bad", bad, two), lambda event: None, Event())
    assert set(threading.enumerate()) <= before


def test_more_devices_than_there_are_is_one_sentence() -> None:
    count = torch.cuda.device_count() + 1
    settings = Settings(device="cuda" if torch.cuda.is_available() else "mps", devices=max(2, count))
    with pytest.raises(RunError, match=r"devices|no device"):
        settings.resolved()
