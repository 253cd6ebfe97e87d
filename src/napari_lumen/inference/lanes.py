"""Several copies of a network on a CPU, which share their weights, each with a thread of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from queue import SimpleQueue
from threading import Barrier, Lock
from typing import Any, TypeVar

import torch
from torch import nn

from napari_lumen.models.folding import folded

_Given = TypeVar("_Given")
_Said = TypeVar("_Said")


class Lanes:
    """A network, folded and channels-last, that answers several calls at once.

    Two calls on a core each take less time than one call after the other on both: threads that share an
    operation wait for each other after every one.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; it is left as it is.
    device : torch.device
    cores : int
        Of a CPU, to be divided among the lanes.
    most : int
        Lanes; of a GPU one.

    Attributes
    ----------
    count : int
    """

    def __init__(self, network: nn.Module, device: torch.device, cores: int, most: int) -> None:
        threads = -(-cores // most)
        self.count = cores // threads
        first: Any = folded(network, threads)
        first = first.to(device, memory_format=torch.channels_last)
        self._free: SimpleQueue[nn.Module] = SimpleQueue()
        for lane in range(self.count):
            self._free.put(_sharing_weights(first) if lane else first)
        self._turn = Lock()
        self._pool: ThreadPoolExecutor | None = None
        if self.count > 1:
            self._pool = ThreadPoolExecutor(
                self.count, "lumen-network", initializer=_use, initargs=(threads,)
            )
            # a new thread has what was set last in any: let all begin, then set it back
            started = Barrier(self.count)
            list(self._pool.map(lambda _: started.wait(), range(self.count)))
            torch.set_num_threads(cores)

    def map(self, call: Callable[[_Given], _Said], given: Sequence[_Given]) -> list[Future[_Said]]:
        """Call with each of what is given: beside each other, or here and now where there is one lane."""
        if self._pool is not None:
            return [self._pool.submit(call, item) for item in given]
        answered: list[Future[_Said]] = []
        for item in given:
            answered.append(Future())
            answered[-1].set_result(call(item))
        return answered

    @contextmanager
    def network(self) -> Iterator[nn.Module]:
        """Give a network that nothing else uses meanwhile."""
        network = self._free.get()
        try:
            yield network
        finally:
            self._free.put(network)

    @contextmanager
    def alone(self) -> Iterator[nn.Module]:
        """Give a network while no other lane computes, which leaves it all memory there is."""
        with self._turn:
            networks = [self._free.get() for _ in range(self.count)]
        try:
            yield networks[0]
        finally:
            for network in networks:
                self._free.put(network)


def _use(threads: int) -> None:
    """Have operations that this thread calls run on so many threads."""
    torch.get_num_threads()  # else the first operation would take over what is set for new threads
    torch.set_num_threads(threads)


def _sharing_weights(network: nn.Module) -> nn.Module:
    """Return a copy with the same weights and buffers, for another thread to record attention from."""
    same = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    return copy.deepcopy(network, same)
