"""The folder of a run: who holds it, what run it is of, and whether it may go on there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_lumen.errors import RunError
from napari_lumen.format_version import newer_version
from napari_lumen.geometry import Pair
from napari_lumen.holding import ADVICE, HOLDER_FILE, LOCK_FILE, disk_error, held, write_text

PLAN_FILE = "plan.json"
_FORMAT = 1  # of this file and of the record


class NewerRunError(RunError):
    """A run was made by a newer version: it is not damaged, and must not be written over."""


class Identity(BaseModel):
    """What makes two runs the same: the answer is a function of these alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=_FORMAT, description="Version of the layout of the folder.")
    fingerprint: str = Field(description="Fingerprint of the slide.")
    slide: str = Field(description="Path of the slide when the run was begun.")
    mpp: Pair = Field(description="µm per level-0 pixel (y, x) that the run uses.")
    model: str = Field(description="Name of the model.")
    model_path: str = Field(default="", description="Where the model lay when the run was begun.")
    weights_sha256: str = Field(description="Checksum of the model's weights.")
    card_sha256: str = Field(description="Checksum of what else of the model's card decides the answer.")
    plan_sha256: str = Field(description="Checksum of the grid, the tiles and the area asked for.")
    cells: int = Field(default=0, description="Cells of the plan: how much there is to finish.")
    mpp_source: Literal["slide", "user"] = Field(
        default="slide", description="Where the pixel size came from when the run was begun."
    )

    @classmethod
    def of(cls, folder: Path) -> Identity:
        """Read what run a folder is of.

        Raises
        ------
        RunError
            When its plan was written by a newer version, or is damaged.
        OSError
            When it cannot be read, or is not there.
        """
        file = folder / PLAN_FILE
        text = file.read_bytes()
        refuse_newer(text, folder)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise RunError(
                f"{file} is damaged, so the run in that folder cannot go on. Delete the folder or choose "
                "another."
            ) from error

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


def refuse_newer(text: bytes, folder: Path) -> None:
    """Raise NewerRunError where a file of a run, JSON, was written by a newer version."""
    if newer_version(text, _FORMAT, "format") is not None:
        raise NewerRunError(
            f"The run in {folder} was made by a newer version of napari-lumen. Update napari-lumen, or "
            "choose another folder."
        )


def require_free(folder: Path, *, locked: bool = False) -> None:
    """Raise RunError unless a folder is new, empty or that of a run.

    One with a lock is not judged before it is `locked` by this process: its holder may just be beginning
    there, and who asks for the lock is told so.
    """
    if folder.is_file():
        raise RunError(f"{folder} is a file. Choose a folder for the run.")
    names = _names(folder)
    if not names - {LOCK_FILE, HOLDER_FILE} or PLAN_FILE in names:
        return
    if locked or not (folder / LOCK_FILE).exists():
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
def claimed(folder: Path, advice: str = ADVICE) -> Iterator[Claim]:
    """Make a run folder where there is none, and hold it, see `held`; RunError also when it is not free."""
    require_free(folder)
    made = make_folder(folder)
    with held(folder, advice):
        require_free(folder, locked=True)
        claim = Claim(fresh=not _names(folder) - {LOCK_FILE, HOLDER_FILE})
        try:
            yield claim
        finally:
            if claim.fresh and claim.abandoned:
                _empty(folder)
                _leave(folder, made=made)
    if claim.fresh and claim.abandoned and os.name == "nt":  # where nobody can remove a file that is open
        _leave(folder, made=made)


def make_folder(folder: Path) -> bool:
    """Make a folder where there is none, and return whether it is new.

    Raises
    ------
    RunError
        When it cannot be made.
    """
    try:
        made = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The folder {folder} cannot be made: {error.strerror or error}. Choose one where you may write."
        ) from error
    return made


def _empty(folder: Path) -> None:
    """Remove what is in a folder but its lock, which keeps others out meanwhile."""
    for name in _names(folder) - {LOCK_FILE}:
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
        (folder / LOCK_FILE).unlink()
        if made:
            folder.rmdir()


def user_runs() -> Path:
    """Return the folder of the runs that were given none."""
    return platformdirs.user_data_path("napari-lumen") / "runs"


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
            difference = Identity.of(folder).difference(identity)
            if difference is None:
                return
            raise RunError(
                f"{folder} holds a run of {difference}. Choose another folder, or delete that one "
                "to begin anew."
            )
        write_text(file, identity.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise disk_error(folder, error) from error
