"""Read the examples of the steps ahead in threads, in their order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from functools import partial
from types import TracebackType

from napari_lumen.errors import RunError
from napari_lumen.training.example import Batch, Example
from napari_lumen.training.phase import Draw, Phase
from napari_lumen.training.seeds import example_rng
from napari_lumen.training.turn import Turn

_AHEAD = 2  # steps that are read before they are asked for
_POLL = 0.1  # seconds between looks at whether the training was cancelled

Pending = Callable[[], Example]


class Feeder:
    """Reads examples in threads: slides and images are decoded outside of Python's lock.

    Parameters
    ----------
    seed : int
    workers : int
        Threads; 0 reads each example when it is asked for.

    Attributes
    ----------
    waited : float
        Seconds that steps waited for their examples.
    """

    def __init__(self, seed: int, workers: int) -> None:
        self._seed = seed
        self._pool = ThreadPoolExecutor(workers, "examples") if workers else None
        self.waited = 0.0

    def __enter__(self) -> Feeder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)  # who cancels does not wait

    def steps(
        self, phase: Phase, draws: Sequence[Draw], turn: Turn
    ) -> Iterator[tuple[int, dict[str, Batch]]]:
        """Yield the steps of an epoch from ``turn.step`` on: their number and the batch of each role.

        Of each role's examples this device takes every `turn.world`-th. A step with fewer examples than
        devices, such as the last one of an epoch, is passed over.

        Raises
        ------
        RunError
            When all steps of the epoch have fewer examples than there are devices.
        Cancelled
            When the training is cancelled while it waits.
        """
        if draws and not any(is_shared(draw, turn.world) for draw in draws):
            raise RunError(
                f"The phase {turn.phase_name!r} has too few examples for {turn.world} devices. Ask for fewer "
                "devices, or add examples."
            )
        ahead = _AHEAD if self._pool is not None else 0
        coming: deque[tuple[int, dict[str, list[Pending]]]] = deque()
        steps = (step for step in range(turn.step, len(draws)) if is_shared(draws[step], turn.world))
        while True:
            while len(coming) <= ahead and (step := next(steps, None)) is not None:
                coming.append((step, self._begun(phase, step, draws[step], turn)))
            if not coming:
                return
            step, pending = coming.popleft()
            started = time.monotonic()
            batches = {
                role: Batch.of([read() for read in ours], len(draws[step][role])).to(turn.device)
                for role, ours in pending.items()
            }
            self.waited += time.monotonic() - started
            yield step, batches

    def _begun(self, phase: Phase, step: int, draw: Draw, turn: Turn) -> dict[str, list[Pending]]:
        begun: dict[str, list[Pending]] = {}
        before = 0
        for role, indices in draw.items():
            begun[role] = []
            for place in range(turn.rank, len(indices), turn.world):
                rng = example_rng(self._seed, turn.phase, turn.epoch, step, before + place)
                read = partial(phase.example, role, indices[place], rng)
                begun[role].append(
                    read if self._pool is None else partial(_result, self._pool.submit(read), turn)
                )
            before += len(indices)
        return begun


def is_shared(draw: Draw, devices: int) -> bool:
    """Tell whether every device gets an example of each role in a step."""
    return min(map(len, draw.values())) >= devices


def _result(future: Future[Example], turn: Turn) -> Example:
    while True:
        try:
            return future.result(timeout=_POLL)
        except NotYet:
            if future.done():  # the example's own timeout, of a slow server
                raise
            turn.check()
