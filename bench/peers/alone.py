"""A run in a process of its own: its wall time and its peak memory. Imports nothing but Python's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Alone:
    """What was measured.

    Attributes
    ----------
    seconds : float
        Of the run, without imports and loading the model.
    peak_mb : float
        Most memory of the process, over what it held before the run.
    tiles : int
        That went through the network.
    """

    seconds: float
    peak_mb: float
    tiles: int


def measure(work: Callable[[], int]) -> None:
    """Measure work that returns its number of tiles, in this process, and print it as the last line."""
    before, start = memory_mb("VmRSS"), time.perf_counter()
    tiles = work()
    found = Alone(time.perf_counter() - start, memory_mb("VmHWM") - before, tiles)
    sys.stdout.write("\n" + json.dumps(asdict(found)) + "\n")


def measured(python: Path, module: str, *arguments: object, path: Sequence[Path] = ()) -> Alone:
    """Run a module that calls `measure` in a process of its own; `path` is put before its search path."""
    environment: Mapping[str, str] = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [python, "-m", module, *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")
    return Alone(**json.loads(done.stdout.splitlines()[-1]))


def memory_mb(field: str) -> float:
    """Return a memory of this process, of those in /proc/self/status.

    `VmHWM`, its peak, and not `ru_maxrss`: a process forked off a large one begins with that one's.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no field {field}")
