"""Opening a slide away from the GUI thread, with progress and Cancel."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import unquote

from napari_lumen.errors import Cancelled, SlideError
from napari_lumen.plugin.reader import readable_slide
from napari_lumen.plugin.ready import Ready, make_ready
from napari_lumen.slides.location import located
from napari_lumen.slides.moved import remembered_place

if TYPE_CHECKING:
    from napari_lumen.inference.run import Run
    from napari_lumen.plugin.jobs import Emit, Work
    from napari_lumen.slides import Slide

PATIENCE = 0.3  # seconds that a cancelled opening is waited for: it leaves nothing behind


class AnotherSlideError(SlideError):
    """A file is a slide, but not the one that was looked for."""


def opening_text(place: str | Path) -> str:
    """Return what to show while a file or a URL is being opened."""
    return f"Opening {Path(unquote(str(place))).name} …"


def open_ready(
    place: str | Path,
    emit: Emit = lambda step: None,
    cancel: Event | None = None,
    fingerprint: str | None = None,
) -> tuple[Slide, Ready]:
    """Open a slide by its path or URL and read what its layers need.

    Parameters
    ----------
    place : str or Path
    emit : callable, optional
        Takes a `Step` now and then.
    cancel : threading.Event, optional
    fingerprint : str, optional
        Of the one slide that is wanted.

    Raises
    ------
    Cancelled
        The slide is closed, even where nobody has waited for this.
    AnotherSlideError
        When its fingerprint is another.
    SlideError
    """
    emit((0, 0, opening_text(place)))
    slide = readable_slide(place)
    try:
        if fingerprint is not None and slide.fingerprint != fingerprint:
            raise AnotherSlideError(f"{place} is another slide now.")
        ready = make_ready(slide, emit, cancel)
        if cancel is not None and cancel.is_set():
            raise Cancelled("The slide was not opened.")
    except BaseException:
        slide.close()
        raise
    return slide, ready


def open_slide_of(
    run: Run, emit: Emit = lambda step: None, cancel: Event | None = None
) -> tuple[Slide, Ready]:
    """Open the slide of a run as `open_ready` does: where it was, or near the run where both were moved.

    A slide of the same name but another fingerprint is not taken.

    Raises
    ------
    Cancelled
    SlideError
        One sentence that asks for the slide.
    """
    recorded, failed = run.record.slide, ""
    for place in _places(run):
        if isinstance(place, Path) and not _is_there(place):
            continue
        try:
            return open_ready(place, emit, cancel, run.record.fingerprint)
        except AnotherSlideError:
            failed = failed or f"{place} is another slide now"
        except SlideError:  # its sentence comes when the user opens the file
            failed = failed or f"{place} cannot be read"
    why = failed or f"it is neither at {recorded} nor beside the run"
    raise SlideError(f"Open {slide_name(run)} to see it below the results of {run.path.name}: {why}.")


def open_slide_of_waiting(run: Run) -> tuple[Slide, Ready]:
    """Open the slide of a run as `open_slide_of` does, and wait as `open_waiting` does."""
    return _wait_for(lambda emit, cancel: open_slide_of(run, emit, cancel), opening_text(slide_name(run)))


def slide_name(run: Run) -> str:
    """Return the file name of a run's slide."""
    return next(iter(_names(run)), "its slide")


def _names(run: Run) -> list[str]:
    """Return how the slide may be called: Linux takes a whole path of Windows for one name."""
    slide = run.record.slide
    return [name for name in dict.fromkeys((PureWindowsPath(slide).name, Path(slide).name)) if name]


def _places(run: Run) -> list[Path | str]:
    """Return where a run's slide may be: where it was, where the user found it, near the run."""
    folder = run.path.resolve()
    near = (folder, folder.parent, folder.parent.parent)
    was = [located(run.record.slide)] if run.record.slide else []
    moved = remembered_place(run.record.fingerprint)
    known = [] if moved is None else [moved]
    return list(dict.fromkeys([*was, *known, *(parent / name for parent in near for name in _names(run))]))


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:  # such as a folder that may not be looked into
        return False


def open_waiting(place: str | Path) -> tuple[Slide, Ready]:
    """Open a slide as `open_ready` does, while the window keeps drawing; a dialog comes up if it takes long.

    For napari's readers, which must return the layers.
    """
    return _wait_for(lambda emit, cancel: open_ready(place, emit, cancel), opening_text(place))


def _wait_for(work: Work[tuple[Slide, Ready]], text: str) -> tuple[Slide, Ready]:
    from qtpy.QtWidgets import QApplication

    from napari_lumen.plugin.jobs import Jobs
    from napari_lumen.plugin.widgets.waiting import wait_for

    return wait_for(Jobs(PATIENCE), work, text, parent=QApplication.activeWindow())
