"""One network on one device: batches of pixels in, probabilities and maps out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lumen.errors import RunError
from napari_lumen.models import Model, ModelCard, record_attention
from napari_lumen.models.folding import folded

Array = npt.NDArray[np.float32]
Batch = Sequence[npt.NDArray[np.uint8]]  # one (N, size, size, 3) array a view

_CPU_BATCH = 4
_CPU_PIXELS = 2 * 256 * 256  # that go through together: of more, a CPU's caches and allocator hold less
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

    def result(self) -> Answer:
        """Wait for the batch and return what was said of it."""


class Forward:
    """A model made ready on a device.

    Parameters
    ----------
    model : Model
    device : torch.device

    Attributes
    ----------
    batch : int
        Tiles that are read and answered together; halved when the device runs out of memory.
    cores : int
        That this process may use.
    at_once : int
        Tiles of a batch that go through the network at once: on a CPU few.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        network = folded(model.network)
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._card = model.card
        self._device = device
        mean, std = (torch.tensor(of, device=device) for of in (model.card.input.mean, model.card.input.std))
        self._factor, self._offset = 1 / (255 * std), -mean / std
        self.batch = _CPU_BATCH
        largest = max(view.size for view in model.card.input.views)
        # a worker with one thread for its network is given one core, but for those that keep a GPU busy
        self.cores = (os.cpu_count() or 1) if device.type != "cpu" else torch.get_num_threads()
        self.at_once = max(1, _CPU_PIXELS // largest**2) if device.type == "cpu" else _MOST

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
        return self.submit(self._blank(1)).result()

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
        count = len(views[0])
        try:
            return self._submit(views)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if count == 1:
                raise RunError(
                    f"The memory of {self._device} does not suffice for one tile of {self._card.title}. "
                    "Close other programs or choose another device."
                ) from error
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self.batch = max(1, min(self.batch, count // 2))
        half = count // 2
        return _Halves(
            self.submit([view[:half] for view in views]), self.submit([view[half:] for view in views])
        )

    def _submit(self, views: Batch) -> Pending:
        if self._device.type == "cuda":
            return _OnItsWay(*self._said(views))
        starts = range(0, len(views[0]), self.at_once)
        said = [self._said([view[start : start + self.at_once] for view in views]) for start in starts]
        return _Ready(
            Answer(
                np.concatenate([probability.cpu().numpy() for probability, _ in said]),
                {name: np.concatenate([maps[name].cpu().numpy() for _, maps in said]) for name in said[0][1]},
            )
        )

    def _said(self, views: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        names = self._card.attention
        nothing: AbstractContextManager[dict[str, Tensor]] = nullcontext({})
        recording = record_attention(self._network, *names) if names else nothing
        with torch.inference_mode(), recording as maps:
            tensors = tuple(self._prepared(view) for view in views)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
                logits = self._network(tensors if len(tensors) > 1 else tensors[0])
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
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


@dataclass(frozen=True)
class _Ready:
    answer: Answer
    ready: bool = True

    def result(self) -> Answer:
        return self.answer


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

    def result(self) -> Answer:
        self._done.synchronize()
        return Answer(
            self._probability.numpy(), {name: values.numpy() for name, values in self._attention.items()}
        )


@dataclass(frozen=True)
class _Halves:
    first: Pending
    second: Pending

    @property
    def ready(self) -> bool:
        return self.first.ready and self.second.ready

    def result(self) -> Answer:
        first, second = self.first.result(), self.second.result()
        return Answer(
            np.concatenate([first.probability, second.probability]),
            {name: np.concatenate([m, second.attention[name]]) for name, m in first.attention.items()},
        )
