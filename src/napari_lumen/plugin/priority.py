"""The viewer goes first: what threads that the user does not wait for leave it."""

from __future__ import annotations

import os
import sys
from threading import get_native_id

_LOW_PRIORITY = 15  # of 19: below all that the user waits for


def give_way() -> None:
    """Let the viewer go before the calling thread, and what it starts: it keeps drawing.

    Torch uses every core but one, and the thread and its readers come last where they compete.
    """
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))
    come_last()


def come_last() -> None:
    """Give the calling thread, and those that it starts, a low priority."""
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        os.setpriority(os.PRIO_PROCESS, get_native_id(), _LOW_PRIORITY)
