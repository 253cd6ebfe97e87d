"""What the Correct panel shows, and which windows may be opened."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.geometry import Grid, Region

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.corrections import CorrectedWindow, DraftRecord
    from napari_lumen.corrections.proposals import Proposal
    from napari_lumen.geometry import Pair
    from napari_lumen.inference.run import ClassCount

MOST_SIDE = 8192  # px of an edit window: 64 MB, which napari paints on without waiting
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_ROUNDING = 1e-6  # of a pixel
_EDGE = 0.999  # a slide's own pixels, stated as 0.4990 µm, are no finer than 0.499 µm


@dataclass(frozen=True, slots=True)
class CorrectState:
    """All that the panel shows.

    Attributes
    ----------
    slides : tuple of str
        Names of the open slides.
    slide : str or None
        The one to correct on.
    runs : tuple of (str, str)
        Folder and title of each of its runs that are shown, and "" for none of them.
    run : str
        Folder of the one to correct; "" to begin with nothing.
    sizes : tuple of (float, str)
        Pixel sizes of an edit window: times that of the run's labels, and what to show.
    size : float
    class_names : str
        Names of the classes, between commas, where there is no run to take them from.
    folder : Path or None
        Where corrections are kept.
    classes : ClassTable or None
    counts : tuple of ClassCount
        With the corrections; empty where nothing was counted.
    windows : tuple of CorrectedWindow
        What is corrected, oldest first.
    drafts : tuple of (Path, DraftRecord)
        Edits that were not accepted before a crash.
    author : str
    screen_brush : bool
        Whether the brush keeps its size on the screen.
    preserve : bool
        Whether the brush leaves other classes alone.
    open : bool
        Whether there is an edit window.
    selected : int
        Class value that the brush paints.
    ways : tuple of (str, str)
        How fields to correct next can be found, and in words; empty without a run.
    proposals : tuple of Proposal
        What was found, the best first, less what is corrected by now.
    looking : bool
        Whether proposals are being looked for, which can be stopped.
    tool : str
        The tool for objects that is in hand; "" for none.
    busy : str
        What is being done; "" when nothing is.
    blocked : str or None
        Why no window can be opened, and what to do.
    message : str
        What came of the last command.
    coarser : float or None
        A size at which what is in view could be opened, offered where it is too large.
    """

    slides: tuple[str, ...] = ()
    slide: str | None = None
    runs: tuple[tuple[str, str], ...] = ()
    run: str = ""
    sizes: tuple[tuple[float, str], ...] = ()
    size: float = 1.0
    class_names: str = ""
    folder: Path | None = None
    classes: ClassTable | None = None
    counts: tuple[ClassCount, ...] = ()
    windows: tuple[CorrectedWindow, ...] = ()
    drafts: tuple[tuple[Path, DraftRecord], ...] = ()
    author: str = ""
    screen_brush: bool = True
    preserve: bool = False
    open: bool = False
    selected: int = 0
    ways: tuple[tuple[str, str], ...] = ()
    proposals: tuple[Proposal, ...] = ()
    looking: bool = False
    tool: str = ""
    busy: str = ""
    blocked: str | None = None
    message: str = ""
    coarser: float | None = None


def sizes_of(step: Pair, mpp: Pair) -> tuple[tuple[float, str], ...]:
    """Return the pixel sizes to choose from: times that of labels, and in words.

    Parameters
    ----------
    step : (float, float)
        Level-0 pixels per pixel of the labels.
    mpp : (float, float)
        µm per level-0 pixel.
    """
    return tuple(
        (factor, f"{step[0] * factor * mpp[0]:.3g} µm/px")
        for factor in _FACTORS
        if factor == 1 or (step[0] * factor >= _EDGE)
    )


def window_grid(labels: Grid, factor: float, wanted: Region, slide: tuple[int, int]) -> Grid:
    """Return the pixels of an edit window: aligned with the labels, and clipped to the slide.

    Parameters
    ----------
    labels : Grid
        Of the run, or of the slide's own pixels.
    factor : float
        Times the labels' pixel size.
    wanted : Region
        What is in view, level-0 px.
    slide : (int, int)
        Height and width, level-0 px.
    """
    step = labels.step[0] * factor, labels.step[1] * factor
    before = [max(0, math.ceil(edge / size)) for edge, size in zip(labels.origin, step, strict=True)]
    top, left = (edge - count * size for edge, count, size in zip(labels.origin, before, step, strict=True))
    rows, columns = (
        max(1, math.ceil((side - edge) / size - _ROUNDING))
        for side, edge, size in zip(slide, (top, left), step, strict=True)
    )
    lattice = Grid((rows, columns), step, (top, left))
    window = lattice.window_of(wanted.intersect(Region(0, 0, *slide)))
    region = lattice.region_of(window)
    return Grid((window.height, window.width), step, (region.y, region.x))


def coarser_size(state: CorrectState, labels: Grid, wanted: Region, slide: tuple[int, int]) -> float | None:
    """Return the finest of the sizes at which a window is small enough; None where none is."""
    return next(
        (
            factor
            for factor, _ in state.sizes
            if max(window_grid(labels, factor, wanted, slide).shape) <= MOST_SIDE
        ),
        None,
    )


def next_field(
    slide: tuple[int, int],
    size: tuple[float, float],
    after: Region | None,
    worth: Callable[[Region], bool],
) -> Region | None:
    """Return the next field of a slide in reading order that is worth a look, or None.

    Parameters
    ----------
    slide : (int, int)
        Height and width, level-0 px.
    size : (float, float)
        Of a field, level-0 px.
    after : Region, optional
        Where the user is; the search goes on behind it, and ends where it began.
    worth : callable
        Takes a field.
    """
    rows, columns = (max(1, round(side / extent)) for side, extent in zip(slide, size, strict=True))
    height, width = slide[0] / rows, slide[1] / columns
    first = 0
    if after is not None:
        row = min(rows - 1, max(0, int((after.y + after.height / 2) / height)))
        column = min(columns - 1, max(0, int((after.x + after.width / 2) / width)))
        first = row * columns + column + 1
    for step in range(rows * columns):
        row, column = divmod((first + step) % (rows * columns), columns)
        field = Region(row * height, column * width, height, width)
        if worth(field):
            return field
    return None


def covered_by(field: Region, windows: tuple[CorrectedWindow, ...]) -> bool:
    """Whether the middle of a field lies in a corrected window."""
    y, x = field.y + field.height / 2, field.x + field.width / 2
    return any(w.y <= y < w.y + w.height and w.x <= x < w.x + w.width for w in windows)
