"""The folder of an unfinished conversion: what is asked for, what is done, and the tiles themselves."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import IO, Any

from napari_lumen.errors import SlideError

_JOB, _LEDGER, _TILES, _LOCK = "job.json", "ledger.jsonl", "tiles.bin", "lock"
_MADE = "made"  # holds the name of the whole, before that is moved out

Place = tuple[int, int]  # offset and length in the file of tiles
Key = tuple[int, ...]


class WorkFolder:
    """A folder beside the target, from which a conversion goes on wherever it was killed.

    Tiles are appended to one file. When those of a block are all there, a line of the ledger says so; what
    the ledger does not know of is cut off when the folder is opened again.

    Parameters
    ----------
    target : Path
        What is to be written in the end.
    job : dict
        Source and arguments, in JSON's types. A folder of another job is emptied.

    Attributes
    ----------
    path : Path
    done : set of str
        Keys of the blocks that are finished.
    places : dict
        Where each tile lies, by its key.

    Raises
    ------
    SlideError
        When another conversion is at it.
    """

    def __init__(self, target: Path, job: dict[str, Any]) -> None:
        self.path = work_path(target)
        self.path.mkdir(exist_ok=True)
        self._guard = (self.path / _LOCK).open("ab")
        if not _locked(self._guard):
            self._guard.close()
            raise SlideError(
                f"Another conversion is writing {target.name}; wait until it is done, or stop it."
            )
        try:
            self._open(job)
        except BaseException:
            self._guard.close()
            raise

    def _open(self, job: dict[str, Any]) -> None:
        self.done: set[str] = set()
        self.places: dict[Key, Place] = {}
        self._write_lock = Lock()
        file = self.path / _JOB
        if not _same(file, job):
            self._empty()
            partial = file.with_suffix(".partial")
            partial.write_text(json.dumps(job))
            partial.replace(file)
        end = self._replay()
        self._tiles = (self.path / _TILES).open("r+b" if (self.path / _TILES).exists() else "w+b")
        self._tiles.truncate(end)
        self._end = end
        self._ledger = (self.path / _LEDGER).open("ab")

    def _replay(self) -> int:
        """Read the ledger up to a line that was cut off; return how many bytes of the tiles it knows."""
        file = self.path / _LEDGER
        size = (self.path / _TILES).stat().st_size if (self.path / _TILES).exists() else 0
        whole = end = 0
        for line in file.read_bytes().splitlines(keepends=True) if file.exists() else ():
            try:
                entry = json.loads(line)
                stored: int = entry["end"]
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n") or stored > size:  # a machine that went down may have lost tiles
                break
            end, whole = stored, whole + len(line)
            self.done.add(entry["block"])
            self.places.update({tuple(key): (offset, length) for key, offset, length in entry["tiles"]})
        if file.exists():
            os.truncate(file, whole)
        return end

    def _empty(self) -> None:
        for item in self.path.iterdir():
            if item.name == _LOCK:
                continue
            if item.is_dir():
                shutil.rmtree(item)
            else:
                item.unlink()

    def append(self, data: bytes) -> Place:
        """Add the bytes of a tile; from any thread."""
        with self._write_lock:
            place = (self._end, len(data))
            self._tiles.seek(self._end)
            self._tiles.write(data)
            self._end += len(data)
            return place

    def read(self, place: Place) -> bytes:
        """Return the bytes of a tile; from any thread."""
        with self._write_lock:
            self._tiles.seek(place[0])
            return self._tiles.read(place[1])

    def commit(self, block: str, tiles: Iterable[tuple[Key, Place]] = ()) -> None:
        """Record a block, once its tiles have reached the disk."""
        listed = sorted(tiles)
        self._tiles.flush()
        os.fsync(self._tiles.fileno())
        entry = {"block": block, "end": self._end, "tiles": [[key, *place] for key, place in listed]}
        self._ledger.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._ledger.flush()
        self.done.add(block)
        self.places.update(listed)

    def forget(self) -> None:
        """Take nothing for done: what the ledger speaks of is not there."""
        (self.path / _MADE).unlink(missing_ok=True)
        self._ledger.truncate(0)
        self._tiles.truncate(0)
        self._end = 0
        self.done.clear()
        self.places.clear()

    def announce(self, made: Path) -> None:
        """Record that the whole lies in the folder and is about to be moved to the target."""
        (self.path / _MADE).write_text(made.name)

    def close(self) -> None:
        """Leave the folder to the next call."""
        self._tiles.close()
        self._ledger.close()
        self._guard.close()

    def remove(self) -> None:
        """Close the folder and remove it."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)


def work_path(target: Path) -> Path:
    """Return where the unfinished conversion to a target lies."""
    return target.with_name(f".{target.name}.part")


def tidied(target: Path, job: dict[str, Any]) -> bool:
    """Remove the folder of a conversion that was killed after its last step; False where there is none."""
    folder = work_path(target)
    try:
        is_put = target.exists() and not (folder / (folder / _MADE).read_text()).exists()
    except OSError:
        return False
    if not (is_put and _same(folder / _JOB, job)):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _same(file: Path, job: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(file.read_text()) == job)
    except (OSError, ValueError):
        return False


def _locked(file: IO[bytes]) -> bool:
    """Take a lock that ends with this process, however that ends; False where another one has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a disk on the network that knows no locks
        return True
    return True
