"""Reading the views of a tile, the tile itself and its context, and watching whether the slide is there."""

from __future__ import annotations

import inspect
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import zarr

from napari_lumen.errors import Cancelled, LumenError, RunError, first_line
from napari_lumen.geometry import Grid, Window
from napari_lumen.models import View
from napari_lumen.slides import Slide
from napari_lumen.slides.omezarr import OmeZarrSlide

_ADVICE = "Check the disk or the network."
_OFTEN = 2.0  # s between two looks at the slide
_SHARE = 0.02  # of the time, at most, goes into looking
_IN_A_ROW = 32  # tiles that fail one after the other: a disk or a server that is gone, not a bad tile
_FROM_THE_START = 256  # the same while none could be read at all: then there is nothing to go on from
_LEAST_AT_END, _END = 64, 0.1  # of at least so many tiles, so large a part at the end

Views = tuple[npt.NDArray[np.uint8], ...]


@dataclass
class TileReader:
    """Reads tiles of a slide, each once more when it fails.

    Parameters
    ----------
    slide : Slide
    grid : Grid
        That tiles are windows of, at the mpp of the first view.
    views : sequence of View
        What the network eats. All views of a tile share its centre; what lies outside the slide is white.

    Attributes
    ----------
    failures : dict of Window to str
        Tiles that could not be read even the second time, and why.
    watch : SlideWatch
        Whether the slide is still there.
    """

    slide: Slide
    grid: Grid
    views: Sequence[View]
    failures: dict[Window, str] = field(default_factory=dict)
    watch: SlideWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = SlideWatch(self.slide, self.failures)

    def read(self, tile: Window) -> Views | None:
        """Return one (size, size, 3) uint8 array a view, or None when the tile cannot be read."""
        for attempt in (1, 2):
            try:
                return tuple(self._view(tile, view) for view in self.views)
            except (Cancelled, MemoryError):
                raise
            except Exception as error:  # readers and codecs raise types of their own: one tile is bad
                if attempt == 2:
                    self.failures[tile] = (
                        str(error)
                        if isinstance(error, LumenError)
                        else f"{type(error).__name__}: {first_line(error)}"
                    )
        return None

    def _view(self, tile: Window, view: View) -> npt.NDArray[np.uint8]:
        if view is self.views[0]:
            return self.slide.read_grid(self.grid, tile)
        region = self.grid.region_of(tile)
        mpp = self.slide.require_mpp()
        step = (view.mpp / mpp[0], view.mpp / mpp[1])
        origin = (
            region.y + (region.height - view.size * step[0]) / 2,
            region.x + (region.width - view.size * step[1]) / 2,
        )
        return self.slide.read_grid(
            Grid((view.size, view.size), step, origin), Window(0, 0, view.size, view.size)
        )


@dataclass
class SlideWatch:
    """Tells a slide that has gone from one with bad tiles, and ends the run in which it went.

    Parameters
    ----------
    slide : Slide
    failures : dict of Window to str
        Those of the reader.

    Attributes
    ----------
    known : collection of Window
        Tiles that have failed in an earlier session: they say nothing new. Of a slide with many of them
        more may fail in a row, so that one which is damaged far and wide is answered after a few calls.
    gone : bool
        Whether it was found to be gone.
    """

    slide: Slide
    failures: dict[Window, str]
    known: Collection[Window] = ()
    gone: bool = False
    _total: int = 0
    _read: int = 0
    _row: int = 0
    _last: float = field(default_factory=time.monotonic)
    _cost: float = 0.0

    @property
    def silent(self) -> bool:
        """Whether what is missing of the slide reads as white, without an error."""
        return isinstance(self.slide, OmeZarrSlide)

    def note(self, read: int, failed: Collection[Window]) -> None:
        """Note how many tiles of a batch were read, and which failed.

        Raises
        ------
        RunError
            When the slide has gone.
        """
        fresh = [tile for tile in failed if tile not in self.known]
        self._total += read + len(fresh)
        self._read += read
        self._row = len(fresh) if read else self._row + len(fresh)
        if (fresh or self.silent) and time.monotonic() - self._last > max(_OFTEN, self._cost / _SHARE):
            self.require_whole()
        if self._row >= max(_IN_A_ROW if self._read else _FROM_THE_START, 4 * len(self.known)):
            self.require_whole()
            self._stop_for_the_row()

    def ended(self) -> None:
        """Look for the last time, when no tile is left.

        Raises
        ------
        RunError
            When the slide has gone.
        """
        if self._row or self.silent:
            self.require_whole(wholly=True)
        if self._read and self._total >= _LEAST_AT_END and self._row >= _END * self._total:
            self._stop_for_the_row()

    def require_whole(self, *, wholly: bool = False) -> None:
        """Look whether the slide is there, and the one that was opened.

        Parameters
        ----------
        wholly : bool
            Look at samples of the pixels also where each is an answer of a server.

        Raises
        ------
        RunError
            When it is not.
        """
        start = time.monotonic()
        why = self._why_gone(wholly=wholly)
        self._last = time.monotonic()
        self._cost = self._last - start
        if why:
            self._stop(why)

    def _why_gone(self, *, wholly: bool) -> str | None:
        slide = self.slide
        try:
            if isinstance(slide, OmeZarrSlide):
                level = slide._arrays[0]
                if zarr.open_array(store=level.store_path, mode="r").shape != level.shape:
                    return f"it is another one than at the start. {_ADVICE}"
                if not wholly and isinstance(slide.location, str):
                    return None
            if _fingerprint_now(slide) != slide.fingerprint:
                return f"it is another one than at the start, or a part of it is gone. {_ADVICE}"
        except FileNotFoundError:
            return f"it is no longer there. {_ADVICE}"
        except Exception as error:  # disks, networks and codecs raise types of their own
            return f"{first_line(error.__cause__ or error)}. {_ADVICE}"
        return None

    def _stop_for_the_row(self) -> None:
        why = list(self.failures.values())[-1].rstrip(".")
        self._stop(f"{self._row} tiles in a row failed, the last one so: {why}.")

    def _stop(self, why: str) -> None:
        self.gone = True
        raise RunError(
            f"The slide {self.slide.location} can no longer be read: {why} "
            "What is finished stays: the same call goes on from there."
        )


def _fingerprint_now(slide: Slide) -> str:
    """Return the fingerprint computed anew; the slide keeps the one that it was opened with."""
    made = inspect.getattr_static(type(slide), "fingerprint")
    return str(made.func(slide) if isinstance(made, cached_property) else slide.fingerprint)
