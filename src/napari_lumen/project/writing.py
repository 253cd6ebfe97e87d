"""Writing into a project: one process at a time, and names that any disk takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from napari_lumen.errors import ProjectError
from napari_lumen.holding import LOCK_FILE

_PATIENCE = 5.0  # s: others hold the folder for the moment of a change


@contextmanager
def writing(folder: Path, lock: Path | None = None) -> Iterator[None]:
    """Hold a project while its files are written; a disk's error comes as a sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock((lock or folder) / LOCK_FILE, timeout=_PATIENCE):
            yield
    except Timeout as error:
        raise ProjectError(
            f"{folder} is being changed by somebody else: wait a moment, and try again. Nothing was changed."
        ) from error
    except OSError as error:
        raise ProjectError(
            f"The project in {folder} cannot be written: {error.strerror or error}. Make the folder "
            "writable or free some space, and try again; nothing there has changed."
        ) from error


def name_of(text: str) -> str:
    """Return a short name of a slide: that of its file, without what follows its first dot."""
    last = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    return last.partition(".")[0] or last


def file_name(text: str) -> str:
    """Return a text as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._") or "unnamed"
