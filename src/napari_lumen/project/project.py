"""A project: looking how it stands, comparing and scoring."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import isnan
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from napari_lumen.annotations.formats import read_annotations
from napari_lumen.corrections.author import now
from napari_lumen.corrections.subject import subject_of_run
from napari_lumen.errors import ProjectError
from napari_lumen.project.agreement import Agreement, agreement
from napari_lumen.project.contents import CARD, ProjectContents
from napari_lumen.project.places import find_slide, written
from napari_lumen.project.record import ScoreEntry, SlideEntry
from napari_lumen.project.standing import SlideStanding, standing_of

if TYPE_CHECKING:
    from napari_lumen.annotations.shapes import Annotation
    from napari_lumen.comparison import SlideEvaluation
    from napari_lumen.geometry import Pair
    from napari_lumen.project.differences import Differences


class Project(ProjectContents):
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

    def standings(self, *, verify: bool = True) -> list[SlideStanding]:
        """Return how each slide stands; with `verify` each is opened, to see whether it is the same."""
        return [standing_of(entry, self.folder, verify=verify) for entry in self.slides]

    def problems(self) -> list[str]:
        """Return all that is missing or was replaced, a sentence each; empty when all is well."""
        found = [problem for standing in self.standings() for problem in standing.problems]
        models = [Path(self.place(text)) for text in self.record.models]
        return found + [f"There is no model in {model}." for model in models if not (model / CARD).is_file()]

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
        return agreement(*self._drawn_by(slide, first, second), self.classes)

    def differences(
        self,
        slide: str,
        first: str,
        second: str,
        *,
        mpp: Pair | None = None,
        on_progress: Callable[[float], None] = lambda share: None,
        cancel: Event | None = None,
    ) -> Differences:
        """Return how far two people agree on a slide, with a map of where they do not.

        Parameters
        ----------
        slide, first, second : str
        mpp : (float, float), optional
            µm per level-0 pixel, where the slide's file does not state it.
        on_progress, cancel : optional
            As of `differences`.

        Raises
        ------
        LumenError
            When one of them has drawn nothing there, or the slide cannot be opened or has no pixel size.
        """
        from napari_lumen.project.differences import differences  # it stands on what needs torch

        drawn = self._drawn_by(slide, first, second)
        with self.open_slide(slide, mpp) as opened:
            return differences(
                *drawn,
                names=(first, second),
                mpp=opened.require_mpp(),
                shape=opened.shape,
                classes=self.classes,
                on_progress=on_progress,
                cancel=cancel,
            )

    def score(
        self,
        slide: str,
        author: str,
        *,
        run: str | None = None,
        corrected: bool = False,
        renamed: Mapping[str, str] | None = None,
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
        renamed : mapping of str to str, optional
            Classes of what was drawn with the names that they have in the run.
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
        truth = truth_for(drawn, subject_of_run(place).classes, renamed=renamed)
        found = evaluate_slide(
            place,
            truth.drawn,
            corrected=corrected,
            ignored_classes=truth.ignored,
            renamed=truth.renamed,
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

    def _drawn_by(self, slide: str, first: str, second: str) -> tuple[list[Annotation], list[Annotation]]:
        if first == second:
            raise ProjectError(f"{first} cannot be compared with {second}: name two people.")
        return self.annotations(slide, first), self.annotations(slide, second)


def _at(path: str, known: SlideEntry) -> dict[str, object]:
    return {"path": path}
