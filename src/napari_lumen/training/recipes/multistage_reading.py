"""Patches on their way to the feature extractor: augmented, normalised, read ahead in mini-batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_lumen.models import InputSpec
from napari_lumen.training.augmentation import random_crop, random_enhance
from napari_lumen.training.data.image_set import RGB
from napari_lumen.training.dense import to_input

_READERS = 2  # threads: what they read is decoded while the network computes
_AHEAD = 2  # mini-batches that are read before they are asked for


@dataclass(frozen=True)
class PatchView:
    """How a patch becomes an input of the feature extractor.

    Attributes
    ----------
    spec : InputSpec
        How it is normalised.
    crop : int
        Side of what the extractor sees of a patch in training, px.
    low, high : float
        Factors of saturation, contrast, brightness and sharpness.
    """

    spec: InputSpec
    crop: int
    low: float
    high: float

    def whole(self, patch: RGB) -> Tensor:
        """Return a patch as it is, (3, patch, patch), of which the network sees the middle."""
        return to_input(patch, self.spec)

    def augmented(self, patch: RGB, rng: np.random.Generator) -> Tensor:
        """Return a random part, (3, crop, crop), turned by quarters, mirrored and changed in its colours."""
        seen, _ = random_crop(patch, np.zeros(patch.shape[:2], np.uint8), rng, size=self.crop)
        seen = np.rot90(seen, int(rng.integers(4)))
        if rng.random() < 0.5:
            seen = seen[:, ::-1]
        return to_input(
            random_enhance(np.ascontiguousarray(seen), rng, low=self.low, high=self.high), self.spec
        )


def mini_batches(read: Callable[[int], Tensor], count: int, size: int) -> Iterator[tuple[slice, Tensor]]:
    """Read patches by number, in order, and yield them in mini-batches; at most three are held at once.

    Parameters
    ----------
    read : callable
        Returns patch `n`, called in threads.
    count : int
        How many there are.
    size : int
        Patches of a mini-batch.

    Yields
    ------
    numbers : slice
    patches : Tensor
        (n, 3, h, w) in the memory format that encoders are fastest in.
    """
    places = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    coming: deque[tuple[slice, list[Future[Tensor]]]] = deque()
    pool = ThreadPoolExecutor(_READERS, "patches")
    try:
        for place in [*places, *[None] * _AHEAD]:
            if place is not None:
                numbers = range(place.start, place.stop)
                coming.append((place, [pool.submit(read, number) for number in numbers]))
            if coming and (place is None or len(coming) > _AHEAD):
                ready, patches = coming.popleft()
                stacked = torch.stack([patch.result() for patch in patches])
                del patches
                yield ready, stacked.contiguous(memory_format=torch.channels_last)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
