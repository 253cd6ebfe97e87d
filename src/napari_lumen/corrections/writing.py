"""Writing into a folder of corrections: one process at a time, and a disk's errors as sentences."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import Timeout

from napari_lumen.errors import RunError
from napari_lumen.holding import held

_PATIENCE = 5.0  # s: others hold the folder for the moment of a commit
_ADVICE = "Wait until they have finished, and accept again: nothing is lost."


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a folder, made where it is not there, while its files are written.

    Raises
    ------
    RunError
        When it stays in use, or the disk is full or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _held_soon(folder):
            yield
    except OSError as error:
        raise _not_written(folder, error) from error


@contextmanager
def _held_soon(folder: Path) -> Iterator[None]:
    """Hold a folder as soon as others let go of it; what cannot be written raises OSError."""
    deadline = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held(folder, _ADVICE))
                break
            except RunError as error:
                cause = error.__cause__
                if isinstance(cause, OSError) and not isinstance(cause, Timeout):
                    raise cause from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield


def _not_written(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"The correction cannot be written to {folder}: {error.strerror or error}. Free some space, or make "
        "the folder writable, and try again; nothing there has changed."
    )
