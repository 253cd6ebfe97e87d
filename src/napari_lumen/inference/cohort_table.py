"""The table of a cohort: a row a slide, in `cohort.json` and `cohort.csv`, whole at any moment."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from napari_lumen.errors import RunError
from napari_lumen.holding import disk_error, write_text
from napari_lumen.inference.folder import PLAN_FILE
from napari_lumen.inference.run import Run

JSON_FILE, CSV_FILE = "cohort.json", "cohort.csv"


class CohortRow(BaseModel):
    """What became of one slide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slide: str = Field(description="Path of the slide, or its URL.")
    model: str = Field(description="Name of the model.")
    status: Literal["finished", "failed", "unfinished"] = Field(
        description="unfinished: the cohort was stopped before its turn, or in it."
    )
    run: str | None = Field(default=None, description="Folder of the run, inside that of the cohort.")
    objects: dict[str, int | None] = Field(default={}, description="Objects by class, see ClassCount.")
    area_mm2: dict[str, float] = Field(default={}, description="Area by class, mm².")
    analysed_mm2: float | None = Field(default=None, description="Area that the model answered for, mm².")
    tiles: int | None = Field(default=None, description="Tiles of the plan.")
    failed_tiles: int | None = Field(default=None, description="Tiles that could not be read.")
    seconds: float | None = Field(default=None, description="Wall time of all sessions.")
    error: str | None = Field(default=None, description="Why it failed, in one sentence.")
    warnings: tuple[str, ...] = Field(default=(), description="What the reader of the results should know.")

    @classmethod
    def of(cls, slide: str, run: Run) -> CohortRow:
        """Return the row of a finished run."""
        record = run.record
        return cls(
            slide=slide,
            model=record.model,
            status="finished",
            run=run.path.name,
            objects={count.name: count.objects for count in record.counts},
            area_mm2={count.name: count.area_mm2 for count in record.counts},
            analysed_mm2=record.analysed_mm2,
            tiles=record.tiles,
            failed_tiles=len(record.failed_tiles),
            seconds=round(sum(record.seconds.values()), 3),
            warnings=record.warnings,
        )


_ROWS = TypeAdapter(tuple[CohortRow, ...])


def is_cohort(folder: Path) -> bool:
    """Return whether a folder holds the runs of a cohort."""
    return (folder / JSON_FILE).is_file()


def require_cohort_folder(folder: Path) -> None:
    """Check that the runs of a cohort may go into a folder.

    Raises
    ------
    RunError
        When it is a file or the folder of one run, or a table would overwrite somebody's file.
    """
    if folder.is_file():
        raise RunError(f"{folder} is a file. Choose a folder for the cohort.")
    if (folder / PLAN_FILE).exists():
        raise RunError(f"{folder} is the folder of one run. Choose another one for a cohort.")
    if (folder / CSV_FILE).exists() and not is_cohort(folder):
        raise RunError(f"{folder / CSV_FILE} would be overwritten. Choose another folder, or move that file.")


class CohortTable:
    """The rows of a cohort folder, those of earlier calls too.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    RunError
        When the table of an earlier call is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[CohortRow] = []
        file = folder / JSON_FILE
        try:
            self._rows = list(_ROWS.validate_json(file.read_bytes()))
        except FileNotFoundError:
            pass
        except ValidationError as error:
            raise RunError(
                f"{file} is damaged. Delete it: the runs beside it stay, and the same call lists them again."
            ) from error

    def has_finished(self, row: CohortRow) -> bool:
        """Return whether a run of the slide and the model of a row has finished, in this call or before."""
        wanted = (row.slide, row.model, "finished")
        return any((old.slide, old.model, old.status) == wanted for old in self._rows)

    def put(self, rows: Iterable[CohortRow]) -> None:
        """Add rows, in the place of those that they follow, and write the table."""
        for row in rows:
            kept = [old for old in self._rows if not _follows(row, old)]
            self._rows = [*kept, row]
        self._rows.sort(key=lambda row: (row.slide, row.model, row.run or ""))
        try:
            write_text(self._folder / JSON_FILE, _ROWS.dump_json(tuple(self._rows), indent=2).decode() + "\n")
            write_text(self._folder / CSV_FILE, "".join(_csv(self._rows)))
        except OSError as error:
            raise disk_error(self._folder, error) from error


def _follows(new: CohortRow, old: CohortRow) -> bool:
    """Return whether a row speaks of the same run as an earlier one, or of one that did not get so far."""
    same = (new.slide, new.model) == (old.slide, old.model)
    return same and (new.run == old.run or old.run is None)


def _csv(rows: list[CohortRow]) -> Iterator[str]:
    names = list(dict.fromkeys(name for row in rows for name in row.area_mm2))
    columns = {"objects": [f"{name} objects" for name in names], "area": [f"{name} mm2" for name in names]}
    plain = ["slide", "model", "status", "run", "analysed_mm2", "tiles", "failed_tiles", "seconds", "error"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*plain, "warnings", *columns["objects"], *columns["area"]])
    for row in rows:
        writer.writerow(
            [
                *(getattr(row, name) for name in plain),
                " ".join(row.warnings),
                *(row.objects.get(name) for name in names),
                *(row.area_mm2.get(name) for name in names),
            ]
        )
    yield text.getvalue()
