"""What of a slide cannot be decoded: remembered, told of once, and shown hatched."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Window

Pixels = npt.NDArray[Any]
Cell = tuple[int, int, int]  # level, row and column of a tile

_STRIPE = 8  # px
_GREYS = (168, 208)  # of 8 bits
_PASSING_SECONDS = 5.0  # until a disk or a server that did not answer is asked again


class Damage:
    """The tiles of a slide that could not be read.

    Bytes that cannot be decoded stay so. What a disk or the network did not deliver is asked for again
    after some seconds: not at once, for each tile of a view may have to wait for the answer.

    Attributes
    ----------
    passing : SlideError or None
        The last failure of a disk or the network.
    """

    def __init__(self) -> None:
        self.passing: SlideError | None = None
        self._until: dict[Cell, float] = {}
        self._late: set[Cell] = set()
        self._told = False
        self._lock = Lock()

    def __contains__(self, cell: Cell) -> bool:
        return cell in self._late or time.monotonic() < self._until.get(cell, -math.inf)

    def __len__(self) -> int:
        return sum(until == math.inf for until in list(self._until.values()))

    def add(self, cell: Cell, error: SlideError) -> None:
        """Remember a tile by what went wrong."""
        if _is_passing(error.__cause__):
            self.passing = error
            self._until[cell] = time.monotonic() + _PASSING_SECONDS
        else:
            self._until[cell] = math.inf
        self._late.discard(cell)

    def put_off(self, cell: Cell) -> None:
        """Remember a tile that is on its way."""
        self._late.add(cell)

    def lift(self, cell: Cell) -> None:
        """Let a tile be read: it has come."""
        self._until[cell] = time.monotonic()
        self._late.discard(cell)

    def passed(self) -> bool:
        """Whether, since the last question, tiles that were not delivered came or may be asked for again."""
        now = time.monotonic()
        over = [cell for cell, until in list(self._until.items()) if until <= now]
        for cell in over:
            del self._until[cell]
        return bool(over)

    def forget_passing(self) -> None:
        """Ask again for what a disk or the network did not deliver, at once."""
        self.passing = None
        for cell, until in list(self._until.items()):
            if until < math.inf:
                del self._until[cell]

    def tell(self, error: SlideError) -> None:
        """Warn of the first."""
        with self._lock:
            told, self._told = self._told, True
        if not told:
            warnings.warn(f"{error} What cannot be decoded is shown hatched.", UserWarning, stacklevel=2)


def greys_for(samples: int, dtype: np.dtype[Any], seen: Sequence[Pixels]) -> Pixels:
    """Return two greys to hatch with, (2, samples), that stand out from black, from white and each other.

    Of 8 bits they are two light greys. In deeper data they lie at a third and two thirds of what each
    channel shows, for a camera fills a small part of 65,536 values and all above it looks the same; where
    nothing is known of that, of what the type can hold (of 0 to 1 for floats).

    Parameters
    ----------
    samples : int
    dtype : dtype
    seen : sequence of ndarray
        Pixels (h, w, samples) of the slide, such as those of its coarsest level.
    """
    if dtype == np.uint8:
        return np.repeat(np.asarray(_GREYS, dtype)[:, None], samples, axis=1)
    greys = np.empty((2, samples), dtype)
    for sample in range(samples):
        values = np.concatenate([np.ravel(part[..., sample]) for part in seen] or [np.empty(0, dtype)])
        values = values[np.isfinite(values)]
        low, high = (values.min().item(), values.max().item()) if values.size else (0, 0)
        if low == high:
            low, high = (0, np.iinfo(dtype).max) if dtype.kind in "ui" else (0.0, 1.0)
        greys[:, sample] = [type(low)(low + (high - low) * part / 3) for part in (1, 2)]
    return greys


def hatch(window: Window, greys: Pixels) -> Pixels:
    """Return stripes of two greys (2, samples) over a window, continuous from window to window."""
    rows, columns = np.ogrid[window.y : window.y + window.height, window.x : window.x + window.width]
    return np.asarray(greys[((rows + columns) // _STRIPE + 1) % 2])


def _is_passing(cause: BaseException | None) -> bool:
    """Whether a failure is one of a disk or the network; codecs raise an OSError too, without a number."""
    if isinstance(cause, ConnectionError | TimeoutError):
        return True
    return isinstance(cause, OSError) and cause.errno is not None
