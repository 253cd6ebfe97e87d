"""Opening a slide away from the GUI thread, with progress and Cancel."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import unquote

from napari_lumen.errors import Cancelled
from napari_lumen.plugin.reader import readable_slide
from napari_lumen.plugin.ready import Ready, make_ready

if TYPE_CHECKING:
    from napari_lumen.plugin.jobs import Emit
    from napari_lumen.slides import Slide

PATIENCE = 0.3  # seconds that a cancelled opening is waited for: it leaves nothing behind


def opening_text(place: str | Path) -> str:
    """Return what to show while a file or a URL is being opened."""
    return f"Opening {Path(unquote(str(place))).name} …"


def open_ready(
    place: str | Path, emit: Emit = lambda step: None, cancel: Event | None = None
) -> tuple[Slide, Ready]:
    """Open a slide by its path or URL and read what its layers need.

    Parameters
    ----------
    place : str or Path
    emit : callable, optional
        Takes a `Step` now and then.
    cancel : threading.Event, optional

    Raises
    ------
    Cancelled
        The slide is closed, even where nobody has waited for this.
    SlideError
    """
    emit((0, 0, opening_text(place)))
    slide = readable_slide(place)
    try:
        ready = make_ready(slide, emit, cancel)
        if cancel is not None and cancel.is_set():
            raise Cancelled("The slide was not opened.")
    except BaseException:
        slide.close()
        raise
    return slide, ready


def open_waiting(place: str | Path) -> tuple[Slide, Ready]:
    """Open a slide as `open_ready` does, while the window keeps drawing; a dialog comes up if it takes long.

    For napari's readers, which must return the layers.
    """
    from qtpy.QtWidgets import QApplication

    from napari_lumen.plugin.jobs import Jobs
    from napari_lumen.plugin.widgets.waiting import wait_for

    return wait_for(
        Jobs(PATIENCE),
        lambda emit, cancel: open_ready(place, emit, cancel),
        opening_text(place),
        parent=QApplication.activeWindow(),
    )
