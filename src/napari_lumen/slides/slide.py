"""A whole-slide image: a pyramid on the level-0 frame, read by region, at a level or at an exact mpp."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.slides.asked import asked_level, asked_mpp, asked_place, asked_window
from napari_lumen.slides.damage import Damage
from napari_lumen.slides.fingerprint import fingerprint_of
from napari_lumen.slides.level import Channel, Level
from napari_lumen.slides.marked import MarkedReader
from napari_lumen.slides.pyramid import viewer_grids
from napari_lumen.slides.regrid import GridReader

if TYPE_CHECKING:
    import dask.array as da

Pixels = npt.NDArray[Any]
Picture = npt.NDArray[np.uint8]

_WHITE = 255


class Slide(ABC):
    """A whole-slide image. Open one with `napari_lumen.open_slide`.

    Safe to read from many threads. A context manager; closing twice does no harm.

    Attributes
    ----------
    path : Path
    location : Path or str
        Where it was opened from: `path`, or a URL.
    files : tuple of Path
        Those on this machine by which the slide is known again.
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
    damage : Damage
        The tiles that could not be decoded where damage was to be marked.
    missing_is_white : bool
        Whether parts of the file that go while it is open read as white, without an error.
    """

    path: Path
    location: Path | str
    files: tuple[Path, ...]
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
    damage: Damage
    missing_is_white: bool = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.location = path
        self.files = (path,)
        self.damage = Damage()
        self._token = uuid4().hex

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
        """Hex digest that knows the slide again after a move or a rename, by samples of what is stored.

        Raises
        ------
        SlideError
            When it is no longer there.
        """
        return self.fingerprint_now()

    def fingerprint_now(self) -> str:
        """Return the fingerprint computed anew: another one where the slide was replaced since.

        It raises as `fingerprint` does.
        """
        try:
            return fingerprint_of(self.files)
        except OSError as error:
            raise SlideError(
                f"{self.path.name} can no longer be read from {self.path.parent}: "
                f"{error.strerror or error}. Put it back and open it again."
            ) from error

    def require_there(self) -> None:  # noqa: B027  # of most a read tells
        """Look, quickly, whether the slide can still be read, where a read would not tell.

        Raises
        ------
        SlideError, OSError
            When it cannot.
        """

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
        ValueError
            When there is no such level, or the window is none.
        SlideError
            When a number is a fraction, or the file cannot be decoded there.
        """
        wanted = asked_window(self.path.name, y, x, height, width)
        return self._read_window(asked_level(self.path.name, len(self.levels), level), wanted, self._read)

    def _read_window(self, level: int, wanted: Window, read: Callable[[int, Window], Pixels]) -> Pixels:
        inside = wanted.intersect(Window(0, 0, *self.levels[level].shape))
        if inside == wanted and inside.height and inside.width:
            return read(level, inside)
        out = np.full((wanted.height, wanted.width, self.samples), self._ground, self.dtype)
        if inside.height and inside.width:
            top, left = inside.y - wanted.y, inside.x - wanted.x
            out[top : top + inside.height, left : left + inside.width] = read(level, inside)
        return out

    def _read_now(self, level: int, window: Window) -> Pixels:
        """Read a window for a viewer, which stands still meanwhile; what would take too long is hatched."""
        return self._read_marked(level, window)

    def _read_marked(self, level: int, window: Window) -> Pixels:
        """Read a window inside a level; tiles that cannot be decoded are hatched, and told of once."""
        return self._marked.read(self._read, level, window)

    @cached_property
    def _marked(self) -> MarkedReader:
        return MarkedReader(self.levels, self.samples, self.dtype, self.damage)

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
        ValueError
            When the place, the size or the pixel size is none.
        SlideError
            When the slide's pixel size is unknown, the size is a fraction, or the file cannot be decoded.
        """
        name = self.path.name
        window = asked_window(name, 0, 0, height, width)
        origin, target = asked_place(name, y, x), asked_mpp(name, mpp)
        own = self.require_mpp()
        step = (target[0] / own[0], target[1] / own[1])
        return self.read_grid(Grid((window.height, window.width), step, origin), window)

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
        return self._on_grid(grid, window, self._read_marked if marked else self._read)

    def _on_grid(self, grid: Grid, window: Window, read: Callable[[int, Window], Pixels]) -> Pixels:
        return GridReader(self.levels, partial(self._read_window, read=read)).read(grid, window)

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

        Tiles that cannot be decoded come out hatched in grey, with one warning a slide; so do, for now,
        those that a server does not send within a moment (see `Damage.passed`).

        Parameters
        ----------
        color : callable, optional
            Changes the colours of what is read, as of `napari_lumen.slides.color.to_srgb`.
        channel : int, optional
            Only this sample of each pixel: the arrays are (h, w).
        """
        from napari_lumen.slides.dask_level import dask_level  # dask takes a while to import

        def read(grid: Grid, window: Window) -> Pixels:
            pixels = self._on_grid(grid, window, self._read_now)
            return pixels if color is None else color(pixels)

        name = f"slide-{self._token}-{id(color) if color else 'raw'}"
        return [
            dask_level(grid, read, self.samples, self.dtype, f"{name}-{index}", channel)
            for index, grid in enumerate(self.pyramid())
        ]
