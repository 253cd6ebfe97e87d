"""The folder of a run: who holds it, what run it is of, and whether it may go on there."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_lumen.errors import RunError
from napari_lumen.geometry import Pair

PLAN_FILE = "plan.json"
_LOCK_FILE, _HOLDER_FILE = ".lock", ".holder.json"
_ADVICE = "Wait for that run or choose another folder."


class Identity(BaseModel):
    """What makes two runs the same: the answer is a function of these alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, description="Version of the layout of the folder.")
    fingerprint: str = Field(description="Fingerprint of the slide.")
    slide: str = Field(description="Path of the slide when the run was begun.")
    mpp: Pair = Field(description="µm per level-0 pixel (y, x) that the run uses.")
    model: str = Field(description="Name of the model.")
    weights_sha256: str = Field(description="Checksum of the model's weights.")
    card_sha256: str = Field(description="Checksum of what else of the model's card decides the answer.")
    plan_sha256: str = Field(description="Checksum of the grid, the tiles and the area asked for.")
    cells: int = Field(default=0, description="Cells of the plan: how much there is to finish.")

    def difference(self, other: Identity) -> str | None:
        """Return in words in what another run differs; a slide that was only moved is the same."""
        for field, what in (
            ("fingerprint", "another slide"),
            ("model", "another model"),
            ("weights_sha256", "a model of other weights: its file has changed since"),
            ("card_sha256", "a model of another card: its file has changed since"),
            ("mpp", "another pixel size"),
            ("plan_sha256", "another region"),
            ("format", "another version of napari-lumen"),
        ):
            if getattr(self, field) != getattr(other, field):
                return what
        return None


def require_free(folder: Path, *, locked: bool = False) -> None:
    """Check that a folder is new, empty or that of a run.

    Parameters
    ----------
    folder : Path
    locked : bool
        Whether this process holds it. Without that, a folder with a lock is not judged: its holder may just
        be beginning there, and who asks for the lock is told so.

    Raises
    ------
    RunError
        When it is a file or holds something else.
    """
    if folder.is_file():
        raise RunError(f"{folder} is a file. Choose a folder for the run.")
    names = _names(folder)
    if not names - {_LOCK_FILE, _HOLDER_FILE} or PLAN_FILE in names:
        return
    if locked or not (folder / _LOCK_FILE).exists():
        raise RunError(f"{folder} exists and is not an empty folder. Choose another folder for the run.")


def _names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


@dataclass
class Claim:
    """A run folder that this process holds.

    Attributes
    ----------
    fresh : bool
        Whether nothing was in it when the lock was taken: all that is there now was made under the lock.
    abandoned : bool
        Set it to have a fresh folder emptied when the block ends, and removed if it was new.
    """

    fresh: bool
    abandoned: bool = False


@contextmanager
def claimed(folder: Path, advice: str = _ADVICE) -> Iterator[Claim]:
    """Hold a run folder against other processes while the block runs; see `held`.

    Parameters
    ----------
    folder : Path
    advice : str, optional
        What to do when somebody else holds it, a sentence.

    Raises
    ------
    RunError
        When another process or thread holds it, it holds something else, or it cannot be made.
    """
    require_free(folder)
    try:
        made = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from error
    with held(folder, advice):
        require_free(folder, locked=True)
        claim = Claim(fresh=not _names(folder) - {_LOCK_FILE, _HOLDER_FILE})
        try:
            yield claim
        finally:
            if claim.fresh and claim.abandoned:
                _empty(folder)
                _leave(folder, made=made)
    if claim.fresh and claim.abandoned and os.name == "nt":  # where nobody can remove a file that is open
        _leave(folder, made=made)


def _empty(folder: Path) -> None:
    """Remove what is in a folder but its lock, which keeps others out meanwhile."""
    for name in _names(folder) - {_LOCK_FILE}:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
        else:
            with suppress(OSError):
                (folder / name).unlink()


def _leave(folder: Path, *, made: bool) -> None:
    """Remove the lock of an empty folder, and the folder where it was new.

    Whoever has opened the lock in this moment finds it unlinked, and takes it for held.
    """
    with suppress(OSError):
        (folder / _LOCK_FILE).unlink()
        if made:
            folder.rmdir()


@contextmanager
def held(folder: Path, advice: str = _ADVICE) -> Iterator[None]:
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
        lock = FileLock(folder / _LOCK_FILE, timeout=0, thread_local=False)
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
            (folder / _HOLDER_FILE).write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # the lock's own file stays: removing it could let two in
            (folder / _HOLDER_FILE).unlink()
        lock.release()


def holder_note(folder: Path) -> str:
    """Return what the holder of a folder has noted in it: the same wherever that very folder is seen."""
    try:
        return (folder / _HOLDER_FILE).read_text(encoding="utf-8")
    except OSError:
        return ""


def holder(folder: Path) -> str | None:
    """Return in words who holds a folder; None when nobody does."""
    file = folder / _LOCK_FILE
    try:
        if file.exists():
            with FileLock(file, timeout=0):
                pass
    except Timeout:
        return _holder(folder)
    except OSError:  # it cannot be written to: nobody works there from here
        pass
    return None


def user_runs() -> Path:
    """Return the folder of the runs that were given none."""
    return platformdirs.user_data_path("napari-lumen") / "runs"


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


def begin(folder: Path, identity: Identity) -> None:
    """Note what run a folder is of, or check that it is of this one.

    Raises
    ------
    RunError
        When it holds another run.
    """
    file = folder / PLAN_FILE
    try:
        if file.exists():
            difference = Identity.model_validate_json(file.read_bytes()).difference(identity)
            if difference is None:
                return
            raise RunError(
                f"{folder} holds a run of {difference}. Choose another folder, or delete that one "
                "to begin anew."
            )
        write_text(file, identity.model_dump_json(indent=2) + "\n")
    except ValidationError as error:
        raise RunError(
            f"{file} is damaged, so the run in that folder cannot go on. Delete the folder or choose another."
        ) from error
    except OSError as error:
        raise disk_error(folder, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a small file that is there whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def disk_error(folder: Path, error: OSError) -> RunError:
    """Return in one sentence that a folder cannot be written, and that nothing finished is lost."""
    return RunError(
        f"The run cannot be written to {folder}: {error.strerror or error}. Free some space or choose "
        "another folder; what is finished stays, and the same call goes on from there."
    )
