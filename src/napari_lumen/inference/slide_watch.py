"""Watching, while a run goes on, whether its slide is still there."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from napari_lumen.errors import RunError, SlideError, first_line
from napari_lumen.geometry import Window
from napari_lumen.slides import Slide

_ADVICE = "Check the disk or the network."
_OFTEN = 2.0  # s between two looks at the slide
_SHARE = 0.02  # of the time, at most, goes into looking
_IN_A_ROW = 32  # tiles that fail one after the other: a disk or a server that is gone, not a bad tile
_FROM_THE_START = 256  # the same while none could be read at all: then there is nothing to go on from
_LEAST_AT_END, _END = 64, 0.1  # of at least so many tiles, so large a part at the end


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
        return self.slide.missing_is_white

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

    def require_unchanged(self) -> None:
        """Look whether what was read can be told of as read from the slide that was opened.

        A file that is gone is told of by its reads, or read on through what is open of it.

        Raises
        ------
        RunError
            When the slide is another one by now, or what is missing of it reads as white and it is gone.
        """
        if self.silent:
            self.require_whole()
        elif not isinstance(self.slide.location, str):  # each sample would be an answer of a server
            with suppress(SlideError, OSError):
                if (why := self._why_another()) is not None:
                    self._stop(why)

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
            slide.require_there()
            if not wholly and isinstance(slide.location, str):  # each sample is an answer of a server
                return None
            return self._why_another()
        except Exception as error:  # disks, networks and codecs raise types of their own
            if isinstance(error, FileNotFoundError) or isinstance(error.__cause__, FileNotFoundError):
                return f"it is no longer there. {_ADVICE}"
            return f"{first_line(error.__cause__ or error)}. {_ADVICE}"

    def _why_another(self) -> str | None:
        if self.slide.fingerprint_now() == self.slide.fingerprint:
            return None
        return f"it is another one than at the start, or a part of it is gone. {_ADVICE}"

    def _stop_for_the_row(self) -> None:
        why = list(self.failures.values())[-1].rstrip(".")
        self._stop(f"{self._row} tiles in a row failed, the last one so: {why}.")

    def _stop(self, why: str) -> None:
        self.gone = True
        raise RunError(
            f"The slide {self.slide.location} can no longer be read: {why} "
            "What is finished stays: the same call goes on from there."
        )
