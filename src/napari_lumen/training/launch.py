"""Start the work of a training on one device here, or on several, each in a process of its own."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.queues import SimpleQueue
from threading import Event
from typing import Any, TypeVar

import torch.distributed
import torch.multiprocessing
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessException

from napari_lumen.errors import LumenError, RunError, first_line
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.settings import Settings

Tell = Callable[[TrainingProgress], None]
T = TypeVar("T")
Work = Callable[[Fabric, Tell, Event], T]
_POLL = 0.1  # seconds between looks at whether the user cancelled


def launch(settings: Settings, work: Work[T], on_progress: Tell, cancel: Event) -> T:
    """Do some work with a launched Fabric and return what the first device returns.

    Parameters
    ----------
    settings : Settings
    work : callable
        Takes the Fabric, whom to tell of progress, and what is set to cancel. For several devices it must
        be one that can be pickled: it is called in a new process for each, and returns no tensors.
    on_progress, cancel
        Of the caller; they stay in this process.

    Raises
    ------
    LumenError
        What the work raised on any device, or that it cannot be pickled.
    """
    device = settings.resolved()
    precision = settings.precision_on(device)
    if settings.devices == 1:
        where: Any = [device.index or 0] if device.type == "cuda" else 1
        fabric = Fabric(accelerator=device.type, devices=where, precision=precision)
        return work(fabric, on_progress, cancel)
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RunError(
            f"This training cannot be sent to {settings.devices} devices: {first_line(error)}. Ask for one "
            "device, or describe the data by a configuration."
        ) from error
    fabric = Fabric(
        accelerator=device.type, devices=settings.devices, strategy="ddp_spawn", precision=precision
    )
    context = torch.multiprocessing.get_context("spawn")
    queue, asked = context.SimpleQueue(), context.Event()
    errors: list[LumenError] = []
    with _joined(queue, asked, on_progress, cancel, errors):
        try:
            result: T = fabric.launch(partial(_worked, work=work, queue=queue, asked=asked))
            return result
        except ProcessException as error:
            failure = error
    if errors:
        raise errors[0]
    raise RunError(
        f"A process of the training ended: {first_line(failure)}. The last checkpoint is kept; the same call "
        "goes on from there."
    ) from failure


def _worked(fabric: Fabric, work: Work[T], queue: SimpleQueue[Any], asked: Any) -> T:
    """Do the work in a process of its own; an error of ours is sent to the caller before it ends all."""
    try:
        result = work(fabric, queue.put, asked)
        fabric.barrier()
        return result
    except LumenError as error:
        queue.put(error)
        raise
    finally:
        # a process that ends with its connections open may be aborted by their threads
        torch.distributed.destroy_process_group()


@contextmanager
def _joined(
    queue: SimpleQueue[Any], asked: Any, tell: Tell, cancel: Event, errors: list[LumenError]
) -> Iterator[None]:
    """Bring progress and errors here, and the wish to cancel there, while the block runs."""
    ended = Event()

    def bring() -> None:
        while (item := queue.get()) is not None:
            if isinstance(item, LumenError):
                errors.append(item)
            else:
                tell(item)

    def ask() -> None:
        while not ended.wait(_POLL):
            if cancel.is_set():
                asked.set()
                return

    threads = [threading.Thread(target=target, daemon=True) for target in (bring, ask)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        queue.put(None)
        for thread in threads:
            thread.join()
