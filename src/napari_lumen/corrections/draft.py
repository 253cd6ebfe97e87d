"""Edit windows that are not committed yet, kept on disk so that a crash costs seconds."""

from __future__ import annotations

import shutil
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.corrections.images import Pixels, read_png, write_png
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Pair
from napari_lumen.holding import held, write_text

INTERVAL = 3.0  # s between two savings: with the time that one takes, well below the 10 s that we promise
_RECORD, _BEFORE, _AFTER = "draft.json", "before.png", "after.png"


class DraftRecord(BaseModel):
    """What is known of an edit window that was not committed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slide: str = Field(description="Path or URL of the slide.")
    fingerprint: str = Field(description="Of the slide.")
    mpp: Pair = Field(description="µm per level-0 pixel of the slide, (y, x).")
    classes: ClassTable = Field(description="Of the labels.")
    folder: Path = Field(description="Where the window is to be committed.")
    run: Path | None = Field(description="Folder of the run that is corrected; None without one.")
    shape: tuple[int, int] = Field(description="Rows and columns of the window.")
    step: Pair = Field(description="Level-0 pixels per pixel of the window, (y, x).")
    origin: Pair = Field(description="Upper left edge on the slide, level-0 px (y, x).")
    author: str = Field(description="Who was correcting.")
    begun: str = Field(description="When the window was opened, ISO 8601.")

    @property
    def grid(self) -> Grid:
        """The window's pixels, laid on the slide."""
        return Grid(self.shape, self.step, self.origin)


class Draft:
    """One edit window on disk, held by this process until it is released, discarded, or the process ends.

    Parameters
    ----------
    folder : Path
        Its own; see `begin` and `resume`.
    record : DraftRecord
    """

    def __init__(self, folder: Path, record: DraftRecord, holding: ExitStack) -> None:
        self.folder = folder
        self.record = record
        self._holding = holding

    @classmethod
    def begin(cls, record: DraftRecord, before: Pixels, root: Path | None = None) -> Draft:
        """Begin a draft of a window that was opened with these labels.

        Raises
        ------
        RunError
            When it cannot be written.
        """
        folder = (root or user_drafts()) / uuid.uuid4().hex
        holding = ExitStack()
        try:
            folder.mkdir(parents=True)
            holding.enter_context(held(folder))
            write_png(folder / _BEFORE, before)
            write_text(folder / _RECORD, record.model_dump_json(indent=1) + "\n")
        except (OSError, RunError) as error:
            holding.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise _not_kept(folder, error) from error
        return cls(folder, record, holding)

    @classmethod
    def resume(cls, folder: Path) -> Draft:
        """Take up a draft that nobody holds.

        Raises
        ------
        RunError
            When somebody holds it, or it is damaged.
        """
        holding = ExitStack()
        holding.enter_context(held(folder, "It is open in another window: go on there."))
        try:
            return cls(folder, _read_record(folder), holding)
        except BaseException:
            holding.close()
            raise

    @property
    def before(self) -> Pixels:
        """The labels as the window was opened, uint8 (h, w)."""
        return read_png(self.folder / _BEFORE)

    @property
    def after(self) -> Pixels:
        """The labels as they were last saved, uint8 (h, w)."""
        return read_png(self.folder / _AFTER)

    def save(self, after: Pixels) -> None:
        """Save the labels as they are now; the last saving stays where this fails.

        Raises
        ------
        RunError
            When they cannot be written.
        """
        try:
            write_png(self.folder / _AFTER, after)
        except OSError as error:
            raise _not_kept(self.folder, error) from error

    def release(self) -> None:
        """Let go of it, to be offered back at the next start."""
        self._holding.close()

    def discard(self) -> None:
        """Delete it."""
        with suppress(OSError):
            (self.folder / _RECORD).unlink()  # from now on it is none, whatever happens next
        self._holding.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def user_drafts() -> Path:
    """Return the folder of this user's drafts: where runs lie may be full, or not writable."""
    return platformdirs.user_data_path("napari-lumen") / "drafts"


def abandoned_drafts(root: Path | None = None) -> list[tuple[Path, DraftRecord]]:
    """Return the drafts that hold edits and that no process works on, oldest first."""
    place = root or user_drafts()
    found = []
    for folder in place.iterdir() if place.is_dir() else ():
        if not (folder / _AFTER).is_file():  # nothing was ever edited, or it is being made
            continue
        with suppress(RunError), held(folder):
            found.append((folder, _read_record(folder)))
    return sorted(found, key=lambda item: item[1].begun)


def _read_record(folder: Path) -> DraftRecord:
    try:
        return DraftRecord.model_validate_json((folder / _RECORD).read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(f"{folder} holds no edits that can be read. Delete that folder.") from error


def _not_kept(folder: Path, error: Exception) -> RunError:
    cause = error.__cause__ if isinstance(error, RunError) else error
    why = getattr(cause, "strerror", None) or cause
    return RunError(
        f"Edits cannot be kept in {folder.parent}: {why}. Free some space: until then a crash "
        "would lose what is not accepted."
    )
