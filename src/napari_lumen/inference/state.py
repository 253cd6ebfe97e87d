"""What is known of a run folder, finished or not."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_lumen.corrections.index import INDEX, CorrectionIndex
from napari_lumen.corrections.subject import FOLDER
from napari_lumen.errors import RunError
from napari_lumen.holding import disk_error, held, holder
from napari_lumen.inference.folder import PLAN_FILE, Identity
from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.run import RUN_FILE, Run, RunRecord, Session
from napari_lumen.inference.work import sessions_of


class RunState(BaseModel):
    """A run folder at this moment."""

    model_config = ConfigDict(frozen=True)

    path: Path = Field(description="The folder.")
    finished: bool = Field(description="Whether there is a record.")
    identity: Identity = Field(description="What run it is of.")
    cells_finished: int = Field(description="Cells that are on disk.")
    failed: dict[str, int] = Field(description="Why tiles could not be read, and how many.")
    sessions: tuple[Session, ...] = Field(
        description="What each has done; of one that was killed, what it had done when it last wrote."
    )
    held_by: str | None = Field(description="Who works on it now.")
    record: RunRecord | None = Field(description="The whole of run.json; None while it is not finished.")

    @property
    def share(self) -> float:
        """How much is finished, in [0, 1]."""
        return 1.0 if self.finished else self.cells_finished / max(1, self.identity.cells)


def run_state(folder: Path) -> RunState:
    """Look at a run folder.

    Raises
    ------
    RunError
        When it holds no run, or its files are damaged.
    """
    try:
        identity = Identity.of(folder)
        record = Run.open(folder).record if (folder / RUN_FILE).exists() else None
        ledger = Ledger(folder, held=False)
        sessions = sessions_of(folder) if record is None else record.sessions
    except OSError as error:
        raise RunError(
            f"{folder} holds no run: {PLAN_FILE} cannot be read ({error.strerror}). Give the folder of a "
            "run; 'napari-lumen runs list DIR' shows those in a folder."
        ) from error
    except (ValidationError, ValueError, KeyError) as error:
        raise RunError(f"The run in {folder} is damaged. Delete the folder, and run it again.") from error
    why: dict[str, int] = {}
    told = [tile.why for tile in record.failed_tiles] if record else ledger.failed.values()
    for reason in told:
        why[reason] = why.get(reason, 0) + 1
    return RunState(
        path=folder,
        finished=record is not None,
        identity=identity,
        cells_finished=len(ledger.covered),
        failed=why,
        sessions=tuple(sessions),
        held_by=holder(folder),
        record=record,
    )


def runs_in(folder: Path) -> list[Path]:
    """Return the run folders in a folder, by name; empty where there is none."""
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if (entry / PLAN_FILE).is_file())


def remove_run(folder: Path, *, force: bool = False) -> None:
    """Delete a run folder.

    Parameters
    ----------
    folder : Path
    force : bool
        Delete what people have corrected in it, too.

    Raises
    ------
    RunError
        When it is none, it holds corrections and `force` is not given, somebody works on it, or it cannot be
        deleted.
    """
    if not (folder / PLAN_FILE).is_file():
        raise RunError(f"{folder} holds no run, so it is left alone. Give the folder of a run.")
    corrected = _corrected_windows(folder)
    if corrected and not force:
        raise RunError(
            f"{folder} holds {corrected}, which no run brings back, so it is left alone. Delete it with "
            f"--force, or keep them first: napari-lumen corrections export {folder} FILE."
        )
    try:
        with held(folder):
            (folder / PLAN_FILE).unlink()  # from now on it is no run, whatever happens next
            shutil.rmtree(folder)
    except OSError as error:
        raise disk_error(folder, error) from error


def _corrected_windows(folder: Path) -> str:
    """Return in words what people have corrected in a run; "" where that is nothing."""
    place = folder / FOLDER
    if not (place / INDEX).is_file():
        return ""
    try:
        count = len(CorrectionIndex.read(place).windows)
    except RunError:  # by a newer version, or damaged: work of hands all the same
        return "corrections made by hand"
    noun = "window" if count == 1 else "windows"
    return f"{count:,} corrected {noun}" if count else ""
