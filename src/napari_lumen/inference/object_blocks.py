"""Objects of one block of a label raster: whole ones, and pieces of those that reach beyond it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Window
from napari_lumen.inference.instances import Numbers, components, split_touching
from napari_lumen.inference.measures import Objects, measure
from napari_lumen.inference.plan import Cell

Labels = npt.NDArray[np.uint8]


class Rasters(Protocol):
    """What objects are found in."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""

    def labels(self, window: Window) -> Labels:
        """Return a window of the labels, uint8 (h, w); 0 is background."""

    def probability(self, window: Window) -> Labels:
        """Return a window of the probabilities, uint8 (classes, h, w) in steps of 1/255."""


@dataclass(frozen=True)
class Seen:
    """What is seen of one block; instances are numbered from 1, 0 is none.

    Attributes
    ----------
    pixels : ndarray
        (256,) how many pixels have each label, those of small objects included.
    around : tuple of ndarray
        Instances one pixel outside the block: above, below (w + 2,), left and right (h + 2,).
    left, top : ndarray
        Instances of its first column (h,) and row (w,).
    numbers : ndarray
        (n,) of the instances that have pixels in the block, rising.
    pieces : Objects
        Those pixels.
    """

    pixels: npt.NDArray[np.int64]
    around: tuple[Numbers, Numbers, Numbers, Numbers]
    left: Numbers
    top: Numbers
    numbers: npt.NDArray[np.intp]
    pieces: Objects


@dataclass(frozen=True)
class BlockLook:
    """How a block is looked at: with a margin, by itself, so that any thread or process can do it.

    Attributes
    ----------
    values : tuple of int
        Labels of the classes, in the order of the channels of the probability.
    side : int
        Of the blocks, px.
    margin : int
        Px, at least 1. Areas that lie within it around a block are split as in the whole raster; larger ones
        are split by what is seen of them, and the block that comes first decides at a border.
    split : bool
        Whether to split areas at their necks.
    smallest : int
        Px. Areas that are seen whole and are smaller are left out, which costs less than to measure them;
        smaller objects still come of larger areas and of pieces.
    """

    values: tuple[int, ...]
    side: int
    margin: int = 1
    split: bool = False
    smallest: int = 1

    def at(self, rasters: Rasters, block: Cell, check: Callable[[], None] = lambda: None) -> Seen:
        """Return what is seen of a block (row, column); `check` is called often, to end it by raising."""
        whole = Window(0, 0, *rasters.shape)
        core = Window(block[0] * self.side, block[1] * self.side, self.side, self.side).intersect(whole)
        seen = _grown(core, self.margin).intersect(whole)
        labels = rasters.labels(seen)
        place = Window(core.y - seen.y, core.x - seen.x, core.height, core.width)
        pixels = np.bincount(labels[place.slices].ravel(), minlength=256)
        numbers, pieces = np.zeros(0, np.intp), Objects.none()
        framed = np.zeros((core.height + 2, core.width + 2), np.int32)
        if pixels[1:].any():
            framed = _part(self._instances(labels, place, check), seen, _grown(core, 1))
            check()
            channels = np.zeros(256, np.intp)
            channels[list(self.values)] = np.arange(len(self.values))
            numbers, pieces = measure(
                framed, core, labels[place.slices], rasters.probability(core), channels, check
            )
        edges = (*_edges(framed), framed[1:-1, 1], framed[1, 1:-1])
        above, below, before, behind, left, top = (edge.copy() for edge in edges)
        return Seen(pixels, (above, below, before, behind), left, top, numbers, pieces)

    def _instances(self, labels: Labels, core: Window, check: Callable[[], None]) -> Numbers:
        """Number the instances of all classes from 1; areas outside a core, or too small, are left out."""
        found = np.zeros(labels.shape, np.int32)
        last = 0
        for value in self.values:
            areas = components(labels == value)
            wanted = np.bincount(areas.ravel()) >= self.smallest
            wanted[np.concatenate(_edges(areas))] = True  # they may be larger than is seen of them
            touching = np.zeros(len(wanted), bool)
            touching[areas[core.slices]] = True
            wanted &= touching
            wanted[0] = False
            check()
            if self.split and wanted.any():
                areas = split_touching(np.where(wanted[areas], areas, 0), check)
                wanted = np.arange(int(areas.max()) + 1) > 0
            found += np.where(wanted, np.cumsum(wanted, dtype=np.int32) + last, 0)[areas]
            last += int(wanted.sum())
        return found


def _edges(values: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    return values[0], values[-1], values[:, 0], values[:, -1]


def _grown(window: Window, by: int) -> Window:
    return Window(window.y - by, window.x - by, window.height + 2 * by, window.width + 2 * by)


def _part(values: Numbers, of: Window, wanted: Window) -> Numbers:
    """Return a window of a raster of which another is known; 0 beyond it."""
    part = np.zeros((wanted.height, wanted.width), values.dtype)
    common = of.intersect(wanted)
    here = Window(common.y - wanted.y, common.x - wanted.x, common.height, common.width)
    there = Window(common.y - of.y, common.x - of.x, common.height, common.width)
    part[here.slices] = values[there.slices]
    return part
