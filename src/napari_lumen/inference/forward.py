"""One network on one device: batches of pixels in, probabilities and maps out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_lumen.errors import Cancelled, RunError
from napari_lumen.inference.lanes import Lanes
from napari_lumen.models import Model, ModelCard, record_attention

Array = npt.NDArray[np.float32]
Batch = Sequence[npt.NDArray[np.uint8]]  # one (N, size, size, 3) array a view

_NO_MEMORY = ("allocate memory", "out of memory", "not enough memory", "bad_alloc")
_FEWEST = 4  # tiles in a batch: of a CPU always, of a GPU until a better number is found
_CPU_PIXELS = 2 * 256 * 256  # that go through together: of more, a CPU's caches and allocator hold less
_LANES = 4  # calls beside each other: each holds the tiles that it works on in memory
_MOST = 64  # tiles in a batch: no GPU was seen to gain beyond
_WORTH = 1.05  # how much faster a doubled batch must be


@dataclass(frozen=True)
class Answer:
    """What the network said of one batch, on the CPU.

    Attributes
    ----------
    probability : ndarray
        (N, classes, h, w) float32 without the background, or (N, classes) for tiles that are classified.
    attention : dict of str to ndarray
        float32: maps (N, h, w), gates of channels (N, C), boxes (N, K, 5), see `AttentionInfo`.
    """

    probability: Array
    attention: dict[str, Array]


class Pending(Protocol):
    """A batch that is on its way."""

    @property
    def ready(self) -> bool:
        """Whether `result` would not wait."""

    def result(self, cancel: Event | None = None) -> Answer:
        """Wait for the batch and return what was said of it; raise Cancelled as soon as that is set."""

    def drop(self) -> None:
        """Let nothing more of it begin, and wait for what is under way."""


class Forward:
    """A model made ready on a device.

    Parameters
    ----------
    model : Model
    device : torch.device
    beside : bool, optional
        Whether a CPU answers calls beside each other, or all its cores one call after the other.

    Attributes
    ----------
    batch : int
        Tiles that are read and answered together; fewer when the device has run out of memory.
    cores : int
        That this process may use.
    at_once : int
        Tiles of a batch that go through the network in one call: on a CPU few, in calls beside each other.
    """

    def __init__(self, model: Model, device: torch.device, *, beside: bool = True) -> None:
        self._card = model.card
        self._device = device
        mean, std = (torch.tensor(of, device=device) for of in (model.card.input.mean, model.card.input.std))
        self._factor, self._offset = 1 / (255 * std), -mean / std
        on_cpu = device.type == "cpu"
        # a worker with one thread for its network is given one core, but for those that keep a GPU busy
        self.cores = torch.get_num_threads() if on_cpu else (os.cpu_count() or 1)
        self._lanes = Lanes(model.network, device, self.cores, most=_LANES if on_cpu and beside else 1)
        self.batch = _FEWEST
        self.at_once = _MOST
        if on_cpu:
            largest = max(view.size for view in model.card.input.views)
            self.at_once = max(1, min(_FEWEST // self._lanes.count, _CPU_PIXELS // largest**2))

    def find_batch(self) -> None:
        """Double the batch of a GPU while that makes a tile faster; a CPU gains nothing from large ones."""
        if self._device.type != "cuda":
            return
        best = 0.0
        size = 1
        while size <= _MOST:
            blank = self._blank(size)
            try:
                self.submit(blank).result()  # the first of a size chooses algorithms
                start = time.perf_counter()
                self.submit(blank).result()
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                break
            rate = size / (time.perf_counter() - start)
            if rate < best * _WORTH:
                break
            best, self.batch = rate, size
            size *= 2

    def blank(self) -> Answer:
        """Return what the network says of one white tile."""
        return self.begin_blank().result()

    def begin_blank(self) -> Pending:
        """Send one white tile through the network."""
        return self.submit(self._blank(1))

    def _blank(self, count: int) -> Batch:
        return [np.full((count, view.size, view.size, 3), 255, np.uint8) for view in self._card.input.views]

    def submit(self, views: Batch) -> Pending:
        """Send a batch through the network, in halves when memory does not suffice.

        Parameters
        ----------
        views : sequence of ndarray
            (N, size, size, 3) uint8, one array a view.

        Raises
        ------
        RunError
            When memory does not suffice for a single tile.
        """
        if self._device.type == "cpu":
            starts = range(0, len(views[0]), self.at_once)
            parts = [[view[start : start + self.at_once] for view in views] for start in starts]
            return _InLanes(self._lanes.map(self._answered, parts))
        try:
            with self._lanes.network() as network:
                said = self._said(network, views)
                return _OnItsWay(*said) if self._device.type == "cuda" else _Ready(_here(*said))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            self._require_less(views, error)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self.batch = max(1, min(self.batch, len(views[0]) // 2))
        return _Halves(*map(self.submit, _halves(views)))

    def _answered(self, views: Batch) -> Answer:
        """Return what a network on the CPU says of some tiles."""
        try:
            with self._lanes.network() as network:
                return _here(*self._said(network, views))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        if len(views[0]) == 1:
            return self._answered_alone(views)
        self.at_once = max(1, min(self.at_once, len(views[0]) // 2))
        self.batch = min(self.batch, self.at_once * self._lanes.count)
        return _joined(*map(self._answered, _halves(views)))

    def _answered_alone(self, views: Batch) -> Answer:
        """Return what a network says of one tile while no other one takes memory."""
        try:
            with self._lanes.alone() as network:
                return _here(*self._said(network, views))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            self._require_less(views, error)
            raise

    def _require_less(self, views: Batch, error: Exception) -> None:
        """Raise unless it was memory that did not suffice, for more than one tile."""
        if not out_of_memory(error):
            raise error
        if len(views[0]) == 1:
            raise RunError(
                f"The memory of {self._device} does not suffice for one tile of {self._card.title}. "
                "Close other programs or choose another device."
            ) from error

    def _said(self, network: nn.Module, views: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        names = self._card.attention
        nothing: AbstractContextManager[dict[str, Tensor]] = nullcontext({})
        recording = record_attention(network, *names) if names else nothing
        with torch.inference_mode(), recording as maps:
            tensors = tuple(self._prepared(view) for view in views)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
                logits = network(tensors if len(tensors) > 1 else tensors[0])
            kept = {name: _of_each_tile(maps[name].float()) for name in names}
            return self._probability(logits.float()), kept

    def _prepared(self, view: npt.NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(view))
        if self._device.type == "cuda":
            pixels = pixels.pin_memory().to(self._device, non_blocking=True)
        else:
            pixels = pixels.to(self._device)
        count, height, width, _ = view.shape
        # a number for each value of a row: broadcasting along an axis of three takes five times as long
        factor, offset = self._factor.repeat(width), self._offset.repeat(width)
        # in place: with a new result, as of `addcmul`, torch takes twenty times as long
        values = pixels.view(count, height, width * 3).float().mul_(factor).add_(offset)
        # (N, h, w, 3) seen as (N, 3, h, w) lies channels-last already
        return values.view(view.shape).permute(0, 3, 1, 2)

    def _probability(self, logits: Tensor) -> Tensor:
        return class_probability(self._card, logits)


def class_probability(card: ModelCard, logits: Tensor) -> Tensor:
    """Return the probability (N, classes, ...) that logits (N, channels, ...) say, a background left out."""
    if card.activation == "sigmoid":
        return logits.sigmoid()
    probability = logits.softmax(dim=1)
    return probability[:, 1:] if card.has_background else probability


def _of_each_tile(recorded: Tensor) -> Tensor:
    """Return recorded attention without the one channel that a spatial map has."""
    return recorded[:, 0] if recorded.dim() == 4 else recorded


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no more memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # of CPUs and of Apple's GPUs torch says so in words alone, which differ by system
    said = str(error)
    return isinstance(error, RuntimeError) and any(words in said for words in _NO_MEMORY)


@dataclass(frozen=True)
class _Ready:
    answer: Answer
    ready: bool = True

    def result(self, cancel: Event | None = None) -> Answer:
        return self.answer

    def drop(self) -> None:
        """Nothing is under way."""


@dataclass(frozen=True)
class _InLanes:
    """Parts of a batch that are answered beside each other."""

    parts: list[Future[Answer]]

    @property
    def ready(self) -> bool:
        return all(part.done() for part in self.parts)

    def result(self, cancel: Event | None = None) -> Answer:
        answers = []
        for part in self.parts:
            answers.append(part.result())
            if cancel is not None and cancel.is_set():
                raise Cancelled("The run was cancelled.")
        return _joined(*answers)

    def drop(self) -> None:
        wait([part for part in self.parts if not part.cancel()])


class _OnItsWay:
    """Copies from the GPU that run while the next batch is computed."""

    def __init__(self, probability: Tensor, attention: Mapping[str, Tensor]) -> None:
        self._probability = probability.to("cpu", non_blocking=True)
        self._attention = {name: values.to("cpu", non_blocking=True) for name, values in attention.items()}
        self._done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._done.record(torch.cuda.current_stream(probability.device))

    @property
    def ready(self) -> bool:
        return bool(self._done.query())

    def result(self, cancel: Event | None = None) -> Answer:
        self._done.synchronize()
        return Answer(
            self._probability.numpy(), {name: values.numpy() for name, values in self._attention.items()}
        )

    def drop(self) -> None:
        self._done.synchronize()


@dataclass(frozen=True)
class _Halves:
    first: Pending
    second: Pending

    @property
    def ready(self) -> bool:
        return self.first.ready and self.second.ready

    def result(self, cancel: Event | None = None) -> Answer:
        return _joined(self.first.result(cancel), self.second.result(cancel))

    def drop(self) -> None:
        self.first.drop()
        self.second.drop()


def _here(probability: Tensor, attention: Mapping[str, Tensor]) -> Answer:
    return Answer(probability.cpu().numpy(), {name: maps.cpu().numpy() for name, maps in attention.items()})


def _halves(views: Batch) -> tuple[Batch, Batch]:
    half = len(views[0]) // 2
    return [view[:half] for view in views], [view[half:] for view in views]


def _joined(*answers: Answer) -> Answer:
    first, *others = answers
    if not others:
        return first
    return Answer(
        np.concatenate([answer.probability for answer in answers]),
        {name: np.concatenate([answer.attention[name] for answer in answers]) for name in first.attention},
    )
