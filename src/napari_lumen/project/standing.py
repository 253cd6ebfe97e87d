"""How far the work on a slide of a project is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_lumen.corrections import CorrectionIndex
from napari_lumen.corrections.index import INDEX
from napari_lumen.corrections.subject import FOLDER, RUN_FILE
from napari_lumen.errors import RunError, SlideError
from napari_lumen.project.places import fingerprint_at, is_there, placed
from napari_lumen.project.record import ScoreEntry, SlideEntry

State = Literal["here", "missing", "replaced", "unreadable"]


@dataclass(frozen=True)
class SlideStanding:
    """A slide of a project as it stands now.

    Attributes
    ----------
    entry : SlideEntry
    place : Path or str
        Where the slide lies, or should.
    state : {"here", "missing", "replaced", "unreadable"}
        ``replaced``: another slide of the same name lies there.
    authors : tuple of str
        Whose annotations are there.
    runs : int
        Finished ones.
    corrected : int
        Windows that people have corrected.
    score : ScoreEntry or None
        The newest.
    problems : tuple of str
        What is wrong, a sentence each.
    """

    entry: SlideEntry
    place: Path | str
    state: State
    authors: tuple[str, ...]
    runs: int
    corrected: int
    score: ScoreEntry | None
    problems: tuple[str, ...]


def standing_of(entry: SlideEntry, folder: Path, *, verify: bool = True) -> SlideStanding:
    """Look at a slide and at what belongs to it.

    Parameters
    ----------
    entry : SlideEntry
    folder : Path
        Of the project.
    verify : bool
        Open the slide to see whether it is still the same one: a few milliseconds, on a slow disk more.
    """
    problems: list[str] = []
    place = placed(entry.path, folder)
    state = _state(entry, place, verify, problems)
    authors = []
    for item in entry.annotations:
        file = placed(item.path, folder)
        if is_there(file):
            authors.append(item.author)
        else:
            problems.append(f"{entry.name}: the annotations of {item.author} are not at {file}.")
    runs = [Path(placed(text, folder)) for text in entry.runs]
    finished = [run for run in runs if (run / RUN_FILE).is_file()]
    problems += [f"{entry.name}: there is no finished run in {run}." for run in runs if run not in finished]
    holders = [run / FOLDER for run in finished] + [Path(placed(text, folder)) for text in entry.corrections]
    corrected = sum(_windows(entry, holder, problems) for holder in holders)
    score = entry.scores[-1] if entry.scores else None
    return SlideStanding(
        entry, place, state, tuple(authors), len(finished), corrected, score, tuple(problems)
    )


def _state(entry: SlideEntry, place: Path | str, verify: bool, problems: list[str]) -> State:
    if not is_there(place):
        problems.append(f"{entry.name}: the slide is not at {place}.")
        return "missing"
    if not verify:
        return "here"
    try:
        found = fingerprint_at(place)
    except SlideError as error:
        problems.append(f"{entry.name}: {error}")
        return "unreadable"
    if found != entry.fingerprint:
        problems.append(
            f"{entry.name}: {place} is another slide than the one that was added, though it is named the "
            "same. Put that one back; its annotations and runs do not fit this one."
        )
        return "replaced"
    return "here"


def _windows(entry: SlideEntry, folder: Path, problems: list[str]) -> int:
    if not (folder / INDEX).is_file():
        return 0
    try:
        return len(CorrectionIndex.read(folder).windows)
    except RunError as error:
        problems.append(f"{entry.name}: {error}")
        return 0
