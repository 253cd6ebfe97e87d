"""The engine: tiles are read in threads, go through the network in batches, and are summed into chunks.

A chunk is finished and handed on when its last tile has arrived, so memory is bounded by the frontier of
unfinished chunks, whatever the slide's size.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lumen.errors import Cancelled, SlideError
from napari_lumen.geometry import Window
from napari_lumen.inference.plan import CHUNK, Cell, Plan, blending_window
from napari_lumen.models import Model, record_attention
from napari_lumen.models.folding import folded
from napari_lumen.slides import Slide

Array = npt.NDArray[np.float32]

_READERS = 2
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Chunk:
    """One finished chunk.

    Attributes
    ----------
    cell : (int, int)
        Row and column of the chunk.
    probability : ndarray
        (classes, h, w) float32 in [0, 1]; 0 where no tile answered.
    covered : ndarray
        bool (h, w): where a tile answered.
    attention : dict of str to ndarray
        (h / stride, w / stride) float32, NaN where no tile answered.
    """

    cell: Cell
    probability: Array
    covered: npt.NDArray[np.bool_]
    attention: dict[str, Array]


@dataclass
class _Sum:
    """Weighted sum of what tiles say of one chunk, (channels, h, w), and the sum of weights, (h, w)."""

    value: Array
    weight: Array

    @classmethod
    def empty(cls, channels: int, height: int, width: int) -> _Sum:
        return cls(np.zeros((channels, height, width), np.float32), np.zeros((height, width), np.float32))

    def mean(self, otherwise: float) -> Array:
        known = self.weight > 0
        return np.where(known, self.value / np.where(known, self.weight, 1), np.float32(otherwise))


@dataclass
class _Open:
    """A chunk that still waits for tiles."""

    waiting: int
    probability: _Sum
    attention: dict[str, _Sum] = field(default_factory=dict)


@dataclass(frozen=True)
class _Answer:
    """What the network said of one batch, on the CPU: channels and maps per tile."""

    probability: Array
    attention: dict[str, Array]


class Engine:
    """Runs one model over the tiles of a plan.

    Parameters
    ----------
    slide : Slide
    model : Model
    plan : Plan
    device : torch.device
    batch : int
        Tiles that go through the network together; halved when the device runs out of memory.
    cancel : threading.Event
        Looked at before every batch.

    Attributes
    ----------
    failed : list of Window
        Tiles that could not be read even the second time; what they cover is left open.
    failure : str
        Why the last of them could not be read.
    """

    def __init__(
        self, slide: Slide, model: Model, plan: Plan, device: torch.device, batch: int, cancel: Event
    ) -> None:
        self._slide = slide
        self._card = model.card
        network = folded(model.network)
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._plan = plan
        self._device = device
        self._batch = batch
        self._cancel = cancel
        self._mean = torch.tensor(model.card.input.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(model.card.input.std, device=device).view(1, 3, 1, 1)
        self._window = blending_window(plan.tile, plan.overlap)
        self._pooled: dict[int, Array] = {}
        self._open: dict[Cell, _Open] = {}
        self._remaining = plan.tiles_per_chunk()
        self.failed: list[Window] = []
        self.failure = ""

    def attention_strides(self) -> dict[str, int]:
        """Return how many pixels of the grid one pixel of each stored attention map covers."""
        blank = np.full((1, self._plan.tile, self._plan.tile, 3), 255, np.uint8)
        answer = self._forward(blank)
        return {name: self._stride(maps.shape[-1]) for name, maps in answer.attention.items()}

    def _stride(self, side: int) -> int:
        # tiles start at odd places of a very coarse map: it is then kept at the finest common step
        own = self._plan.tile // side
        return math.gcd(own, self._plan.overlap // 2, self._plan.tile - self._plan.overlap, CHUNK)

    def run(self) -> Iterator[tuple[int, list[Chunk]]]:
        """Yield, after every batch, how many tiles are done and the chunks that it finished.

        Raises
        ------
        Cancelled
            Within one batch of the event.
        """
        tiles = deque(self._plan.tiles)
        done = 0
        with ThreadPoolExecutor(_READERS, thread_name_prefix="lumen-read") as readers:
            ahead: deque[tuple[Window, Future[npt.NDArray[np.uint8] | None]]] = deque()
            try:
                while tiles or ahead:
                    while tiles and len(ahead) < self._batch * (_BATCHES_AHEAD + 1):
                        tile = tiles.popleft()
                        ahead.append((tile, readers.submit(self._read, tile)))
                    batch = [ahead.popleft() for _ in range(min(self._batch, len(ahead)))]
                    images = [(tile, future.result()) for tile, future in batch]
                    if self._cancel.is_set():
                        raise Cancelled("The run was cancelled.")
                    yield done + len(batch), self._process(images)
                    done += len(batch)
            finally:
                readers.shutdown(wait=True, cancel_futures=True)

    def _read(self, tile: Window) -> npt.NDArray[np.uint8] | None:
        for attempt in (1, 2):
            try:
                return self._slide.read_grid(self._plan.grid, tile)
            except SlideError as error:
                if attempt == 2:
                    self.failure = str(error)
                    return None
        return None

    def _process(self, images: Sequence[tuple[Window, npt.NDArray[np.uint8] | None]]) -> list[Chunk]:
        readable = [(tile, pixels) for tile, pixels in images if pixels is not None]
        self.failed += [tile for tile, pixels in images if pixels is None]
        if readable:
            answer = self._forward(np.stack([pixels for _, pixels in readable]))
            for index, (tile, _) in enumerate(readable):
                self._add(tile, answer, index)
        finished = []
        for tile, _ in images:
            finished += [chunk for cell in self._plan.chunks_of(tile) if (chunk := self._arrived(cell))]
        return finished

    def _forward(self, pixels: npt.NDArray[np.uint8]) -> _Answer:
        """Run the network on (N, tile, tile, 3) uint8, in halves when memory does not suffice."""
        try:
            with torch.inference_mode(), record_attention(self._network, *self._card.attention) as maps:
                images = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2)
                images = (images.float().div_(255) - self._mean) / self._std
                with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
                    logits = self._network(images.contiguous(memory_format=torch.channels_last))
                kept = {name: maps[name].float().cpu().numpy()[:, 0] for name in self._card.attention}
                return _Answer(self._probability(logits.float()).cpu().numpy(), kept)
        except torch.OutOfMemoryError:
            if len(pixels) == 1:
                raise
            self._batch = half = len(pixels) // 2
            torch.cuda.empty_cache()
            first, second = self._forward(pixels[:half]), self._forward(pixels[half:])
            return _Answer(
                np.concatenate([first.probability, second.probability]),
                {k: np.concatenate([v, second.attention[k]]) for k, v in first.attention.items()},
            )

    def _probability(self, logits: Tensor) -> Tensor:
        """Return (N, classes, h, w) without the background."""
        if self._card.activation == "sigmoid":
            return logits.sigmoid()
        return logits.softmax(dim=1)[:, 1:]

    def _add(self, tile: Window, answer: _Answer, index: int) -> None:
        attention = {name: self._at_stride(maps[index]) for name, maps in answer.attention.items()}
        for cell in self._plan.chunks_of(tile):
            window = self._plan.chunk_window(cell)
            opened = self._open.get(cell)
            if opened is None:
                classes = answer.probability.shape[1]
                opened = _Open(self._remaining[cell], _Sum.empty(classes, window.height, window.width))
                self._open[cell] = opened
            _accumulate(opened.probability, window, answer.probability[index], tile, self._window, 1)
            for name, (stride, value) in attention.items():
                total = opened.attention.get(name)
                if total is None:
                    size = -(-window.height // stride), -(-window.width // stride)
                    total = opened.attention[name] = _Sum.empty(1, *size)
                _accumulate(total, window, value, tile, self._pooled_window(stride), stride)

    def _at_stride(self, values: Array) -> tuple[int, Array]:
        """Return the stride that a map (h, w) of a tile is kept at, and the map at it, (1, h, w)."""
        stride = self._stride(values.shape[-1])
        repeat = self._plan.tile // stride // values.shape[-1]
        if repeat > 1:
            values = np.kron(values, np.ones((repeat, repeat), np.float32))
        return stride, values[None]

    def _pooled_window(self, stride: int) -> Array:
        """Return the weights of a tile at a map's resolution, computed once."""
        if stride not in self._pooled:
            self._pooled[stride] = _pooled(self._window, stride)
        return self._pooled[stride]

    def _arrived(self, cell: Cell) -> Chunk | None:
        """Count one tile of a chunk; return the chunk when it was the last and any could be read."""
        self._remaining[cell] -= 1
        if self._remaining[cell]:
            return None
        opened = self._open.pop(cell, None)
        if opened is None:
            return None
        return Chunk(
            cell,
            opened.probability.mean(0),
            opened.probability.weight > 0,
            {name: total.mean(math.nan)[0] for name, total in opened.attention.items()},
        )


def _pooled(window: Array, stride: int) -> Array:
    """Reduce weights to a map's resolution by the mean of each block."""
    side = window.shape[0] // stride
    return np.asarray(window.reshape(side, stride, side, stride).mean(axis=(1, 3)), np.float32)


def _accumulate(total: _Sum, chunk: Window, value: Array, tile: Window, weight: Array, stride: int) -> None:
    """Add a tile's part of a chunk; value (channels, h, w) and weight (h, w) have one pixel per `stride`."""
    common = chunk.intersect(tile)
    height, width = -(-common.height // stride), -(-common.width // stride)
    top, left = (common.y - chunk.y) // stride, (common.x - chunk.x) // stride
    y, x = (common.y - tile.y) // stride, (common.x - tile.x) // stride
    inside = weight[y : y + height, x : x + width]
    total.value[:, top : top + height, left : left + width] += (
        value[:, y : y + height, x : x + width] * inside
    )
    total.weight[top : top + height, left : left + width] += inside
