"""What the two formats of a conversion have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from napari_lumen.slides.convert.plan import Block, Pixels, Plan
from napari_lumen.slides.level import Channel

Tell = Callable[[int, int], None]  # tiles put together so far, and of how many; raises Cancelled


@dataclass(frozen=True, slots=True)
class Facts:
    """What is written beside the pixels.

    Attributes
    ----------
    name : str
    channels : tuple of Channel
        Empty for RGB.
    magnification : float or None
    icc_profile : bytes or None
    """

    name: str
    channels: tuple[Channel, ...]
    magnification: float | None
    icc_profile: bytes | None


class Target(ABC):
    """A pyramid that is written tile by tile, and appears under its name when it is whole.

    Attributes
    ----------
    plan : Plan
    """

    plan: Plan

    @abstractmethod
    def write(self, level: int, row: int, column: int, pixels: Pixels, *, keep: bool) -> None:
        """Write one tile, `dtype` (h, w, samples), clipped to its level; from any thread.

        Parameters
        ----------
        keep : bool
            Whether `kept` will be asked for it.
        """

    @abstractmethod
    def kept(self, level: int, row: int, column: int) -> Pixels:
        """Return a tile exactly as it was written."""

    @abstractmethod
    def commit(self, block: Block) -> None:
        """Record that all tiles of a block are written."""

    @abstractmethod
    def is_done(self, block: Block) -> bool:
        """Whether a block was recorded, now or by an earlier call."""

    @abstractmethod
    def finish(self, tell: Tell) -> Path:
        """Put the whole together and return where it lies in the working folder."""
