"""Threads that decode tiles, for all who read a slide."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier


def decoding_pool(threads: int) -> ThreadPoolExecutor:
    """Return a pool whose threads all run already.

    Threads take over the priority of the one that starts them: a pool that grows when it is needed would
    get slow ones from whatever reads ahead, or from a run, and the viewer would wait for them ever after.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="lumen-decode")
    running = Barrier(threads + 1)
    for _ in range(threads):
        pool.submit(running.wait)
    running.wait()
    return pool
