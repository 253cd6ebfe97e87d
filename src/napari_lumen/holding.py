"""Folders that one process works in at a time, and small files that are there whole or not at all."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from napari_lumen.errors import RunError

LOCK_FILE, HOLDER_FILE = ".lock", ".holder.json"
ADVICE = "Wait for that run or choose another folder."


@contextmanager
def held(folder: Path, advice: str = ADVICE) -> Iterator[None]:
    """Hold a folder against other processes while the block runs; a killed holder holds it no more.

    Parameters
    ----------
    folder : Path
    advice : str, optional
        What to do when somebody else holds it, a sentence.

    Raises
    ------
    RunError
        When another process or thread holds it, or it cannot be written.
    """
    try:
        lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)
        lock.acquire()
    except Timeout as error:
        raise RunError(f"{folder} is in use: {_holder(folder)}. {advice}") from error
    except OSError as error:
        raise disk_error(folder, error) from error
    try:
        with suppress(OSError):
            holder = {
                "user": _user(),
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            (folder / HOLDER_FILE).write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # the lock's own file stays: removing it could let two in
            (folder / HOLDER_FILE).unlink()
        lock.release()


def holder_note(folder: Path) -> str:
    """Return what the holder of a folder has noted in it: the same wherever that very folder is seen."""
    try:
        return (folder / HOLDER_FILE).read_text(encoding="utf-8")
    except OSError:
        return ""


def holder(folder: Path) -> str | None:
    """Return in words who holds a folder; None when nobody does."""
    file = folder / LOCK_FILE
    try:
        if file.exists():
            with FileLock(file, timeout=0):
                pass
    except Timeout:
        return _holder(folder)
    except OSError:  # it cannot be written to: nobody works there from here
        pass
    return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, in a container
        return "unknown"


def _holder(folder: Path) -> str:
    try:
        holder = json.loads(holder_note(folder))
        user, host, process, since = (holder[key] for key in ("user", "host", "pid", "since"))
        return f"{user} runs there on {host}, process {process}, since {since}"
    except (ValueError, KeyError):
        return "another run writes there"


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give the name of a file that takes the place of `path`, flushed to the disk, when the block ends well.

    When it does not, that file goes: on a full disk its room is needed to say so.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a small file that is there whole or not at all."""
    with appearing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def disk_error(folder: Path, error: OSError) -> RunError:
    """Return in one sentence that a folder cannot be written, and that nothing finished is lost."""
    return RunError(
        f"The results cannot be written to {folder}: {error.strerror or error}. Free some space or choose "
        "another folder; what is finished stays, and the same call goes on from there."
    )
