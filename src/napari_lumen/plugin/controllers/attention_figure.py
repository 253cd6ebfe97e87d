"""Copying and saving a figure of the shown map, without the buttons for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.plugin.controllers.command import Command
from napari_lumen.plugin.jobs import Emit, JobRunner
from napari_lumen.plugin.placing import origin_of, step_of
from napari_lumen.plugin.regions import view_region

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_lumen.explain.drawing import Drawing
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.controllers.attention_state import ChosenMap


_NOTHING = "Choose a map in the tree first."


@dataclass(frozen=True, eq=False)
class Copied:
    """A figure for the clipboard.

    Attributes
    ----------
    pixels : ndarray
        uint8 (h, w, 3).
    svg : str
    """

    pixels: npt.NDArray[np.uint8]
    svg: str


@dataclass(frozen=True, slots=True)
class FigureState:
    """What the buttons show.

    Attributes
    ----------
    blocked : str or None
        Why there is nothing to draw, and what to do.
    busy : str
        What is being done; "" when nothing is.
    message : str
        How the last command ended.
    """

    blocked: str | None = _NOTHING
    busy: str = ""
    message: str = ""


class FigureController:
    """Draws the shown map over what is in view, as it looks on the screen.

    Parameters
    ----------
    attention : AttentionController
    jobs : JobRunner
    """

    changed = Signal(FigureState)
    drawn = Signal(Copied)  # the clipboard belongs to the GUI thread

    def __init__(self, attention: AttentionController, jobs: JobRunner) -> None:
        self._attention, self._jobs = attention, jobs
        self._command = Command(jobs, self._update)
        self.state = FigureState()
        attention.chosen.connect(self._on_chosen)
        self._on_chosen(attention.current)

    def copy(self) -> None:
        """Draw the figure; `drawn` tells when it is there."""

        def done(copied: Copied) -> None:
            self.drawn.emit(copied)
            height, width = copied.pixels.shape[:2]
            self._update(message=f"The figure is on the clipboard, {width:,} × {height:,} px.")

        self._start(lambda drawing: Copied(drawing.pixels(), drawing.svg()), done)

    def save(self, path: Path) -> None:
        """Draw the figure and write it, as PNG or SVG by its suffix."""

        def write(drawing: Drawing) -> Path:
            from napari_lumen.explain.figure import write_figure

            return write_figure(drawing, path)

        self._start(write, lambda written: self._update(message=f"Saved as {written}."))

    def close(self) -> None:
        """Stop everything and wait for it; may be called twice."""
        self._attention.chosen.disconnect(self._on_chosen, missing_ok=True)
        self._jobs.close()

    def _start(self, finish: Callable[[Drawing], Any], done: Callable[[Any], None]) -> None:
        current = self._attention.current
        if current is None or self.state.busy:
            return
        from napari_lumen.plugin.attention_figure_work import as_shown, draw

        slide = self._attention.slides.slide(current.slide)
        step, origin = step_of(current.slide), origin_of(current.slide)
        region = view_region(self._attention.viewer, step, slide.shape, origin)
        style = as_shown(current, self._attention.state.legend)

        def work(emit: Emit, cancel: Event) -> Any:
            return finish(draw(slide, region, current, style))

        self._command.run("Drawing the figure …", work, done)

    def _on_chosen(self, chosen: ChosenMap | None) -> None:
        self._update(blocked=_NOTHING if chosen is None else None)

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self.changed.emit(state)
