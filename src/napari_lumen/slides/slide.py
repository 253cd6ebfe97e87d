"""A whole-slide image: a pyramid on the level-0 frame, read by region, at a level or at an exact mpp."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.slides.level import Channel, Level
from napari_lumen.slides.pyramid import viewer_grids
from napari_lumen.slides.resample import hatch, resize

if TYPE_CHECKING:
    import dask.array as da

Pixels = npt.NDArray[Any]
Picture = npt.NDArray[np.uint8]

_WHITE = 255
_MOST_PIXELS = 16 << 20  # of source read at once when a region is reduced
_SAME_STEP = 1e-3  # of a pixel's step: below it a level is read as it is


class Slide(ABC):
    """A whole-slide image. Open one with `napari_lumen.open_slide`.

    Safe to read from many threads. A context manager; closing twice does no harm.

    Attributes
    ----------
    path : Path
    location : Path or str
        Where it was opened from: `path`, or a URL.
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
    channels : tuple of Channel
        Empty for an RGB slide; else one for each plane of what is read.
    dtype : dtype
        Of what is read; uint8 for RGB.
    icc_profile : bytes or None
        The colour profile of level 0. What is read is raw; `napari_lumen.slides.color` applies it.
    """

    path: Path
    location: Path | str
    levels: tuple[Level, ...]
    mpp: Pair | None
    mpp_given: bool = False
    magnification: float | None
    vendor: str
    properties: Mapping[str, str]
    bounds: Region | None
    associated: Mapping[str, Picture]
    channels: tuple[Channel, ...] = ()
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    icc_profile: bytes | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.location = path
        self._damage = _Damage()

    @abstractmethod
    def _read(self, level: int, window: Window) -> Pixels:
        """Read a window that lies wholly inside the level: `dtype` (h, w, `samples`)."""

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
    def is_rgb(self) -> bool:
        """Whether the slide is a colour picture, as of a stained section; else it has `channels`."""
        return not self.channels

    @property
    def samples(self) -> int:
        """Values per pixel of what is read: 3 for RGB, else one a channel."""
        return len(self.channels) or 3

    @property
    def _ground(self) -> int:
        """The value outside the slide: glass is white, and nothing fluoresces there."""
        return _WHITE if self.is_rgb else 0

    @cached_property
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
            In pixels of that level; may reach outside the slide, where it is white (0 with channels).
        level : int

        Returns
        -------
        ndarray
            uint8 (height, width, 3); with channels, `dtype` (height, width, channels).

        Raises
        ------
        SlideError
            When the file cannot be decoded there.
        """
        return self._read_window(level, Window(int(y), int(x), int(height), int(width)), marked=False)

    def _read_window(self, level: int, wanted: Window, marked: bool) -> Pixels:
        read = self._read_marked if marked else self._read
        inside = wanted.intersect(Window(0, 0, *self.levels[level].shape))
        if inside == wanted and inside.height and inside.width:
            return read(level, inside)
        out = np.full((wanted.height, wanted.width, self.samples), self._ground, self.dtype)
        if inside.height and inside.width:
            top, left = inside.y - wanted.y, inside.x - wanted.x
            out[top : top + inside.height, left : left + inside.width] = read(level, inside)
        return out

    def _read_marked(self, level: int, window: Window) -> Pixels:
        """Read a window inside a level; tiles that cannot be decoded are hatched, and told of once."""
        damage = self._damage
        cells = list(self.levels[level].cells(window))
        if not any((level, row, column) in damage.tiles for row, column, _ in cells):
            try:
                return self._read(level, window)
            except SlideError as error:
                damage.tell(error)
        out = np.empty((window.height, window.width, self.samples), self.dtype)
        for row, column, part in cells:
            place = Window(part.y - window.y, part.x - window.x, part.height, part.width)
            key = (level, row, column)
            if key not in damage.tiles:
                try:
                    out[place.slices] = self._read(level, part)
                    continue
                except SlideError:
                    damage.tiles.add(key)
            out[place.slices] = hatch(part, self.samples, self.dtype)
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

    def read_grid(self, grid: Grid, window: Window, *, marked: bool = False) -> Pixels:
        """Read a window of any grid laid on the slide, resampled from the next finer level.

        Each pixel is the anti-aliased (triangle-weighted) mean around its own exact footprint, so tiles
        read one by one join without seams and never drift.

        Parameters
        ----------
        grid : Grid
        window : Window
            In pixels of the grid.
        marked : bool
            Hatch tiles that cannot be decoded, and warn once, instead of raising.

        Returns
        -------
        ndarray
            As of `read`: (window.height, window.width, samples).

        Raises
        ------
        SlideError
            When the file cannot be decoded there and damage is not to be marked.
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
            return self._read_window(level, Window(*near, window.height, window.width), marked)
        pixels = window.height * window.width
        if pixels > 1 and pixels * ratio[0] * ratio[1] > _MOST_PIXELS:
            return self._read_in_parts(grid, window, marked)
        inside = grid.window_within(self.levels[0].grid.region).intersect(window)
        if inside == window:
            return self._resample(grid, window, level, marked, beyond=False)
        out = self._resample(grid, window, level, marked, beyond=True)
        if inside.height and inside.width:
            part = Window(inside.y - window.y, inside.x - window.x, inside.height, inside.width)
            out[part.slices] = self._resample(grid, inside, level, marked, beyond=False)
        return out

    def _resample(self, grid: Grid, window: Window, level: int, marked: bool, beyond: bool) -> Pixels:
        """Resample a window of a grid from a level, with or without what lies beyond the slide.

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
        if not beyond:
            wanted = wanted.intersect(Window(0, 0, *source.shape))
        pixels = self._read_window(level, wanted, marked)
        lacking = (math.ceil(bottom) - wanted.y - wanted.height, math.ceil(right) - wanted.x - wanted.width)
        if max(lacking) > 0:  # a level whose last pixel was rounded away
            pixels = np.pad(pixels, ((0, max(0, lacking[0])), (0, max(0, lacking[1])), (0, 0)), mode="edge")
        box = (
            max(0.0, left - wanted.x),
            max(0.0, top - wanted.y),
            min(pixels.shape[1], right - wanted.x),
            min(pixels.shape[0], bottom - wanted.y),
        )
        return resize(pixels, (window.height, window.width), box)

    def _read_in_parts(self, grid: Grid, window: Window, marked: bool) -> Pixels:
        """Halve a window whose source would not fit in memory."""
        if window.height >= window.width:
            half = window.height // 2
            first = Window(window.y, window.x, half, window.width)
            second = Window(window.y + half, window.x, window.height - half, window.width)
            axis = 0
        else:
            half = window.width // 2
            first = Window(window.y, window.x, window.height, half)
            second = Window(window.y, window.x + half, window.height, window.width - half)
            axis = 1
        parts = [self.read_grid(grid, part, marked=marked) for part in (first, second)]
        return np.concatenate(parts, axis=axis)

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

    def dask_levels(
        self, color: Callable[[Pixels], Pixels] | None = None, *, channel: int | None = None
    ) -> list[da.Array]:
        """Return the levels of `pyramid` as lazy dask arrays, `dtype` (h, w, samples).

        Tiles that cannot be decoded come out hatched in grey, with one warning a slide.

        Parameters
        ----------
        color : callable, optional
            Changes the colours of what is read, as of `napari_lumen.slides.color.to_srgb`.
        channel : int, optional
            Only this sample of each pixel: the arrays are (h, w).
        """
        from napari_lumen.slides.dask_level import dask_level  # dask takes a while to import

        def read(grid: Grid, window: Window) -> Pixels:
            pixels = self.read_grid(grid, window, marked=True)
            return pixels if color is None else color(pixels)

        name = f"slide-{self.fingerprint}-{os.getpid()}-{id(self)}-{id(color) if color else 'raw'}"
        return [
            dask_level(grid, read, self.samples, self.dtype, f"{name}-{index}", channel)
            for index, grid in enumerate(self.pyramid())
        ]


class _Damage:
    """The tiles of a slide that were found to be damaged, told of once."""

    def __init__(self) -> None:
        self.tiles: set[tuple[int, int, int]] = set()
        self._told = False
        self._lock = Lock()

    def tell(self, error: SlideError) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            warnings.warn(f"{error} What cannot be decoded is shown hatched.", UserWarning, stacklevel=2)
