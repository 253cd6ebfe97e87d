"""The viewer goes first: who runs at a low priority, and who must not."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Thread, get_native_id

import pytest
import torch

from napari_lumen.plugin.priority import come_last, give_way
from napari_lumen.slides.decoding import decoding_pool

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a priority is that of the whole process"
)


def own_priority(_: object = None) -> int:
    return os.getpriority(os.PRIO_PROCESS, get_native_id())


def test_threads_that_decode_are_not_slowed_by_who_asks_first() -> None:
    pool = decoding_pool(2)
    found: list[int] = []

    def ask() -> None:
        come_last()
        found.extend(pool.map(own_priority, range(8)))

    asking = Thread(target=ask)
    asking.start()
    asking.join()
    pool.shutdown()
    assert found == [own_priority()] * 8


def test_a_run_of_the_window_and_its_readers_come_last() -> None:
    found: list[int] = []

    def job() -> None:
        give_way()
        with ThreadPoolExecutor(1) as readers:
            found.extend([readers.submit(own_priority).result(), torch.get_num_threads()])

    running = Thread(target=job)
    running.start()
    running.join()
    assert found == [max(15, own_priority()), max(1, (os.cpu_count() or 1) - 1)]
