"""What lies beside a prediction: its probabilities, for the curves, and its image, to show the worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.comparison.label_image import read_array
from napari_lumen.comparison.run_labels import RunLabels
from napari_lumen.comparison.source import Source
from napari_lumen.errors import AnnotationError, SlideError
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference import Run
from napari_lumen.slides import open_slide

_SIDE = 384  # px, of the tissue of a slide's worst tiles


def probability_of(
    said: Source,
    name: str,
    shape: tuple[int, int] | None,
    window: Window,
    classes: ClassTable,
    folder: Path | None,
) -> dict[str, npt.NDArray[Any]]:
    """Return the probabilities (h, w) in a window by class: a run's own, or those of a folder.

    Raises
    ------
    AnnotationError
        When the folder has no map of the name, or one that does not fit the classes.
    """
    if isinstance(said, RunLabels):
        return said.probability(window)
    if folder is None:
        return {}
    path = _named(folder, name, (".npy", ".tif", ".tiff"))
    maps = read_array(path)
    maps = maps[None] if maps.ndim == 2 else maps
    names = [item.name for item in classes if item.value]
    if maps.ndim != 3 or len(maps) != len(names) or not np.issubdtype(maps.dtype, np.floating):
        raise AnnotationError(
            f"{path} holds {maps.dtype} of the shape {maps.shape}; it should hold a map of 0 to 1 for each "
            f"of {', '.join(names)}."
        )
    _require_shape(path, maps.shape[1:], shape)
    return {of: map_[window.slices] for of, map_ in zip(names, maps, strict=True)}


def pixels_of(
    said: Source,
    name: str,
    grid: Grid,
    window: Window,
    folder: Path | None,
    shape: tuple[int, int] | None = None,
) -> Callable[[], npt.NDArray[np.uint8] | None] | None:
    """Return what reads the image in a window when it is wanted: of a folder, or of the run's slide."""
    if folder is not None:
        return lambda: _image(_named(folder, name, (".png", ".jpg", ".jpeg", ".tif", ".tiff")), shape, window)
    if isinstance(said, RunLabels):
        return lambda: _tissue(said.run, grid, window)
    return None


def _image(path: Path, shape: tuple[int, int] | None, window: Window) -> npt.NDArray[np.uint8]:
    pixels = read_array(path)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise AnnotationError(
            f"{path} holds {pixels.dtype} of the shape {pixels.shape}, which is no picture."
        )
    _require_shape(path, pixels.shape[:2], shape)
    pixels = pixels[..., :3][window.slices]
    return np.asarray(pixels >> 8 if pixels.dtype == np.uint16 else pixels, np.uint8)


def _require_shape(path: Path, own: tuple[int, ...], shape: tuple[int, int] | None) -> None:
    """Make sure that what lies beside labels is of their pixels; outlines have none."""
    if shape is not None and own != shape:
        raise AnnotationError(
            f"{path} is of {own[1]} x {own[0]} px, the labels of {shape[1]} x {shape[0]} px: they must be of "
            "the same pixels."
        )


def _tissue(run: Run, grid: Grid, window: Window) -> npt.NDArray[np.uint8] | None:
    """Read a part of the run's slide; None where the slide is no longer there."""
    place = grid.region_of(window)
    factor = max(1.0, max(window.height, window.width) / _SIDE)
    shape = (max(1, round(window.height / factor)), max(1, round(window.width / factor)))
    small = Grid(shape, (place.height / shape[0], place.width / shape[1]), (place.y, place.x))
    try:
        with open_slide(run.record.slide, mpp=run.record.mpp) as slide:
            return slide.read_grid(small, Window(0, 0, *shape))
    except SlideError:
        return None


def _named(folder: Path, name: str, suffixes: Sequence[str]) -> Path:
    for suffix in suffixes:
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise AnnotationError(f"{folder} holds no {name} ({', '.join(suffixes)}).")
