"""Copies of a network that answer beside each other on a CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fakes import Darkness, model_of
from napari_lumen.errors import Cancelled, RunError
from napari_lumen.inference.forward import Forward
from napari_lumen.inference.lanes import Lanes

CPU = torch.device("cpu")
PIXELS = [np.random.default_rng(0).integers(0, 255, (7, 64, 64, 3), np.uint8)]


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


@pytest.mark.usefixtures("two_cores")
def test_lanes_say_what_one_network_says_and_mix_no_attention() -> None:
    model = model_of(Darkness(), attention=("attention",))
    forward = Forward(model, CPU)
    assert forward.at_once == 2
    said = [forward.submit(PIXELS) for _ in range(8)]
    with torch.inference_mode():
        truth = model.network(torch.from_numpy(PIXELS[0]).permute(0, 3, 1, 2).float() / 255).sigmoid()
    for pending in said:
        answer = pending.result()
        np.testing.assert_allclose(answer.probability, truth, atol=1e-5)
        np.testing.assert_array_equal(answer.attention["attention"], said[0].result().attention["attention"])


@pytest.mark.parametrize(("cores", "count"), [(1, 1), (2, 2), (3, 3), (4, 4), (6, 3), (8, 4), (16, 4)])
def test_lanes_share_the_cores_and_the_weights(cores: int, count: int) -> None:
    before = torch.get_num_threads()
    try:
        lanes = Lanes(nn.Conv2d(3, 1, 1).eval(), CPU, cores, most=4)
        assert lanes.count == count
        threads = {future.result() for future in lanes.map(lambda _: torch.get_num_threads(), range(20))}
        if count > 1:
            assert threads == {cores // count}
            with ThreadPoolExecutor(1) as other:  # a new thread gets what was set last
                assert other.submit(torch.get_num_threads).result() == cores
        with lanes.alone() as network:
            weights = next(network.parameters()).data_ptr()
        for _ in range(count):
            with lanes.network() as network:
                assert next(network.parameters()).data_ptr() == weights
    finally:
        torch.set_num_threads(before)


class Jealous(nn.Module):
    """Has memory for one tile while nothing else computes, and for none beside another."""

    lock: ClassVar[Lock] = Lock()
    alone: ClassVar[list[bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        if not self.lock.acquire(blocking=False):
            self.alone.append(False)
            raise torch.OutOfMemoryError("out of memory")
        try:
            if len(x) > 1:
                raise torch.OutOfMemoryError("out of memory")
            Event().wait(0.01)  # the other lane comes meanwhile
            return (0.5 - x.mean(dim=1, keepdim=True)) * 200
        finally:
            self.lock.release()


@pytest.mark.usefixtures("two_cores")
def test_a_tile_that_finds_no_memory_beside_another_is_tried_alone() -> None:
    answer = Forward(model_of(Jealous()), CPU).submit(PIXELS).result()
    whole = Forward(model_of(Darkness()), CPU).submit(PIXELS).result()
    np.testing.assert_allclose(answer.probability, whole.probability, atol=1e-5)
    assert Jealous.alone  # they did meet


@pytest.mark.usefixtures("two_cores")
def test_a_tile_that_finds_no_memory_alone_is_one_sentence() -> None:
    class Never(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(RunError, match=r"memory of cpu does not suffice for one tile"):
        Forward(model_of(Never()), CPU).submit(PIXELS).result()


@pytest.mark.usefixtures("two_cores")
def test_who_waits_for_a_batch_hears_of_a_cancel_between_its_parts() -> None:
    cancel, asked = Event(), []

    class Asked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            cancel.set()
            Event().wait(0.02)
            return x.mean(dim=1, keepdim=True)

    pixels = [np.zeros((40, 64, 64, 3), np.uint8)]
    pending = Forward(model_of(Asked()), CPU).submit(pixels)
    with pytest.raises(Cancelled):
        pending.result(cancel)
    pending.drop()
    assert sum(asked) < 40


@pytest.mark.usefixtures("two_cores")
def test_what_is_dropped_has_ended() -> None:
    class Counting(nn.Module):
        under_way: ClassVar[list[int]] = []
        ended: ClassVar[list[int]] = []

        def forward(self, x: Tensor) -> Tensor:
            self.under_way.append(1)
            Event().wait(0.02)
            self.ended.append(1)
            return x[:, :1]

    forward = Forward(model_of(Counting()), CPU)
    batches = [forward.submit(PIXELS) for _ in range(5)]
    for batch in batches:
        batch.drop()
    begun = len(Counting.under_way)
    assert len(Counting.ended) == begun < 20  # of four parts a batch
    Event().wait(0.05)
    assert len(Counting.under_way) == begun
