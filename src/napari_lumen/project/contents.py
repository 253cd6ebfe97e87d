"""What belongs to a project: adding to it, replacing, taking out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import format_of, looks_like_annotations, write_annotations
from napari_lumen.corrections import CorrectionIndex
from napari_lumen.corrections.author import now, this_user
from napari_lumen.corrections.index import INDEX
from napari_lumen.corrections.subject import RUN_FILE, subject_of_run
from napari_lumen.errors import ProjectError
from napari_lumen.project.folder import ProjectFolder
from napari_lumen.project.places import fingerprint_at, placed, written
from napari_lumen.project.record import AnnotationEntry, ProjectRecord, ScoreEntry, SlideEntry
from napari_lumen.project.writing import file_name, name_of, writing

if TYPE_CHECKING:
    from napari_lumen.annotations.shapes import Annotation

CARD = "card.json"  # of a model


class ProjectContents(ProjectFolder):
    """A project to which things are added; see `Project`."""

    def add(
        self,
        path: str | os.PathLike[str],
        *,
        slide: str | None = None,
        author: str | None = None,
        patient: str | None = None,
        instead: bool = False,
    ) -> str:
        """Add whatever lies at a path: a slide, annotations, a run, corrections or a model.

        Files stay where they are.

        Parameters
        ----------
        path : path
        slide : str, optional
            Name of the slide of annotations; without it the one whose name their file's name begins with.
        author : str, optional
            Of annotations; the user of this process when left out.
        patient : str, optional
            Of a slide.
        instead : bool, optional
            Whether annotations may take the place of others of the same person.

        Returns
        -------
        str
            What was added, in words.

        Raises
        ------
        LumenError
            When it is none of these, or does not belong to the project.
        """
        place = Path(path).expanduser()
        if (place / RUN_FILE).is_file():
            return f"run of {self.add_run(place).name}"
        if (place / INDEX).is_file():
            return f"corrections of {self.add_corrections(place).name}"
        if (place / CARD).is_file():
            self.add_model(place)
            return "model"
        if place.is_file() and looks_like_annotations(place):
            return f"annotations of {self.add_annotations(place, slide, author, instead=instead).name}"
        return f"slide {self.add_slide(path, patient=patient).name}"

    def add_slide(
        self, path: str | os.PathLike[str], *, patient: str | None = None, name: str | None = None
    ) -> SlideEntry:
        """Add a slide.

        Raises
        ------
        SlideError
            When it cannot be opened.
        ProjectError
            When the project has it already.
        """
        text = written(path, self.folder)
        fingerprint = fingerprint_at(placed(text, self.folder))
        wanted = name or name_of(text)
        added: list[SlideEntry] = []

        def change(record: ProjectRecord) -> ProjectRecord:
            same = next((item for item in record.slides if item.fingerprint == fingerprint), None)
            if same is not None:
                raise ProjectError(f"{path} is in {self.folder} already, as {same.name}.")
            taken = {item.name for item in record.slides}
            free, number = wanted, 2
            while free in taken:
                free, number = f"{wanted}-{number}", number + 1
            entry = SlideEntry(name=free, path=text, fingerprint=fingerprint, patient=patient)
            added.append(entry)
            return record.model_copy(update={"slides": (*record.slides, entry)})

        self.change(change)
        return added[-1]

    def add_annotations(
        self,
        path: str | os.PathLike[str],
        slide: str | None = None,
        author: str | None = None,
        *,
        instead: bool = False,
    ) -> SlideEntry:
        """Add a file of what somebody has drawn on a slide: a person has one a slide.

        Raises
        ------
        AnnotationError
            When the file holds no annotations.
        ProjectError
            When nothing says of which slide they are, or that person has another file there and it is not
            to be put `instead`.
        """
        place = Path(path).expanduser()
        format_of(place)
        entry = self.slide(slide or self._slide_named_in(place))
        item = AnnotationEntry(path=written(place, self.folder), author=author or this_user(), time=now())
        known = entry.by(item.author)
        if known is not None and known.path != item.path and not instead:
            raise ProjectError(
                f"What {item.author} has drawn on {entry.name} is in {known.path} already: name another "
                f"author, or replace it by napari-lumen project add {self.folder} {place} --author "
                f'"{item.author}" --instead. Nothing was changed.'
            )
        return self.change_slide(
            entry.name,
            lambda known: {"annotations": (*(x for x in known.annotations if x.author != item.author), item)},
        )

    def save_annotations(
        self, slide: str, annotations: Sequence[Annotation], author: str | None = None
    ) -> SlideEntry:
        """Write what somebody has drawn on a slide into the project's folder, each person's apart.

        What has no colour of its own gets that of its class in the project.

        Raises
        ------
        ProjectError, AnnotationError
            When there is no such slide, or the file cannot be written: then the one before stays.
        """
        who = author or this_user()
        entry = self.slide(slide)
        known = entry.by(who)
        before = None if known is None else Path(self.place(known.path))
        ours = self.folder / "annotations" / file_name(entry.name)
        place = before if before is not None and before.parent == ours else ours / f"{file_name(who)}.geojson"
        others = {self.place(item.path) for item in entry.annotations if item.author != who}
        number = 2
        while place in others:  # two names that differ in letters that no file's name takes
            place, number = ours / f"{file_name(who)}-{number}.geojson", number + 1
        colors = {item.name: item.color for item in self.classes}
        coloured = [replace(x, color=x.color or colors.get(x.class_name or "")) for x in annotations]
        with writing(place.parent, lock=self.folder):
            write_annotations(place, coloured)
        return self.add_annotations(place, slide, who, instead=True)

    def add_run(self, path: str | os.PathLike[str]) -> SlideEntry:
        """Add a finished run to its slide, which its fingerprint tells.

        Raises
        ------
        RunError
            When there is no finished run.
        ProjectError
            When its slide is not in the project.
        """
        subject = subject_of_run(Path(path).expanduser())
        return self._add_result("runs", path, subject.fingerprint, subject.slide)

    def add_corrections(self, path: str | os.PathLike[str]) -> SlideEntry:
        """Add a folder of corrections without a run to its slide.

        Raises
        ------
        RunError
            When it holds none.
        ProjectError
            When its slide is not in the project.
        """
        index = CorrectionIndex.read(Path(path).expanduser())
        if not index.windows:
            raise ProjectError(f"{path} holds no corrected windows, so nothing says of which slide it is.")
        return self._add_result("corrections", path, index.windows[0].fingerprint, index.windows[0].slide)

    def add_model(self, path: str | os.PathLike[str]) -> None:
        """Add the folder of a model.

        Raises
        ------
        ProjectError
            When it is none.
        """
        place = Path(path).expanduser()
        if not (place / CARD).is_file():
            raise ProjectError(f"{place} is no model: it holds no {CARD}.")
        text = written(place, self.folder)
        self.change(
            lambda record: record.model_copy(update={"models": tuple(dict.fromkeys((*record.models, text)))})
        )

    def add_score(self, slide: str, score: ScoreEntry) -> SlideEntry:
        """Keep a score, in place of an earlier one of the same run and person."""
        same = (score.run, score.author, score.corrected)
        return self.change_slide(
            slide,
            lambda known: {
                "scores": (*(x for x in known.scores if (x.run, x.author, x.corrected) != same), score)
            },
        )

    def set_classes(self, classes: ClassTable) -> None:
        """Give the project another table of classes."""
        self.change(lambda record: record.model_copy(update={"classes": classes}))

    def remove_slide(self, name: str) -> None:
        """Take a slide out of the project; its files stay where they are."""
        self.slide(name)
        self.change(
            lambda record: record.model_copy(
                update={"slides": tuple(item for item in record.slides if item.name != name)}
            )
        )

    def _add_result(
        self, what: str, path: str | os.PathLike[str], fingerprint: str, slide: str
    ) -> SlideEntry:
        entry = next((item for item in self.slides if item.fingerprint == fingerprint), None)
        if entry is None:
            raise ProjectError(
                f"{path} is of {slide}, which is not in {self.folder}: add the slide first, or the one with "
                "the same content where that was replaced."
            )
        text = written(path, self.folder)
        return self.change_slide(
            entry.name, lambda known: {what: (*(x for x in getattr(known, what) if x != text), text)}
        )

    def _slide_named_in(self, file: Path) -> str:
        fitting = [item.name for item in self.slides if file.name.startswith(item.name)]
        if not fitting:
            raise ProjectError(
                f"Nothing says on which slide {file} was drawn: name the slide, or begin the file's name "
                "with the slide's."
            )
        return max(fitting, key=len)
