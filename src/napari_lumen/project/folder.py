"""The folder of a project and its record, which every change writes at once: nothing is ever unsaved."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import ProjectError
from napari_lumen.geometry import Pair
from napari_lumen.project.places import placed
from napari_lumen.project.record import RECORD, ProjectRecord, SlideEntry
from napari_lumen.project.writing import writing
from napari_lumen.slides import Slide, open_slide


class ProjectFolder:
    """A folder with `project.json`.

    Any number of people and processes may use the folder: each change reads what is there now.

    Parameters
    ----------
    folder : path
        Holds `project.json`; see `Project.create`.

    Raises
    ------
    ProjectError
        When it is no project, or a damaged one, or of a newer version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.record = ProjectRecord.read(self.folder)

    @classmethod
    def create(
        cls, folder: str | os.PathLike[str], name: str | None = None, classes: ClassTable | None = None
    ) -> Self:
        """Make a project of a folder, which is made where it is not there.

        Raises
        ------
        ProjectError
            When the folder is a project already, or cannot be written.
        """
        place = Path(folder).expanduser().absolute()
        if (place / RECORD).exists():
            raise ProjectError(f"{place} is a project already: open it, or choose another folder.")
        record = ProjectRecord(name=name or place.name, classes=classes or ClassTable(classes=()))
        with writing(place):
            record.write(place)
        return cls(place)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """Open a project; the same as ``Project(folder)``."""
        return cls(folder)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.record.name

    @property
    def classes(self) -> ClassTable:
        """Its classes."""
        return self.record.classes

    @property
    def slides(self) -> tuple[SlideEntry, ...]:
        """Its slides."""
        return self.record.slides

    def slide(self, name: str) -> SlideEntry:
        """Return a slide by its name.

        Raises
        ------
        ProjectError
        """
        found = next((item for item in self.slides if item.name == name), None)
        if found is None:
            known = ", ".join(item.name for item in self.slides[:10]) or "none"
            raise ProjectError(f"{self.folder} has no slide {name!r}; there is {known}.")
        return found

    def open_slide(self, name: str, mpp: Pair | None = None) -> Slide:
        """Open a slide by its name.

        Parameters
        ----------
        name : str
        mpp : (float, float), optional
            µm per level-0 pixel, where the slide's file does not state it.

        Raises
        ------
        ProjectError
            When there is none, or another slide lies there by now.
        SlideError
            When it cannot be opened.
        """
        entry = self.slide(name)
        slide = open_slide(self.place(entry.path), mpp=mpp)
        if slide.fingerprint != entry.fingerprint:
            slide.close()
            raise ProjectError(
                f"{slide.path} is another slide than the one in the project, though it is named the same: "
                "put that one back."
            )
        return slide

    def place(self, text: str) -> Path | str:
        """Return where something lies that the record names; a URL as text."""
        return placed(text, self.folder)

    def reread(self) -> None:
        """Take what others have changed."""
        self.record = ProjectRecord.read(self.folder)

    def change_slide(self, name: str, changes: Callable[[SlideEntry], dict[str, object]]) -> SlideEntry:
        """Change fields of the slide of a name; see `change`."""

        def change(record: ProjectRecord) -> ProjectRecord:
            slides = tuple(
                item.model_copy(update=changes(item)) if item.name == name else item for item in record.slides
            )
            return record.model_copy(update={"slides": slides})

        self.change(change)
        return self.slide(name)

    def change(self, change: Callable[[ProjectRecord], ProjectRecord]) -> None:
        """Change what is in the folder now, whoever has written it.

        Raises
        ------
        ProjectError
            When it cannot be written; nothing has changed then.
        """
        with writing(self.folder):
            record = change(ProjectRecord.read(self.folder))
            record.write(self.folder)
        self.record = record
