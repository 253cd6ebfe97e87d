"""What a project says of its slides, as far as training needs it.

The record itself stands on a higher floor, with what runs and scores need; see `napari_lumen.project`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.slides import Slide, open_slide
from napari_lumen.slides.location import located

RECORD = "project.json"
_VERSION = 1
_LENIENT = ConfigDict(frozen=True, extra="ignore")


class DrawnBy(BaseModel):
    """A file of what one person has drawn."""

    model_config = _LENIENT

    path: str
    author: str


class StudySlide(BaseModel):
    """A slide and what people have said of it."""

    model_config = _LENIENT

    name: str
    path: str
    fingerprint: str
    patient: str | None = None
    annotations: tuple[DrawnBy, ...] = ()
    runs: tuple[str, ...] = ()
    corrections: tuple[str, ...] = ()

    def drawn(self, author: str | None) -> DrawnBy | None:
        """Return what a person has drawn; without one what was saved last."""
        fitting = [item for item in self.annotations if author in (None, item.author)]
        return fitting[-1] if fitting else None


class Study(BaseModel):
    """The slides of a project and its classes."""

    model_config = _LENIENT

    classes: ClassTable
    slides: tuple[StudySlide, ...] = ()

    @property
    def authors(self) -> tuple[str, ...]:
        """Who has drawn anything."""
        return tuple(dict.fromkeys(item.author for slide in self.slides for item in slide.annotations))


def read_study(folder: Path) -> Study:
    """Read the record of a project.

    Raises
    ------
    RunError
        When there is none, it is damaged, or a newer version has written it.
    """
    file = folder / RECORD
    try:
        text = file.read_bytes()
        version = json.loads(text).get("version", _VERSION)
    except OSError as error:
        raise RunError(f"{folder} is no project: {RECORD} cannot be read ({error.strerror}).") from error
    except (ValueError, AttributeError) as error:
        raise RunError(f"{file} is damaged: it is no JSON of a project.") from error
    if isinstance(version, int) and version > _VERSION:
        raise RunError(
            f"{file} was written by a newer version of napari-lumen (format {version}, this one reads "
            f"{_VERSION}). Update napari-lumen to train on it."
        )
    try:
        return Study.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "its JSON"
        raise RunError(f"{file} is damaged: {place}: {problem['msg']}.") from error


def placed(text: str, folder: Path) -> Path | str:
    """Return where something lies that the record names; a URL as text."""
    found = located(text)
    return found if isinstance(found, str) else Path(os.path.normpath(folder.absolute() / found))


def open_study_slide(slide: StudySlide, folder: Path) -> Slide:
    """Open a slide of a project.

    Raises
    ------
    SlideError
        When it cannot be opened.
    RunError
        When another slide lies there by now.
    """
    opened = open_slide(placed(slide.path, folder))
    if opened.fingerprint != slide.fingerprint:
        opened.close()
        raise RunError(
            f"{opened.path} is another slide than {slide.name} of the project, though it is named the same: "
            "put that one back."
        )
    return opened
