"""The loop that trains: going on, cancel, the best epoch, gradients in parts, losses that are no number."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import nn

from napari_lumen.errors import Cancelled, RunError
from napari_lumen.training.checkpoint import Place
from napari_lumen.training.phase import Choice, Phase
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.settings import Settings
from napari_lumen.training.trainer import Trainer
from training_fakes import LinePhase, small_network


class KilledError(BaseException):
    """Ends a training as a kill does: nothing is written any more."""


def fit(
    folder: Path,
    *phases: Phase,
    settings: Settings | None = None,
    network: nn.Module | None = None,
    told: list[TrainingProgress] | None = None,
    cancel: Event | None = None,
) -> tuple[nn.Module, Place]:
    folder.mkdir(exist_ok=True)
    network = network or small_network()
    trainer = Trainer(
        Fabric(accelerator="cpu", devices=1),
        settings or Settings(device="cpu"),
        folder,
        seed=7,
        on_progress=None if told is None else told.append,
        cancel=cancel,
    )
    return network, trainer.fit(network, phases)


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([item.detach().flatten() for item in network.state_dict().values()])


def kill_at(epoch: int, step: int) -> LinePhase:
    def kill(now_epoch: int, now_step: int) -> None:
        if (now_epoch, now_step) == (epoch, step):
            raise KilledError

    return LinePhase(epochs=10, before_step=kill)


@pytest.mark.parametrize("seconds", [1e-9, 60.0], ids=["a checkpoint a step", "a checkpoint an epoch"])
def test_ten_epochs_are_five_a_kill_and_five(tmp_path: Path, seconds: float) -> None:
    settings = Settings(device="cpu", checkpoint_seconds=seconds)
    whole, _ = fit(tmp_path / "whole", LinePhase(epochs=10), settings=settings)
    for place in ((5, 2), (5, 4), (9, 0)):
        with pytest.raises(KilledError):
            fit(tmp_path / "killed", kill_at(*place), settings=settings)
    resumed, place = fit(tmp_path / "killed", LinePhase(epochs=10), settings=settings)
    assert torch.equal(weights(whole), weights(resumed))
    assert place.phase == 1
    curves = [pd.read_parquet(tmp_path / name / "curves.parquet") for name in ("whole", "killed")]
    pd.testing.assert_frame_equal(*curves)
    assert len(curves[0].query("kind == 'loss'")) == 10 * 5


def test_a_training_killed_from_outside_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, _ = fit(tmp_path / "whole", LinePhase(epochs=12, count=200))
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_training_trainer import fit, LinePhase
fit(Path({str(tmp_path / "killed")!r}), LinePhase(epochs=12, count=200))
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    while not (tmp_path / "killed" / "checkpoint.pt").exists():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    process.wait()
    resumed, _ = fit(tmp_path / "killed", LinePhase(epochs=12, count=200))
    assert torch.equal(weights(whole), weights(resumed))


def test_threads_that_read_ahead_change_nothing(tmp_path: Path) -> None:
    ahead, _ = fit(tmp_path / "a", LinePhase(), settings=Settings(device="cpu", workers=3))
    alone, _ = fit(tmp_path / "b", LinePhase(), settings=Settings(device="cpu", workers=0))
    assert torch.equal(weights(ahead), weights(alone))


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    first, _ = fit(tmp_path, LinePhase())
    told: list[TrainingProgress] = []
    again, _ = fit(tmp_path, LinePhase(), told=told)
    assert torch.equal(weights(first), weights(again))
    assert told == []


def test_cancel_ends_within_a_step_and_the_same_call_goes_on(tmp_path: Path) -> None:
    cancel, made = Event(), []

    def stop(epoch: int, step: int) -> None:
        made.append((epoch, step))
        if (epoch, step) == (1, 3):
            cancel.set()

    whole, _ = fit(tmp_path / "whole", LinePhase())
    with pytest.raises(Cancelled, match="goes on from there"):
        fit(tmp_path / "cancelled", LinePhase(before_step=stop), cancel=cancel)
    assert made[-1] == (1, 3)
    resumed, _ = fit(tmp_path / "cancelled", LinePhase())
    assert torch.equal(weights(whole), weights(resumed))


def test_cancel_is_heard_while_an_example_is_read(tmp_path: Path) -> None:
    cancel, waiting = Event(), Event()

    class Slow(LinePhase):
        def example(self, role: str, index: int, rng: object) -> object:  # type: ignore[override]
            cancel.set()
            waiting.wait(20)
            raise AssertionError("nobody waits for it")

    started = time.monotonic()
    threading.Timer(20, waiting.set).start()
    with pytest.raises(Cancelled):
        fit(tmp_path, Slow(), cancel=cancel, settings=Settings(device="cpu", workers=1))
    assert time.monotonic() - started < 10


def test_gradients_of_parts_are_those_of_the_batch(tmp_path: Path) -> None:
    def net() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    class Exact(LinePhase):
        def loss(self, network: nn.Module, batch: object) -> torch.Tensor:  # type: ignore[override]
            x, y = batch.image.double(), batch.targets["y"].double()  # type: ignore[attr-defined]
            return (network(x) - y).square().mean()

        def validate(self, network: nn.Module, turn: object) -> dict[str, float]:  # type: ignore[override]
            return {"error": 0.0}

    phases = [Exact(batch=7, choice=None) for _ in range(2)]  # the last step has six
    whole, _ = fit(tmp_path / "whole", phases[0], network=net())
    parts, _ = fit(
        tmp_path / "parts", phases[1], network=net(), settings=Settings(device="cpu", micro_batch=3)
    )
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-12, atol=1e-12)


def test_a_loss_that_is_no_number_names_the_step_and_its_examples(tmp_path: Path) -> None:
    network = small_network()
    phase = LinePhase(count=8, batch=8, poisoned=5)
    before = weights(network).clone()
    with pytest.raises(RunError, match=r"step 1 of epoch 1 of phase 'line'.*nan.*example 5"):
        fit(tmp_path, phase, network=network)
    assert torch.equal(weights(network), before)


def test_the_best_epoch_is_kept_and_put_back(tmp_path: Path) -> None:
    scores = iter([0.2, 0.9, 0.9, 0.4])
    seen: list[torch.Tensor] = []

    class Scored(LinePhase):
        def validate(self, network: nn.Module, turn: object) -> dict[str, float]:  # type: ignore[override]
            seen.append(weights(network).clone())
            return {"dice": next(scores)}

    told: list[TrainingProgress] = []
    network, place = fit(tmp_path, Scored(epochs=4, choice=Choice("dice")), told=told)
    assert (place.best, place.best_epoch) == (0.9, 1)
    assert torch.equal(weights(network), seen[1])
    stored = small_network()
    stored.load_state_dict(load_file(tmp_path / "best.safetensors"))
    assert torch.equal(weights(stored), seen[1])
    assert [item.is_best for item in told if item.event == "validated"] == [True, True, False, False]


def test_epochs_before_the_first_that_counts_and_scores_of_nan_are_not_chosen(tmp_path: Path) -> None:
    scores = iter([5.0, float("nan"), 2.0, 1.0])

    class Scored(LinePhase):
        def validate(self, network: nn.Module, turn: object) -> dict[str, float]:  # type: ignore[override]
            return {"dice": next(scores)}

    _, place = fit(tmp_path, Scored(epochs=4, choice=Choice("dice", first_epoch=1)))
    assert (place.best, place.best_epoch) == (2.0, 2)


def test_a_phase_starts_from_the_best_of_the_one_before(tmp_path: Path) -> None:
    scores = iter([0.9, 0.1])
    seen: list[torch.Tensor] = []

    class First(LinePhase):
        def validate(self, network: nn.Module, turn: object) -> dict[str, float]:  # type: ignore[override]
            seen.append(weights(network).clone())
            return {"dice": next(scores)}

    class Second(LinePhase):
        def begin(self, network: nn.Module, turn: object) -> None:  # type: ignore[override]
            seen.append(weights(network).clone())

    fit(tmp_path, First(epochs=2, choice=Choice("dice")), Second(name="second"))
    best, _, start = seen
    assert torch.equal(best, start)


def test_killed_in_the_first_epoch_of_a_later_phase_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    def phases(before_step: Callable[[int, int], None] | None = None) -> tuple[Phase, ...]:
        second = LinePhase(name="second", epochs=2, before_step=before_step, rate=0.001)
        second.choice = Choice("error", best="highest")  # begins anew: the best of the first would win
        return LinePhase(), second

    def die(epoch: int, step: int) -> None:
        if (epoch, step) == (0, 2):
            raise KilledError

    whole, place = fit(tmp_path / "whole", *phases())
    with pytest.raises(KilledError):
        fit(tmp_path / "killed", *phases(die))
    resumed, again = fit(tmp_path / "killed", *phases())
    assert torch.equal(weights(whole), weights(resumed))
    assert (again.best, again.best_phase, again.best_epoch) == (place.best, 1, place.best_epoch)


def test_the_curves_hold_losses_scores_and_rates(tmp_path: Path) -> None:
    class Falling(LinePhase):
        def rates(self, epoch: int) -> dict[str, list[float]]:
            return {"weights": [0.01 / (epoch + 1)]}

    fit(tmp_path, Falling())
    table = pd.read_parquet(tmp_path / "curves.parquet")
    assert list(table.columns) == ["phase", "epoch", "step", "kind", "name", "value"]
    assert table.query("kind == 'rate'")["value"].tolist() == pytest.approx([0.01, 0.005, 0.01 / 3])
    assert table.query("kind == 'score'")["epoch"].tolist() == [0, 1, 2]
    losses = table.query("kind == 'loss'")["value"].to_numpy()
    assert losses[-5:].mean() < losses[:5].mean()


def test_events_tell_phase_epoch_and_step(tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    fit(tmp_path, LinePhase(), told=told)
    assert told[0].event == "phase"
    last_steps = [item for item in told if item.event == "step" and item.step == item.steps]
    assert [(item.epoch, item.steps) for item in last_steps] == [(0, 5), (1, 5), (2, 5)]
    assert set(last_steps[0].values) == {"loss"}


def test_a_training_leaves_the_random_numbers_of_others_alone(tmp_path: Path) -> None:
    network = small_network()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    fit(tmp_path, LinePhase(), network=network)
    assert torch.equal(torch.rand(4), expected)


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"half of it")
    with pytest.raises(RunError, match=r"checkpoint\.pt is damaged.*delete that file"):
        fit(tmp_path, LinePhase())


@pytest.mark.parametrize("content", [b"half of it", None], ids=["damaged", "gone"])
def test_lost_weights_of_the_best_epoch_are_told_before_the_training_goes_on(
    tmp_path: Path, content: bytes | None
) -> None:
    with pytest.raises(KilledError):
        fit(tmp_path, kill_at(3, 1))
    best = tmp_path / "best.safetensors"
    best.unlink() if content is None else best.write_bytes(content)
    made: list[tuple[int, int]] = []
    with pytest.raises(RunError, match=r"best\.safetensors is damaged or gone.*delete checkpoint\.pt"):
        fit(tmp_path, LinePhase(epochs=10, before_step=lambda *place: made.append(place)))
    assert made == []


@pytest.mark.parametrize("event", ["phase", "validated"])
def test_cancel_between_two_epochs_leaves_the_curves_as_they_would_be(tmp_path: Path, event: str) -> None:
    fit(tmp_path / "whole", LinePhase())
    cancel = Event()

    class Told(list[TrainingProgress]):
        def append(self, item: TrainingProgress) -> None:
            if item.event == event:
                cancel.set()

    with pytest.raises(Cancelled):
        fit(tmp_path / "cancelled", LinePhase(), told=Told(), cancel=cancel)
    fit(tmp_path / "cancelled", LinePhase())
    curves = [pd.read_parquet(tmp_path / name / "curves.parquet") for name in ("whole", "cancelled")]
    pd.testing.assert_frame_equal(*curves)


def test_cancel_during_a_validation_keeps_the_epoch(tmp_path: Path) -> None:
    made: list[tuple[int, int]] = []

    class Asked(LinePhase):
        def validate(self, network: nn.Module, turn: object) -> dict[str, float]:  # type: ignore[override]
            raise Cancelled("now")

    with pytest.raises(Cancelled):
        fit(tmp_path, Asked())
    resumed, _ = fit(tmp_path, LinePhase(before_step=lambda epoch, step: made.append((epoch, step))))
    assert made[0] == (1, 0)
    whole, _ = fit(tmp_path / "whole", LinePhase())
    assert torch.equal(weights(whole), weights(resumed))


def test_the_time_left_is_told_once_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_lumen.training.trainer._TOO_SOON", 0.0)
    told: list[TrainingProgress] = []
    fit(tmp_path, LinePhase(), told=told)
    assert told[0].seconds_left is None
    left = [item.seconds_left for item in told if item.event == "step"]
    assert left[-1] == 0
    assert all(seconds is not None and seconds >= 0 for seconds in left)
