"""The run: its wall time, memory and answering times, beside pure forward, TIAToolbox and an idle window."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

import torch

from bench.report import Report

_PARTS = ("speed", "memory", "response", "panning", "workers", "gpu")


def run(report: Report) -> None:
    """Measure and fill the report."""
    report.remarks.append(
        f"{torch.get_num_threads()} threads of torch on a CPU. Pure forward is the same network, folded and "
        "channels-last, over the same tiles in the same batches, half of them before the run, half after it."
    )
    for part in _PARTS:  # imported when it is its turn: a process measured for its memory has no window
        with tempfile.TemporaryDirectory(prefix="lumen-bench-") as folder:
            importlib.import_module(f"bench.inference.{part}").run(Path(folder), report)
