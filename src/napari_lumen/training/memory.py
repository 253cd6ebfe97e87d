"""How much memory a piece of work takes at most."""

from __future__ import annotations

from threading import Event, Thread
from types import TracebackType

import psutil  # type: ignore[import-untyped]
import torch

_EVERY = 0.02  # seconds


def resident() -> int:
    """Return the resident set of this process, bytes."""
    return int(psutil.Process().memory_info().rss)


class PeakMemory:
    """The largest resident set of this process while the block runs, and the most that torch held on a GPU.

    The system's own peak is of the whole life of the process: in a window that has shown slides it says
    nothing about a training.

    Parameters
    ----------
    device : torch.device

    Attributes
    ----------
    peak : int
        Bytes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._over = Event()
        self._thread = Thread(target=self._watch, name="lumen-memory", daemon=True)
        self.peak = 0

    @property
    def gpu_peak(self) -> int | None:
        """Bytes that torch held at once on the GPU; None without one."""
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.peak = max(self.peak, int(process.memory_info().rss))
            if self._over.wait(_EVERY):
                return
