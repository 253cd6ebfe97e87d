"""Annotated parts of a slide as windows that touch but never overlap, in a folder of corrections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import shapely

from napari_lumen.corrections.images import write_png
from napari_lumen.corrections.index import CorrectedWindow, CorrectionIndex
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Window
from napari_lumen.training.data.annotated import AnnotatedSlide
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.samples import spread


def write_windows(
    annotated: AnnotatedSlide,
    folder: Path,
    *,
    mpp: float,
    size: int,
    most: int = 2000,
    check: Callable[[], None] = lambda: None,
) -> CorrectionIndex:
    """Cut what is annotated on a slide into windows, which then can be divided without sharing a pixel.

    Parameters
    ----------
    annotated : AnnotatedSlide
    folder : Path
        Gets `corrections.json` and a label image for each window; pixels are read from the slide.
    mpp : float
        µm per pixel of the windows.
    size : int
        Side of a window, px.
    most : int
        Where there are more windows, so many are taken, evenly spread.
    check : callable, optional
        Called for each window; what it raises ends the work.

    Raises
    ------
    RunError
        When nothing is annotated.
    """
    grid, kept = annotated_windows(annotated, mpp=mpp, size=size, most=most, check=check)
    if not kept:
        raise RunError(f"Nothing is annotated on {annotated.item.name}: draw the outline of something first.")
    folder.mkdir(parents=True, exist_ok=True)
    slide = str(annotated.slide.path)
    if "://" not in slide:
        slide = str(Path(slide).absolute())
    windows = []
    for place in kept:
        check()
        row, column = place.y // size, place.x // size
        file = f"{row}-{column}.png"
        write_png(folder / file, annotated.labels(grid, place))
        region = grid.region_of(place)
        windows.append(
            CorrectedWindow(
                name=f"row {row}, column {column}",
                labels=file,
                slide=slide,
                fingerprint=annotated.slide.fingerprint,
                y=region.y,
                x=region.x,
                height=region.height,
                width=region.width,
                mpp=(mpp, mpp),
                patient=annotated.item.patient,
                shape=(size, size),
            )
        )
    index = CorrectionIndex(classes=annotated.rules.classes, windows=tuple(windows))
    index.write(folder)
    return index


def annotated_windows(
    annotated: AnnotatedSlide,
    *,
    mpp: float,
    size: int,
    most: int = 2000,
    check: Callable[[], None] = lambda: None,
) -> tuple[Grid, list[Window]]:
    """Return a grid over a slide and the windows of it in which something is annotated, none overlapping.

    The parameters are those of `write_windows`.
    """
    own = annotated.slide.require_mpp()
    step = mpp / own[0], mpp / own[1]
    height, width = (
        max(1, int(np.ceil(side / part / size)))
        for side, part in zip(annotated.slide.shape, step, strict=True)
    )
    grid = Grid((height * size, width * size), step)
    kept = spread(_annotated_windows(annotated, grid, size, check), most)
    return grid, [Window(row * size, column * size, size, size) for row, column in kept]


def _annotated_windows(
    annotated: AnnotatedSlide, grid: Grid, size: int, check: Callable[[], None]
) -> list[tuple[int, int]]:
    """Return rows and columns of the windows in which something annotated lies, and a label."""
    side = size * grid.step[0], size * grid.step[1]
    last = grid.shape[0] // size - 1, grid.shape[1] // size - 1
    found: set[tuple[int, int]] = set()
    for item in annotated.annotations:
        if not item.geometry.area > 0:  # points and lines enclose nothing
            continue
        check()
        left, top, right, bottom = item.geometry.bounds
        shapely.prepare(item.geometry)
        for row in range(max(0, int(top // side[0])), min(last[0], int(bottom // side[0])) + 1):
            for column in range(max(0, int(left // side[1])), min(last[1], int(right // side[1])) + 1):
                if (row, column) in found:
                    continue
                place = grid.region_of(Window(row * size, column * size, size, size))
                box = shapely.box(place.x, place.y, place.right, place.bottom)
                if item.geometry.intersects(box):
                    found.add((row, column))
    return [place for place in sorted(found) if _is_labelled(annotated, grid, place, size)]


def _is_labelled(annotated: AnnotatedSlide, grid: Grid, place: tuple[int, int], size: int) -> bool:
    labels = annotated.labels(grid, Window(place[0] * size, place[1] * size, size, size))
    return bool((labels != IGNORE).any())
