"""The corrections of one slide in a folder: committing a window, taking it back, and what lies on top."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.corrections.author import now, this_user
from napari_lumen.corrections.changes import Changes
from napari_lumen.corrections.images import Pixels, write_png
from napari_lumen.corrections.index import INDEX, Changed, CorrectedWindow, CorrectionIndex, Reverted
from napari_lumen.corrections.subject import RUN_FILE, Subject, corrections_folder, subject_of_run
from napari_lumen.corrections.writing import writing
from napari_lumen.counting import counted
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid

IGNORE = 255  # pixels that nobody has looked at


@dataclass(frozen=True)
class Commit:
    """What became of a commit.

    Attributes
    ----------
    window : CorrectedWindow
        As it stands in the index now.
    covers : tuple of str
        Names of earlier windows of which some changed pixels were changed again: here the new one counts.
    """

    window: CorrectedWindow
    covers: tuple[str, ...]


class CorrectionStore:
    """Corrected windows of one slide, in a folder.

    Any number of processes may use the folder; each commit and revert holds it for a moment.

    Parameters
    ----------
    folder : Path
        Of a finished run, whose corrections lie in its subfolder `corrections`; or any other folder, which
        is made at the first commit.
    subject : Subject, optional
        What is corrected; of a run, or of a folder that holds corrections, it is known without.

    Raises
    ------
    RunError
        When the folder holds corrections of another slide or other classes, or none and nothing says of what
        they are to be.
    """

    def __init__(self, folder: Path, subject: Subject | None = None) -> None:
        self.folder = corrections_folder(folder)
        self._run = folder if self.folder != folder else None
        if subject is None and self.folder != folder:
            subject = subject_of_run(folder)
        folder = self.folder
        index = CorrectionIndex.read(folder) if subject is None or (folder / INDEX).exists() else None
        self.subject = subject or _subject_of(folder, index)
        for item in self.subject.classes:
            if not 0 < item.value < IGNORE:
                raise RunError(f"The class {item.name!r} has the value {item.value}; give it 1 to 254.")
        if index is not None:
            self._require_same(index)

    @property
    def classes(self) -> ClassTable:
        """The values in the label images."""
        return self.subject.classes

    @property
    def index(self) -> CorrectionIndex:
        """What is in the folder now; empty before the first commit.

        Raises
        ------
        RunError
            When the index is damaged, or there are corrections of another slide by now.
        """
        if not (self.folder / INDEX).exists():
            return CorrectionIndex(classes=self.classes, windows=())
        index = CorrectionIndex.read(self.folder)
        self._require_same(index)
        return index

    @property
    def windows(self) -> tuple[CorrectedWindow, ...]:
        """The windows that count, in the order of their commits: a later one lies on top."""
        return self.index.windows

    def changes(self) -> list[Changes]:
        """Return what all windows have changed, in the order of their commits.

        Raises
        ------
        RunError
            When a file of a window is gone or damaged.
        """
        found = (Changes.read(self.folder, window) for window in self.windows)
        return [changes for changes in found if changes is not None]

    def commit(
        self,
        window: Grid,
        before: Pixels,
        after: Pixels,
        author: str | None = None,
        *,
        fingerprint: str | None = None,
    ) -> Commit:
        """Add a corrected window.

        Parameters
        ----------
        window : Grid
            Its pixels, laid on the slide.
        before, after : ndarray
            uint8 (h, w), class values: 0 for background, 255 for what nobody has looked at.
        author : str, optional
            Who has corrected it; the user of this process when left out.
        fingerprint : str, optional
            Of the slide that lies there now.

        Returns
        -------
        Commit

        Raises
        ------
        RunError
            When a value is of no class, another slide lies there now, the folder cannot be written, or it
            stays in use. Then nothing has changed, and the same call may be made again.
        """
        if fingerprint not in (None, self.subject.fingerprint):
            raise RunError(
                f"{self.subject.slide} is another slide by now, of the same name: put the one back that was "
                "corrected, and accept again. Nothing was written."
            )
        self._require_run()
        self._require_fitting(window, before, after)
        with writing(self.folder):
            index = self.index
            name = _next_name(index)
            files = [f"{name}.png"]
            try:
                write_png(self.folder / files[0], after)
                found = Changes.between(window, before, after)
                changed = None
                if found is not None:
                    changes, part = found
                    files.append(f"{name}.changes.png")
                    changes.write(self.folder / files[1])
                    changed = Changed(
                        file=files[1],
                        y=part.y,
                        x=part.x,
                        height=part.height,
                        width=part.width,
                        kinds=changes.kinds,
                    )
                region = window.region
                added = CorrectedWindow(
                    name=name,
                    labels=files[0],
                    slide=self.subject.slide,
                    fingerprint=self.subject.fingerprint,
                    y=region.y,
                    x=region.x,
                    height=region.height,
                    width=region.width,
                    mpp=window.scale(self.subject.mpp),
                    author=author or this_user(),
                    time=now(),
                    shape=window.shape,
                    changed=changed,
                )
                covers = () if found is None else self._covered(index, found[0])
                self._write(index.model_copy(update={"windows": (*index.windows, added)}))
            except BaseException:
                for file in files:
                    with suppress(OSError):
                        (self.folder / file).unlink(missing_ok=True)
                raise
        return Commit(added, covers)

    def revert(self, name: str, author: str | None = None) -> CorrectedWindow:
        """Take a window back: its changes no longer count, and training no longer sees it; its files stay.

        What later windows have changed stays.

        Raises
        ------
        RunError
            When there is no such window, or the folder cannot be written.
        """
        self._require_run()
        with writing(self.folder):
            index = self.index
            window = next((item for item in index.windows if item.name == name), None)
            if window is None:
                known = ", ".join(item.name for item in index.windows) or "none"
                raise RunError(f"{self.folder} holds no corrected window {name!r}; there is {known}.")
            gone = Reverted(window=window, author=author or this_user(), time=now())
            rest = tuple(item for item in index.windows if item.name != name)
            self._write(
                index.model_copy(update={"windows": rest, "reverted": (*index.reverted, gone)}),
            )
        return window

    def _write(self, index: CorrectionIndex) -> None:
        index.model_copy(update={"classes": self.classes}).write(self.folder)

    def _covered(self, index: CorrectionIndex, changes: Changes) -> tuple[str, ...]:
        """Return the names of the windows of which changed pixels were changed again."""
        covered = []
        for window in index.windows:
            earlier = None
            if not window.region.intersect(changes.region).empty:
                earlier = Changes.read(self.folder, window)
            if earlier is not None and earlier.meets(changes):
                covered.append(window.name)
        return tuple(covered)

    def _require_same(self, index: CorrectionIndex) -> None:
        other = next((w for w in index.windows if w.fingerprint != self.subject.fingerprint), None)
        if other is not None:
            raise RunError(
                f"{self.folder} holds corrections of another slide, {other.slide}, though it may be named "
                f"the same: put that slide back, or choose another folder for those of {self.subject.slide}."
            )
        used = {(item.value, item.name) for item in index.classes}
        lost = used - {(item.value, item.name) for item in self.classes}
        if lost and index.windows:
            value, name = min(lost)
            raise RunError(
                f"{counted(len(index.windows), 'corrected window')} in {self.folder} have {name!r} as "
                f"{value}, which is not among the classes given. Bring it back, or choose another folder."
            )

    def _require_run(self) -> None:
        """Make no folder anew where a run was deleted or moved: its corrections would hang in the air."""
        if self._run is not None and not (self._run / RUN_FILE).is_file():
            raise RunError(
                f"The run {self._run} is gone: put its folder back, and try again. Nothing was written."
            )

    def _require_fitting(self, window: Grid, before: Pixels, after: Pixels) -> None:
        for what, labels in (("before", before), ("after", after)):
            if labels.shape != window.shape or labels.dtype != np.uint8:
                raise RunError(
                    f"The labels {what} are {labels.dtype} {labels.shape}; a window of {window.shape} takes "
                    "uint8 of that shape."
                )
        known = {0, IGNORE, *(item.value for item in self.classes)}
        strange = sorted(set(np.unique(after).tolist()) - known)
        if strange:
            classes = ", ".join(f"{item.value} for {item.name}" for item in self.classes)
            raise RunError(
                f"The window holds the value {strange[0]}, which is no class; there is 0 for background, "
                f"{classes}. Undo that stroke or paint over it, and accept again."
            )


def _next_name(index: CorrectionIndex) -> str:
    used = [int(name) for name in index.names if name.isdigit()]
    return f"{max(used, default=0) + 1:04d}"


def _subject_of(folder: Path, index: CorrectionIndex | None) -> Subject:
    if index is None or not (index.windows or index.reverted):
        raise RunError(f"{folder} holds no corrections, so it does not say of which slide they are to be.")
    window = index.windows[0] if index.windows else index.reverted[0].window
    step = (1.0, 1.0)
    if window.shape is not None:
        step = window.grid(window.shape).step
    mpp = window.mpp[0] / step[0], window.mpp[1] / step[1]
    return Subject(window.slide, window.fingerprint, mpp, index.classes)
