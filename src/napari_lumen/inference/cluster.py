"""Runs on a Dask cluster: blocks of one slide, or slides of a cohort, as tasks of `dask.distributed`."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from napari_lumen.errors import LumenError, RunError, first_line

if TYPE_CHECKING:
    from distributed import Client, Future, SpecCluster

_TIMEOUT = "15s"  # for a scheduler to answer
_LOOK = 0.1  # s between two looks at cancel
# Ctrl-C in a terminal reaches all its processes: this one tells the workers what to do
_DEAF_TO_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
# Dask watches its processes closely, each in each: 5 to 10 % of a core a worker that the networks have not
_CONFIG = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.admin.tick.interval": "200ms",
}
_PATIENCE = 20.0  # s for workers to stop after a cancel; one batch is much less


@contextmanager
def connected(cluster: str | os.PathLike[str] | None, workers: int | None = None) -> Iterator[Crew]:
    """Connect to a Dask cluster, or start workers on this machine, while the block runs.

    Parameters
    ----------
    cluster : str or path, optional
        Address of a scheduler (``tcp://host:8786``), or its scheduler file.
    workers : int, optional
        Processes to start on this machine instead; where there are GPUs, each has one of them.

    Raises
    ------
    RunError
        When the extra ``cluster`` is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise RunError(
            'Workers need dask.distributed: install it with pip install "napari-lumen[cluster]".'
        ) from error
    if (cluster is None) == (workers is None):
        raise RunError("Give the address of a Dask cluster, or a number of workers for this machine: one.")
    if cluster is None:
        with _local(workers or 1) as local, Client(local, set_as_default=False) as client:
            yield Crew(client)
        return
    place = os.fspath(cluster)
    where = {"scheduler_file": place} if Path(place).is_file() else {"address": place}
    try:
        client = Client(**where, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"No Dask scheduler answers at {place}: {first_line(error)}. Start one with 'dask scheduler', or "
            "give its address (tcp://host:8786) or its scheduler file."
        ) from error
    with client:
        yield Crew(client)


def _local(workers: int) -> SpecCluster:
    """Return a cluster of processes on this machine that share its cores, and its GPUs one each."""
    import torch

    if workers < 1:
        raise RunError(f"{workers} workers can do nothing. Give 1 or more.")
    gpus = list(map(str, range(torch.cuda.device_count())))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return local_cluster(
        worker_environments(workers, os.cpu_count() or 1, visible.split(",") if gpus and visible else gpus)
    )


def local_cluster(environments: Sequence[Mapping[str, str]]) -> SpecCluster:
    """Start a worker of one task at a time for each environment, and a scheduler, on this machine.

    Parameters
    ----------
    environments : sequence of mapping
        Variables that are set for each worker, see `worker_environments`.
    """
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    here: dict[str, Any] = {"host": "127.0.0.1", "dashboard": False}
    # the memory of a run is bounded by itself; Dask would bound it by a share of the machine
    each = {
        **here,
        "nthreads": 1,
        "memory_limit": 0,
        "config": _CONFIG,
        "silence_logs": logging.CRITICAL,
        "preload": [_DEAF_TO_CTRL_C],
    }
    spec = {
        index: {"cls": Nanny, "options": {**each, "env": dict(environment)}}
        for index, environment in enumerate(environments)
    }
    scheduler = {"cls": Scheduler, "options": {**here, "port": 0}}
    with dask.config.set(_CONFIG):  # the scheduler and the nannies live in this process
        return SpecCluster(workers=spec, scheduler=scheduler, silence_logs=logging.CRITICAL)


def worker_environments(workers: int, cores: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """Return what is set for each worker of a machine, so that they share its cores, and its GPUs one each.

    Parameters
    ----------
    workers : int
    cores : int
        Of the machine.
    gpus : sequence of str
        Their numbers; empty where there are none.
    """
    threads = str(max(1, cores // workers))
    environments = []
    for index in range(workers):
        environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
        environments.append(environment)
    return environments


@dataclass(frozen=True)
class News:
    """What is heard of a task.

    Attributes
    ----------
    index : int
    what : str
        ``ended``, or what the task told of itself, see `_Task.tell`.
    message : object
        What it told; of a task that has ended, its result, or the LumenError that it ended with.
    """

    index: int
    what: str
    message: Any


class Crew:
    """The workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def size(self) -> int:
        """Workers that are there now."""
        return len(self._client.nthreads())  # scheduler_info leaves some out

    def wait(self, look: Callable[[], None]) -> None:
        """Wait until there is a worker, calling `look` meanwhile; what that raises ends it."""
        while not self.size:
            look()
            sleep(_LOOK)

    def work(
        self,
        function: Callable[..., object],
        topic: str,
        arguments: Sequence[tuple[object, ...]],
        ahead: int | None = None,
    ) -> Generator[News | None]:
        """Send out tasks, and yield what is heard of them, or None now and then when nothing is.

        Closed before its end, it cancels what is under way and waits until the workers have stopped.

        Parameters
        ----------
        function : callable
            Called on a worker with the index of the task and its arguments.
        topic : str
            That tasks tell under.
        arguments : sequence of tuple
            One a task.
        ahead : int, optional
            A task is sent out when the first that has not ended is not further away than so many tasks a
            worker; all at once when left out.
        """
        news: Queue[News] = Queue()
        under_way: dict[int, Future[Any]] = {}
        at_work: dict[int, str] = {}  # addresses of workers

        def hear(event: tuple[float, Mapping[str, Any]]) -> None:
            told = event[1]
            news.put(News(told["index"], told["what"], told["message"]))

        self._client.subscribe_topic(topic, hear)
        try:
            waiting = deque(enumerate(arguments))
            while waiting or under_way:
                reach = len(arguments) if ahead is None or not waiting else ahead * max(1, self.size)
                while waiting and waiting[0][0] < min(under_way, default=waiting[0][0]) + reach:
                    index, values = waiting.popleft()
                    future = self._client.submit(function, index, *values, pure=False, priority=-index)
                    under_way[index] = future
                    future.add_done_callback(partial(_hear, news, index))
                heard = _next(news)
                if heard is None:
                    yield None
                elif heard.what == "begun":
                    at_work[heard.index] = heard.message
                elif heard.what == "stopped":
                    at_work.pop(heard.index, None)
                else:
                    if heard.what == "ended":
                        del under_way[heard.index]
                    yield heard
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self._dismiss(under_way, at_work, news)
                self._client.unsubscribe_topic(topic)

    def _dismiss(
        self, under_way: Mapping[int, Future[Any]], at_work: dict[int, str], news: Queue[News]
    ) -> None:
        """Cancel tasks, and wait until the workers have stopped and closed what they had open."""
        from napari_lumen.inference.worker import forget

        self._client.cancel(list(under_way.values()))
        until = monotonic() + _PATIENCE
        while at_work.keys() & under_way.keys() and monotonic() < until:
            heard = _next(news)
            if heard is not None and heard.what == "stopped":
                at_work.pop(heard.index, None)
            there = self._client.nthreads()
            at_work = {index: address for index, address in at_work.items() if address in there}
        self._client.run(forget, wait=False, on_error="ignore")


def _next(news: Queue[News]) -> News | None:
    try:
        return news.get(timeout=_LOOK)
    except Empty:
        return None


def _hear(news: Queue[News], index: int, future: Future[Any]) -> None:
    news.put(News(index, "ended", _outcome(future)))


def _outcome(future: Future[Any]) -> object:
    """Return the result of a task, or in one sentence why it has none."""
    from distributed.scheduler import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status != "error":
        return RunError(
            "The Dask scheduler was lost, or has dropped the run. What is finished stays: the same call goes "
            "on from there."
        )
    error = future.exception()
    if isinstance(error, LumenError):
        return error
    if isinstance(error, KilledWorker):
        return RunError(
            "Several workers died over the same part of the run, most likely for lack of memory. Give them "
            "more; what is finished stays, and the same call goes on from there."
        )
    if isinstance(error, ImportError):
        return RunError(
            f"A worker cannot begin: {first_line(error)}. Install napari-lumen with the extra 'cluster' on "
            "all machines."
        )
    return RunError(f"A worker failed: {type(error).__name__}: {first_line(error or RuntimeError())}.")
