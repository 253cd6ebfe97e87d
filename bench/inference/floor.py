"""The floors of a run: its network over its tiles, with and without reading them, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from napari_lumen.geometry import Region, Window
from napari_lumen.inference.forward import Forward
from napari_lumen.inference.plan import make_plan
from napari_lumen.inference.reading import TileReader, Views
from napari_lumen.models import Model
from napari_lumen.models.allocator import memory_kept
from napari_lumen.models.device import resolve_device
from napari_lumen.models.folding import folded
from napari_lumen.slides import Slide

_TOGETHER = 8  # batches that are made ready before the clock starts


class Floor:
    """The network of a run: folded, channels-last, in batches, with its allocator, one call after another.

    Parameters
    ----------
    slide : Slide
    model : Model
    region : Region, optional

    Attributes
    ----------
    tiles : tuple of Window
        Of the run.
    """

    def __init__(self, slide: Slide, model: Model, region: Region | None = None) -> None:
        self._device = resolve_device("auto")
        plan = make_plan(slide, model.card.input, region)
        self.tiles = plan.tiles
        self._reader = TileReader(slide, plan.grid, model.card.input.views)
        forward = Forward(model, self._device)
        forward.find_batch()
        self._batch, self._at_once = forward.batch, forward.at_once
        network = folded(model.network)
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, tiles: Sequence[Window]) -> float:
        """Return the seconds of the network alone."""
        seconds = 0.0
        read = self._batches(self._reader.read(tile) for tile in tiles)
        with memory_kept():
            while ready := list(islice(read, _TOGETHER)):
                self._wait()
                start = time.perf_counter()
                for batch in ready:
                    self._answer(batch)
                self._wait()
                seconds += time.perf_counter() - start
        return seconds

    def reading_and_forward(self, tiles: Sequence[Window]) -> float:
        """Return the seconds of a bare loop: tiles read ahead in threads, then the network."""
        start = time.perf_counter()
        with memory_kept(), ThreadPoolExecutor(os.cpu_count()) as pool:
            for batch in self._batches(pool.map(self._reader.read, tiles)):
                self._answer(batch)
        self._wait()
        return time.perf_counter() - start

    def one_batch(self) -> float:
        """Return the seconds of one batch."""
        tiles = self.tiles[: self._batch]
        return min(self.forward(tiles) for _ in range(5))

    def _batches(self, read: Iterable[Views | None]) -> Iterator[Tensor]:
        tiles = iter(read)
        while views := [tile for tile in islice(tiles, self._batch) if tile is not None]:
            pixels = torch.from_numpy(np.stack([fine for fine, *_ in views]))
            # seen as (N, 3, h, w) it lies channels-last
            yield pixels.to(self._device).float().div_(255).permute(0, 3, 1, 2)

    def _answer(self, batch: Tensor) -> None:
        on_gpu = self._device.type == "cuda"
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=on_gpu):
            for tiles in batch.split(self._at_once):
                self._network(tiles)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
