"""Slides as grids of patches with labels, which all methods of the multi-stage recipe take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import ceil
from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.rasterise import rasterise
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Window, windows
from napari_lumen.training.data.annotated import AnnotatedSlide
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.data.item import IGNORE, Item
from napari_lumen.training.data.patch_rules import PatchRule, label_patches, shares

NORMAL, TUMOUR = 0, 1  # of the labels of pixels
CellLabels = npt.NDArray[np.int16]

_SAMPLES = 32  # a side of a patch: a share of its area is known to a thousandth
_CELLS_AT_ONCE = 64  # a side, when labels are painted


class SlideSet(Protocol):
    """Slides divided into patches that touch; safe to read from several threads.

    Attributes
    ----------
    items : tuple of Item
        The slides.
    patch : int
        Side of a patch, px.
    """

    items: tuple[Item, ...]
    patch: int

    def cells(self, index: int) -> CellLabels:
        """Return the label of each patch of a slide: (rows, columns) int16 of `PatchLabel`."""

    def read(self, index: int, row: int, column: int) -> RGB:
        """Return the pixels of one patch: uint8 (patch, patch, 3)."""

    def reduced(self, index: int, cells: Window, side: int) -> tuple[RGB, Labels]:
        """Return what lies in some cells, each reduced to `side` px.

        Parameters
        ----------
        index : int
        cells : Window
            Rows and columns of cells; may reach beyond the slide.
        side : int

        Returns
        -------
        image : ndarray
            uint8 (rows * side, columns * side, 3), white outside the slide.
        labels : ndarray
            uint8, of its size: `NORMAL`, `TUMOUR`, or `IGNORE` where there is no label.
        """


class WholeSlides:
    """Annotated slides, each an item: `Pictures` to be split, from which a recipe cuts patches.

    Parameters
    ----------
    slides : sequence of AnnotatedSlide
        With the same class table and names of their own. The ``tissue`` of a slide decides which patches
        there are; a slide without one counts as tissue all over.

    Raises
    ------
    RunError
        When there is no slide, one is not RGB, or their classes differ.
    """

    def __init__(self, slides: Sequence[AnnotatedSlide]) -> None:
        if not slides:
            raise RunError("There is no slide to train on.")
        self.classes = slides[0].rules.classes
        if any(one.rules.classes != self.classes for one in slides):
            raise RunError("The slides have different tables of classes; give all of them the same one.")
        for one in slides:
            if not one.slide.is_rgb:
                raise RunError(f"{one.item.name} is not a colour slide; training takes RGB.")
        self.items = tuple(replace(one.item, slide=one.item.slide or one.item.name) for one in slides)
        self._slides = tuple(slides)

    def slide(self, index: int) -> AnnotatedSlide:
        """Return a slide."""
        return self._slides[index]

    def image(self, index: int) -> RGB:
        """Return a slide reduced to at most 256 px: uint8 (h, w, 3)."""
        return self._slides[index].overview()

    def fingerprint(self, index: int) -> str:
        """Return a checksum of a slide and its annotations."""
        return self._slides[index].fingerprint


class PatchedSlides:
    """Annotated slides as a `SlideSet`: the grid begins at the slide's corner, as in a run.

    Parameters
    ----------
    slides : WholeSlides
    mpp : float
        µm per pixel of the patches.
    patch : int
    tumour : collection of int
        Class values that are tumour; the others are normal, as background is.
    rule : PatchRule
    """

    def __init__(
        self, slides: WholeSlides, *, mpp: float, patch: int, tumour: Collection[int], rule: PatchRule
    ) -> None:
        self.items, self.patch = slides.items, patch
        self._slides, self._mpp, self._tumour, self._rule = slides, mpp, list(tumour), rule
        self._cells: dict[int, CellLabels] = {}

    def cells(self, index: int) -> CellLabels:
        """Return the label of each patch, by 32 x 32 points of it; painted once."""
        if index not in self._cells:
            self._cells[index] = self._label(index)
        return self._cells[index]

    def read(self, index: int, row: int, column: int) -> RGB:
        """Return a patch, white outside the slide."""
        place = Window(row * self.patch, column * self.patch, self.patch, self.patch)
        return self._slides.slide(index).slide.read_grid(self._grid(index, self.patch), place)

    def reduced(self, index: int, cells: Window, side: int) -> tuple[RGB, Labels]:
        """Return some cells, each of `side` px; see `SlideSet`."""
        grid = self._grid(index, side)
        place = Window(cells.y * side, cells.x * side, cells.height * side, cells.width * side)
        return self._slides.slide(index).slide.read_grid(grid, place), self._labels(index, grid, place)

    def _grid(self, index: int, side: int) -> Grid:
        """Return the grid of which `side` px are the side of a patch."""
        slide = self._slides.slide(index).slide
        step = [self._mpp / own * self.patch / side for own in slide.require_mpp()]
        rows, columns = (
            max(1, ceil(length / (side * s) - 1e-6)) for length, s in zip(slide.shape, step, strict=True)
        )
        return Grid((rows * side, columns * side), (step[0], step[1]))

    def _labels(self, index: int, grid: Grid, window: Window) -> Labels:
        return to_tumour(self._slides.slide(index).labels(grid, window), self._tumour)

    def _label(self, index: int) -> CellLabels:
        side = min(self.patch, _SAMPLES)
        grid = self._grid(index, side)
        tissue = self._slides.slide(index).tissue
        out = np.empty((grid.shape[0] // side, grid.shape[1] // side), np.int16)
        for cells in windows(out.shape, _CELLS_AT_ONCE):
            place = Window(cells.y * side, cells.x * side, cells.height * side, cells.width * side)
            labels = self._labels(index, grid, place)
            seen = self._on_slide(index, grid, place)
            if tissue is not None:
                seen &= rasterise([tissue], grid, window=place).astype(bool)
            tumour, normal = labels == TUMOUR, labels == NORMAL
            out[cells.slices] = label_patches(
                shares(seen, side), shares(tumour, side), shares(normal, side), self._rule
            )
        return out

    def _on_slide(self, index: int, grid: Grid, window: Window) -> npt.NDArray[np.bool_]:
        """Return which pixels of a window have their centre on the slide: bool (h, w)."""
        height, width = self._slides.slide(index).slide.shape
        y = (window.y + np.arange(window.height) + 0.5) * grid.step[0]
        x = (window.x + np.arange(window.width) + 0.5) * grid.step[1]
        return (y < height)[:, None] & (x < width)


def to_tumour(labels: Labels, tumour: Collection[int]) -> Labels:
    """Return class values as `NORMAL` and `TUMOUR`; `IGNORE` stays."""
    table = np.full(256, NORMAL, np.uint8)
    table[list(tumour)] = TUMOUR
    table[IGNORE] = IGNORE
    return table[labels]
