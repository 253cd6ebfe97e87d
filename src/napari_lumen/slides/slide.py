"""A whole-slide image: a pyramid on the level-0 frame, read by region, at a level or at an exact mpp."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Grid, Pair, Region, Window, snap_downsample
from napari_lumen.slides.pyramid import dask_array, viewer_grids

if TYPE_CHECKING:
    import dask.array as da

Pixels = npt.NDArray[np.uint8]

_WHITE = 255
_MOST_PIXELS = 16 << 20  # of source read at once when a region is reduced
_SAME_STEP = 1e-3  # of a pixel's step: below it a level is read as it is
MPP_RANGE = (0.01, 100.0)


@dataclass(frozen=True, slots=True)
class Level:
    """One stored level of a slide.

    Attributes
    ----------
    shape : (int, int)
        Height and width, px.
    downsample : (float, float)
        Level-0 pixels per pixel, (y, x), snapped as `snap_downsample` says.
    """

    shape: tuple[int, int]
    downsample: Pair

    @property
    def grid(self) -> Grid:
        """The level laid on the level-0 frame."""
        return Grid(self.shape, self.downsample)


def levels_from_shapes(shapes: list[tuple[int, int]]) -> tuple[Level, ...]:
    """Return the levels of a pyramid from their shapes (height, width), finest first."""
    base = shapes[0]
    return tuple(
        Level(shape, (snap_downsample(base[0], shape[0]), snap_downsample(base[1], shape[1])))
        for shape in shapes
    )


def checked_mpp(mpp: Pair | None, path: Path) -> Pair | None:
    """Return the pixel size (y, x) in µm, or None with a warning when the file states an absurd one."""
    if mpp is None:
        return None
    if all(math.isfinite(value) and MPP_RANGE[0] <= value <= MPP_RANGE[1] for value in mpp):
        return mpp
    warnings.warn(
        f"{path.name} states a pixel size of {mpp[1]:g} x {mpp[0]:g} µm, which no slide has; "
        "it is treated as unknown.",
        UserWarning,
        stacklevel=2,
    )
    return None


class AssociatedImages(Mapping[str, Pixels]):
    """Label, macro and thumbnail by name, each read when asked for: uint8 (h, w, 3)."""

    def __init__(self, readers: Mapping[str, Callable[[], Pixels]]) -> None:
        self._readers = dict(readers)

    def __getitem__(self, name: str) -> Pixels:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


class Slide(ABC):
    """A whole-slide image. Open one with `napari_lumen.open_slide`.

    Safe to read from many threads. A context manager; closing twice does no harm.

    Attributes
    ----------
    path : Path
    levels : tuple of Level
        Stored levels, finest first.
    mpp : (float, float) or None
        µm per level-0 pixel, (y, x); None when the file does not say.
    mpp_given : bool
        Whether `mpp` was given by the user instead of the file.
    magnification : float or None
        Of the objective, as the scanner states it.
    vendor : str
    properties : mapping of str to str
        The scanner's own facts.
    bounds : Region or None
        The scanned part, where a format states one. Coordinates stay those of the whole slide.
    associated : mapping of str to ndarray
        Label, macro and thumbnail; lazily read.
    """

    path: Path
    levels: tuple[Level, ...]
    mpp: Pair | None
    mpp_given: bool = False
    magnification: float | None
    vendor: str
    properties: Mapping[str, str]
    bounds: Region | None
    associated: Mapping[str, Pixels]

    @abstractmethod
    def _read(self, level: int, window: Window) -> Pixels:
        """Read a window that lies wholly inside the level: uint8 (h, w, 3)."""

    @abstractmethod
    def close(self) -> None:
        """Free the file."""

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width = self.shape
        size = "unknown pixel size" if self.mpp is None else f"{self.mpp[1]:.4g} µm/px"
        return f"<Slide {self.path.name}: {width} x {height} px, {len(self.levels)} levels, {size}>"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of level 0, px."""
        return self.levels[0].shape

    @property
    def fingerprint(self) -> str:
        """Hex digest that knows the slide again after a move or a rename: of its size, start and end."""
        digest = hashlib.sha256()
        size = self.path.stat().st_size if self.path.is_file() else 0
        digest.update(f"{size} {self.shape} {len(self.levels)}".encode())
        if self.path.is_file():
            with self.path.open("rb") as file:
                digest.update(file.read(1 << 18))
                file.seek(max(0, size - (1 << 18)))
                digest.update(file.read())
        else:
            for part in sorted(self.path.iterdir()):
                if part.is_file():
                    digest.update(f"{part.name} {part.stat().st_size}".encode())
        return digest.hexdigest()[:32]

    def read(self, y: int, x: int, height: int, width: int, level: int = 0) -> Pixels:
        """Read a window of a stored level.

        Parameters
        ----------
        y, x, height, width : int
            In pixels of that level; may reach outside the slide, where it is white.
        level : int

        Returns
        -------
        ndarray
            uint8 (height, width, 3).

        Raises
        ------
        SlideError
            When the file cannot be decoded there.
        """
        wanted = Window(int(y), int(x), int(height), int(width))
        inside = wanted.intersect(Window(0, 0, *self.levels[level].shape))
        if inside == wanted and inside.height and inside.width:
            return self._read(level, inside)
        out = np.full((wanted.height, wanted.width, 3), _WHITE, np.uint8)
        if inside.height and inside.width:
            top, left = inside.y - wanted.y, inside.x - wanted.x
            out[top : top + inside.height, left : left + inside.width] = self._read(level, inside)
        return out

    def read_at(self, y: float, x: float, height: int, width: int, mpp: float | Pair) -> Pixels:
        """Read at an exact pixel size, resampled from the next finer level.

        Parameters
        ----------
        y, x : float
            Upper left edge in level-0 pixels.
        height, width : int
            Of the result, px.
        mpp : float or (float, float)
            µm per pixel of the result, (y, x).

        Returns
        -------
        ndarray
            uint8 (height, width, 3); white outside the slide.

        Raises
        ------
        SlideError
            When the slide's own pixel size is unknown, or the file cannot be decoded there.
        """
        own = self.require_mpp()
        target = (mpp, mpp) if isinstance(mpp, int | float) else mpp
        step = (target[0] / own[0], target[1] / own[1])
        return self.read_grid(Grid((height, width), step, (y, x)), Window(0, 0, height, width))

    def read_grid(self, grid: Grid, window: Window) -> Pixels:
        """Read a window of any grid laid on the slide, resampled from the next finer level.

        Each pixel is the anti-aliased (triangle-weighted) mean around its own exact footprint, so tiles
        read one by one join without seams and never drift.

        Parameters
        ----------
        grid : Grid
        window : Window
            In pixels of the grid.

        Returns
        -------
        ndarray
            uint8 (window.height, window.width, 3).
        """
        level = self._source_level(grid.step)
        source = self.levels[level].grid
        region = grid.region_of(window)
        ratio = (grid.step[0] / source.step[0], grid.step[1] / source.step[1])
        top, left = region.y / source.step[0], region.x / source.step[1]
        near = (round(top), round(left))
        if (
            abs(ratio[0] - 1) * window.height < _SAME_STEP
            and abs(ratio[1] - 1) * window.width < _SAME_STEP
            and abs(top - near[0]) < _SAME_STEP
            and abs(left - near[1]) < _SAME_STEP
        ):
            return self.read(*near, window.height, window.width, level)
        pixels = window.height * window.width
        if pixels > 1 and pixels * ratio[0] * ratio[1] > _MOST_PIXELS:
            return self._read_in_parts(grid, window)
        inside = grid.window_within(self.levels[0].grid.region).intersect(window)
        if inside == window:
            return self._resample(grid, window, level, white=False)
        out = self._resample(grid, window, level, white=True)
        if inside.height and inside.width:
            part = Window(inside.y - window.y, inside.x - window.x, inside.height, inside.width)
            out[part.slices] = self._resample(grid, inside, level, white=False)
        return out

    def _resample(self, grid: Grid, window: Window, level: int, white: bool) -> Pixels:
        """Resample a window of a grid from a level, with or without the white around the slide.

        Without it the weights are shared out among the pixels of the slide, so that no white seeps in.
        """
        source = self.levels[level]
        region = grid.region_of(window)
        steps = source.downsample
        top, left = region.y / steps[0], region.x / steps[1]
        bottom, right = region.bottom / steps[0], region.right / steps[1]
        # the weights of a pixel reach as far again as the pixel is wide
        margin = [math.ceil(max(1.0, own / step)) + 1 for own, step in zip(grid.step, steps, strict=True)]
        y, x = math.floor(top) - margin[0], math.floor(left) - margin[1]
        height, width = math.ceil(bottom) + margin[0] - y, math.ceil(right) + margin[1] - x
        wanted = Window(y, x, height, width)
        if not white:
            wanted = wanted.intersect(Window(0, 0, *source.shape))
        pixels = self.read(wanted.y, wanted.x, wanted.height, wanted.width, level)
        beyond = (math.ceil(bottom) - wanted.y - wanted.height, math.ceil(right) - wanted.x - wanted.width)
        if max(beyond) > 0:  # a level whose last pixel was rounded away
            pixels = np.pad(pixels, ((0, max(0, beyond[0])), (0, max(0, beyond[1])), (0, 0)), mode="edge")
        box = (
            max(0.0, left - wanted.x),
            max(0.0, top - wanted.y),
            min(pixels.shape[1], right - wanted.x),
            min(pixels.shape[0], bottom - wanted.y),
        )
        image = Image.fromarray(pixels).resize(
            (window.width, window.height), Image.Resampling.BILINEAR, box=box
        )
        return np.array(image)

    def _read_in_parts(self, grid: Grid, window: Window) -> Pixels:
        """Halve a window whose source would not fit in memory."""
        if window.height >= window.width:
            half = window.height // 2
            first = Window(window.y, window.x, half, window.width)
            second = Window(window.y + half, window.x, window.height - half, window.width)
            return np.concatenate([self.read_grid(grid, first), self.read_grid(grid, second)], axis=0)
        half = window.width // 2
        first = Window(window.y, window.x, window.height, half)
        second = Window(window.y, window.x + half, window.height, window.width - half)
        return np.concatenate([self.read_grid(grid, first), self.read_grid(grid, second)], axis=1)

    def _source_level(self, step: Pair) -> int:
        """Return the coarsest level that is still as fine as `step` on both axes."""
        fitting = [
            index
            for index, level in enumerate(self.levels)
            if all(
                own <= wanted * (1 + 1 / side)  # within the rounding of the level's side
                for own, wanted, side in zip(level.downsample, step, level.shape, strict=True)
            )
        ]
        return fitting[-1] if fitting else 0

    def require_mpp(self) -> Pair:
        """Return the pixel size (y, x) in µm, or raise SlideError when it is unknown."""
        if self.mpp is None:
            raise SlideError(
                f"{self.path.name} does not state its pixel size; give it in µm "
                "(open_slide(path, mpp=0.25), --mpp 0.25, or the field in the Run model panel)."
            )
        return self.mpp

    def pyramid(self) -> list[Grid]:
        """Return the grids that a viewer shows: stored levels, with virtual ones between and below.

        Where a stored level is more than twice as coarse as the one before, levels of two come between;
        below the coarsest they go on until the longer side is at most 2,048 px. All cover the whole slide:
        napari takes the ratio of the shapes as a level's step, and 33333 / 8333 is a little more than 4.
        """
        return viewer_grids(self.levels)

    def dask_levels(self) -> list[da.Array]:
        """Return the levels of `pyramid` as lazy dask arrays, uint8 (h, w, 3)."""
        name = f"slide-{self.fingerprint}-{os.getpid()}-{id(self)}"
        return [
            dask_array(grid, self.read_grid, f"{name}-{index}") for index, grid in enumerate(self.pyramid())
        ]
