"""What `project.json` holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import ProjectError
from napari_lumen.format_version import newer_version
from napari_lumen.holding import write_text

RECORD = "project.json"
BEFORE = ".project.json.before"  # as it was before the last change
VERSION = 1
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class AnnotationEntry(BaseModel):
    """What one person has drawn on a slide."""

    model_config = _FROZEN

    path: str = Field(description="File of annotations, relative to the project's folder where it can be.")
    author: str = Field(min_length=1, description="Who has drawn it; once a slide.")
    time: str = Field(description="When it was added or last saved, ISO 8601.")


class ScoreEntry(BaseModel):
    """How well a run agrees with what one person has drawn."""

    model_config = _FROZEN

    run: str = Field(description="Folder of the run, as the slide names it.")
    author: str = Field(description="Whose annotations are the truth.")
    corrected: bool = Field(default=False, description="Whether the run was scored with its corrections.")
    dice: dict[str, float | None] = Field(
        description="By class, pooled over all pixels, 0 to 1; None where it is not defined."
    )
    time: str = Field(description="When it was computed, ISO 8601.")


class SlideEntry(BaseModel):
    """A slide and all that belongs to it."""

    model_config = _FROZEN

    name: str = Field(min_length=1, description="Unique in the project.")
    path: str = Field(description="The slide, relative to the project's folder where it can be; or a URL.")
    fingerprint: str = Field(description="Knows the slide again after a move.")
    patient: str | None = Field(default=None, description="Whose slide it is, where that is known.")
    annotations: tuple[AnnotationEntry, ...] = Field(default=(), description="One entry a person.")
    runs: tuple[str, ...] = Field(default=(), description="Folders of runs, the newest last.")
    corrections: tuple[str, ...] = Field(
        default=(), description="Folders of corrections without a run; a run's own lie in its folder."
    )
    scores: tuple[ScoreEntry, ...] = Field(default=(), description="The newest last.")

    def by(self, author: str) -> AnnotationEntry | None:
        """Return what a person has drawn, or None."""
        return next((item for item in self.annotations if item.author == author), None)


class ProjectRecord(BaseModel):
    """The whole of `project.json`."""

    model_config = _FROZEN

    version: Literal[1] = Field(default=1, description="Of this format.")
    name: str = Field(min_length=1, description="Of the project.")
    classes: ClassTable = Field(default=ClassTable(classes=()), description="Classes of the project.")
    slides: tuple[SlideEntry, ...] = Field(default=(), description="In the order in which they were added.")
    models: tuple[str, ...] = Field(default=(), description="Folders of models.")

    @model_validator(mode="after")
    def _named_once(self) -> ProjectRecord:
        for what in ("name", "fingerprint"):
            seen = [getattr(slide, what) for slide in self.slides]
            for value in seen:
                if seen.count(value) > 1:
                    raise ValueError(f"two slides have the {what} {value!r}")
        return self

    def write(self, folder: Path) -> None:
        """Write it into a folder; it is there whole or not at all, and the one before is kept.

        Raises
        ------
        OSError
        """
        file = folder / RECORD
        if file.exists():
            write_text(folder / BEFORE, file.read_text(encoding="utf-8"))
        write_text(file, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> ProjectRecord:
        """Read it from a folder.

        Raises
        ------
        ProjectError
            When there is none, it is damaged, or a newer version has written it.
        """
        file = folder / RECORD
        try:
            text = file.read_bytes()
        except OSError as error:
            raise ProjectError(
                f"{folder} is no project: {RECORD} cannot be read ({error.strerror or error}). "
                "'napari-lumen project create' makes one."
            ) from error
        _require_known_version(file, text)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"])) or "its JSON"
            raise ProjectError(
                f"{file} is damaged: {place}: {problem['msg']}. {_advice(folder)} Nothing was changed."
            ) from error


def _advice(folder: Path) -> str:
    if (folder / BEFORE).is_file():
        return f"{BEFORE} beside it is the project before its last change: copy it over {RECORD}."
    return "Mend it, or bring it back from a backup."


def _require_known_version(file: Path, text: bytes) -> None:
    version = newer_version(text, VERSION)
    if version is not None:
        raise ProjectError(
            f"{file} was written by a newer version of napari-lumen (format {version}, this one reads "
            f"{VERSION}). Update napari-lumen to open this project; nothing was changed."
        )
