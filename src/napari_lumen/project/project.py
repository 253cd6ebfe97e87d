"""A project: adding to it, looking how it stands, comparing and scoring."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import isnan
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import (
    format_of,
    looks_like_annotations,
    read_annotations,
    write_annotations,
)
from napari_lumen.corrections import CorrectionIndex
from napari_lumen.corrections.author import now, this_user
from napari_lumen.corrections.index import INDEX
from napari_lumen.corrections.subject import RUN_FILE, subject_of_run
from napari_lumen.errors import ProjectError
from napari_lumen.project.agreement import Agreement, agreement
from napari_lumen.project.folder import ProjectFolder
from napari_lumen.project.places import find_slide, fingerprint_at, placed, written
from napari_lumen.project.record import AnnotationEntry, ProjectRecord, ScoreEntry, SlideEntry
from napari_lumen.project.standing import SlideStanding, standing_of
from napari_lumen.project.writing import file_name, name_of, writing

if TYPE_CHECKING:
    from napari_lumen.annotations.shapes import Annotation
    from napari_lumen.comparison import SlideEvaluation

_CARD = "card.json"  # of a model


class Project(ProjectFolder):
    """The slides of a study with all that belongs to them.

    Parameters
    ----------
    folder : path
        Holds `project.json`; see `Project.create`.

    Raises
    ------
    ProjectError
        When it is no project, or a damaged one, or of a newer version.
    """

    # adding

    def add(
        self,
        path: str | os.PathLike[str],
        *,
        slide: str | None = None,
        author: str | None = None,
        patient: str | None = None,
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
        if (place / _CARD).is_file():
            self.add_model(place)
            return "model"
        if place.is_file() and looks_like_annotations(place):
            return f"annotations of {self.add_annotations(place, slide, author).name}"
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
        self, path: str | os.PathLike[str], slide: str | None = None, author: str | None = None
    ) -> SlideEntry:
        """Add a file of what somebody has drawn on a slide, in place of an earlier one of that person.

        Raises
        ------
        AnnotationError
            When the file holds no annotations.
        ProjectError
            When nothing says of which slide they are.
        """
        place = Path(path).expanduser()
        format_of(place)
        entry = self.slide(slide or self._slide_named_in(place))
        item = AnnotationEntry(path=written(place, self.folder), author=author or this_user(), time=now())
        return self.change_slide(
            entry.name,
            lambda known: {"annotations": (*(x for x in known.annotations if x.author != item.author), item)},
        )

    def save_annotations(
        self, slide: str, annotations: Sequence[Annotation], author: str | None = None
    ) -> SlideEntry:
        """Write what somebody has drawn on a slide into the project's folder, each person's apart.

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
        with writing(place.parent, lock=self.folder):
            write_annotations(place, annotations)
        return self.add_annotations(place, slide, who)

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
        if not (place / _CARD).is_file():
            raise ProjectError(f"{place} is no model: it holds no {_CARD}.")
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

    # looking

    def standings(self, *, verify: bool = True) -> list[SlideStanding]:
        """Return how each slide stands; with `verify` each is opened, to see whether it is the same."""
        return [standing_of(entry, self.folder, verify=verify) for entry in self.slides]

    def problems(self) -> list[str]:
        """Return all that is missing or was replaced, a sentence each; empty when all is well."""
        found = [problem for standing in self.standings() for problem in standing.problems]
        models = [Path(self.place(text)) for text in self.record.models]
        return found + [f"There is no model in {model}." for model in models if not (model / _CARD).is_file()]

    def find_moved(self, folders: Iterable[str | os.PathLike[str]] = ()) -> dict[str, Path]:
        """Look for slides that are not where they were, by their fingerprints, and note where they are.

        Parameters
        ----------
        folders : iterable of path
            Looked through with all below them; the project's own folder is, too, and that in which the
            slide was.

        Returns
        -------
        dict of str to Path
            Where those lie that were found, by their names.
        """
        found: dict[str, Path] = {}
        for standing in self.standings():
            place = standing.place
            if standing.state not in ("missing", "replaced") or isinstance(place, str):
                continue
            given = [*(Path(folder).expanduser() for folder in folders), self.folder, place.parent]
            new = find_slide(standing.entry.fingerprint, place.name, given)
            if new is not None:
                found[standing.entry.name] = new
                text = written(new, self.folder)
                self.change_slide(standing.entry.name, partial(_at, text))
        return found

    def annotations(self, slide: str, author: str) -> list[Annotation]:
        """Return what a person has drawn on a slide.

        Raises
        ------
        ProjectError, AnnotationError
            When there is nothing, or it cannot be read.
        """
        entry = self.slide(slide)
        item = entry.by(author)
        if item is None:
            known = ", ".join(x.author for x in entry.annotations) or "nobody"
            raise ProjectError(f"{author} has drawn nothing on {slide}; {known} has.")
        return read_annotations(self.place(item.path))

    def compare(self, slide: str, first: str, second: str) -> Agreement:
        """Compare what two people have drawn on a slide; see `agreement`."""
        return agreement(self.annotations(slide, first), self.annotations(slide, second), self.classes)

    def score(
        self,
        slide: str,
        author: str,
        *,
        run: str | None = None,
        corrected: bool = False,
        on_progress: Callable[[float], None] = lambda share: None,
        cancel: Event | None = None,
    ) -> SlideEvaluation:
        """Score a run against what a person has drawn, and keep the Dice of each class in the project.

        Parameters
        ----------
        slide, author : str
        run : str, optional
            As the record names it; the newest when left out.
        corrected : bool
            Score it with its corrections.
        on_progress, cancel : optional
            As of `evaluate_slide`.

        Raises
        ------
        LumenError
            When there is no run or no such person, or the two do not fit.
        """
        from napari_lumen.comparison import Drawn, evaluate_slide
        from napari_lumen.comparison.truth import truth_for

        entry = self.slide(slide)
        if not entry.runs:
            raise ProjectError(f"{slide} has no run to score: add one.")
        chosen = run or entry.runs[-1]
        place = Path(self.place(chosen))
        drawn = Drawn(f"{slide} by {author}", self.annotations(slide, author))
        truth = truth_for(drawn, subject_of_run(place).classes)
        found = evaluate_slide(
            place,
            truth.drawn,
            corrected=corrected,
            ignored_classes=truth.ignored,
            on_progress=on_progress,
            cancel=cancel,
        )
        classes = [item.name for item in found.evaluation.classes if item.value]
        dice = {
            score.class_name: None if isnan(score.value) else score.value
            for score in found.evaluation.scores
            if (score.name, score.over) == ("dice", "pooled") and score.class_name in classes
        }
        self.add_score(
            slide, ScoreEntry(run=chosen, author=author, corrected=corrected, dice=dice, time=now())
        )
        return found

    # changing

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


def _at(path: str, known: SlideEntry) -> dict[str, object]:
    return {"path": path}
