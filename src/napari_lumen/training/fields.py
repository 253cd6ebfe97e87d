"""Tiles of large fields with the context around them, read as a run reads them of a slide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Window
from napari_lumen.slides.level import levels_from_shapes
from napari_lumen.slides.regrid import GridReader
from napari_lumen.training.data.image_set import RGB, ImageSet, Labels
from napari_lumen.training.data.item import IGNORE

Part = tuple[slice, slice]

_WHITE = 255
_TOLERANCE = 1e-6  # of a tile: rounding must not add one


@dataclass(frozen=True, slots=True)
class Tile:
    """Where the fine view of an example is.

    Attributes
    ----------
    field : int
        Number of the image in its set.
    y, x : float
        Its upper left corner, px of the image; below 0 where the image is smaller than a tile.
    """

    field: int
    y: float
    x: float


@dataclass(frozen=True)
class TileViews:
    """How a tile and its context are read.

    Attributes
    ----------
    size : int
        Side of each view, px.
    mpp : float
        µm per pixel of the fine view.
    own_mpp : float
        µm per pixel of images that say none.
    context : float or None
        How many times the field of the tile the one of its context is, around the same centre; None where
        the network has one view.
    """

    size: int
    mpp: float
    own_mpp: float
    context: float | None = None

    def step(self, mpp: float | None) -> float:
        """Return how many pixels of an image make one of the fine view."""
        return self.mpp / (mpp or self.own_mpp)

    def fine(self, image: RGB, y: float, x: float, step: float) -> RGB:
        """Return the square whose upper left corner is at (y, x): uint8 (size, size, 3), white outside."""
        whole = Window(0, 0, self.size, self.size)
        return _reader(image).read(Grid((self.size, self.size), (step, step), (y, x)), whole)

    def labels(self, labels: Labels, y: float, x: float, step: float) -> Labels:
        """Return its class values, each of the nearest pixel: uint8 (size, size), `IGNORE` outside."""
        rows, columns = (
            np.floor(start + (np.arange(self.size) + 0.5) * step).astype(np.intp) for start in (y, x)
        )
        height, width = labels.shape
        found = labels[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
        found[(rows < 0) | (rows >= height)] = IGNORE
        found[:, (columns < 0) | (columns >= width)] = IGNORE
        return found

    def around(self, image: RGB, y: float, x: float, step: float) -> tuple[RGB, ...]:
        """Return the context of the tile at (y, x), if the network wants one: uint8 (size, size, 3)."""
        if self.context is None:
            return ()
        more = (self.context - 1) / 2 * self.size * step
        return (self.fine(image, y - more, x - more, step * self.context),)


class FieldTiles:
    """The tiles of some fields in rows and columns, and which of them an epoch takes.

    Tiles without any label are left out.

    Parameters
    ----------
    images : ImageSet
    numbers : sequence of int
        Of the fields.
    views : TileViews
    stride : float
        From one tile to the next, as a part of their side.
    favoured : sequence of int
        Class values of which an epoch is to hold enough.
    """

    def __init__(
        self,
        images: ImageSet,
        numbers: Sequence[int],
        views: TileViews,
        *,
        stride: float,
        favoured: Sequence[int] = (),
    ) -> None:
        self._images, self._numbers, self._views = images, tuple(numbers), views
        self._stride, self._favoured = stride, np.asarray(favoured, np.uint8)

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: int) -> Tile:
        return self._found[index][0]

    def draw(self, most: int, share: float, rng: np.random.Generator) -> list[int]:
        """Return which tiles an epoch takes, in random order.

        Parameters
        ----------
        most : int
            All are taken when there are fewer.
        share : float
            Part of them that is to show a favoured class, as far as there are so many.
        rng : numpy.random.Generator
        """
        favoured = np.array([shows for _, shows in self._found])
        count = min(most, len(favoured))
        if not favoured.any():
            return [int(index) for index in rng.permutation(len(favoured))[:count]]
        first, others = rng.permutation(np.flatnonzero(favoured)), rng.permutation(np.flatnonzero(~favoured))
        wanted = min(len(first), max(round(share * count), count - len(others)))
        taken = np.concatenate([first[:wanted], others[: count - wanted]])
        return [int(index) for index in rng.permutation(taken)]

    @cached_property
    def _found(self) -> list[tuple[Tile, bool]]:
        """Each tile, and whether it shows a favoured class."""
        found = []
        for number in self._numbers:
            labels = self._images.labels(number)
            side = self._views.size * self._views.step(self._images.mpp(number))
            rows, columns = (starts(length, side, self._stride * side) for length in labels.shape)
            for y in rows:
                for x in columns:
                    part = labels[pixels_of(y, side), pixels_of(x, side)]
                    if (part != IGNORE).any():
                        found.append((Tile(number, y, x), bool(np.isin(part, self._favoured).any())))
        if not found:
            raise RunError("None of the images that are to be trained on has a label; annotate some first.")
        return found


def starts(length: int, side: float, stride: float) -> list[float]:
    """Return where tiles begin that cover `length` px evenly, at most `stride` px apart.

    They lie inside, the first and the last at the ends; one that is longer than the whole is centred. Tiles
    of whole pixels begin at whole ones, so that none of them is blurred.
    """
    free = length - side
    count = 1 + max(0, math.ceil(free / stride - _TOLERANCE))
    begins = np.linspace(0, free, count) if count > 1 else np.array([min(0.0, free / 2)])
    return [float(start) for start in (np.floor(begins) if float(side).is_integer() else begins)]


def covering(shape: tuple[int, ...], side: float) -> list[tuple[float, float, Part]]:
    """Return tiles that cover a field, with as little overlap as there can be.

    Returns
    -------
    list of (float, float, (slice, slice))
        Upper left corner, and the rows and columns of the field that the tile answers for: neighbours meet
        halfway in their overlap.
    """
    rows, columns = (
        list(zip(begins, _owned(begins, side, length), strict=True))
        for length in shape
        for begins in [starts(length, side, side)]
    )
    return [(y, x, (own_rows, own_columns)) for y, own_rows in rows for x, own_columns in columns]


def _owned(begins: Sequence[float], side: float, length: int) -> list[slice]:
    edges = [0, *(round((one + other + side) / 2) for one, other in pairwise(begins)), length]
    return [slice(first, last) for first, last in pairwise(edges)]


def pixels_of(start: float, side: float) -> slice:
    """Return the pixels of a field that a tile touches along an axis."""
    return slice(max(0, math.floor(start)), math.ceil(start + side))


def _reader(image: RGB) -> GridReader:
    def read(level: int, window: Window) -> npt.NDArray[np.uint8]:
        inside = window.intersect(Window(0, 0, *image.shape[:2]))
        if inside == window:
            return image[window.slices]
        out = np.full((window.height, window.width, 3), _WHITE, np.uint8)
        if inside.height and inside.width:
            place = Window(inside.y - window.y, inside.x - window.x, inside.height, inside.width)
            out[place.slices] = image[inside.slices]
        return out

    return GridReader(levels_from_shapes([image.shape[:2]]), read)
