"""How many annotated boxes a map covers, image by image: the localisation measure of gated attention.

After Fan et al. (MICCAI 2020), who report 72 % for their network and boxes; section 2 of the specification
resolves what the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.shapes import Annotation
from napari_lumen.evaluation.boxes import Mask, attention_mask, is_covered, share_in_images
from napari_lumen.explain.run_map import RunMap
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference.run import Run

Values = npt.NDArray[np.floating[Any]]
_SIZE = (224, 224)  # px to which gated attention enlarges a map
_READ = 4_000_000  # values of a map that is one image: all of it, or of a coarser level
_KEPT = 256  # masks of tiles: boxes beside each other share them


@dataclass(frozen=True, eq=False)
class Coverage:
    """How many annotated boxes a map covers.

    Attributes
    ----------
    shares : ndarray
        Of each box's area that lies where the map is high.
    by_tile : bool
        Whether each tile of a run was an image of its own, with a range of its own.
    """

    shares: Values
    by_tile: bool

    @property
    def covered(self) -> float:
        """Share of the boxes of which at least half is covered; NaN without boxes."""
        return float(is_covered(self.shares).mean()) if len(self.shares) else float("nan")


def box_coverage(
    values: Values,
    grid: Grid,
    annotations: Sequence[Annotation],
    size: tuple[int, int] = _SIZE,
    within: Region | None = None,
) -> Coverage:
    """Say which share of annotated boxes the map of one image, as of an explained field, covers.

    The map is high above the middle of its range, see `attention_mask`.

    Parameters
    ----------
    values : ndarray (h, w)
        NaN where nothing was computed.
    grid : Grid
        Where its cells lie, level-0 px.
    annotations : sequence of Annotation
        The bounding boxes of those whose middle lies where the map has a value count.
    size : (int, int)
        Rows and columns to which the map is enlarged bilinearly before; one that has more keeps its own.
    within : Region, optional
        Where the middles of boxes count, level-0 px; see `RunMap.within`.
    """
    region = grid.region
    image = Grid((1, 1), (region.height, region.width), (region.y, region.x))
    mask, known = attention_mask(values, size), np.isfinite(values)

    def has_value(y: float, x: float) -> bool:
        row, column = (
            int((at - low) // step) for at, low, step in zip((y, x), grid.origin, grid.step, strict=True)
        )
        inside = 0 <= row < known.shape[0] and 0 <= column < known.shape[1]
        if within is not None:
            inside = inside and y < within.bottom and x < within.right
        return inside and bool(known[row, column])

    return Coverage(_shares(annotations, image, lambda window: mask, has_value), by_tile=False)


def run_box_coverage(run: Run, item: RunMap, annotations: Sequence[Annotation]) -> Coverage:
    """Say which share of annotated boxes a map of a run covers.

    Attention that a network has of each tile by itself, in classification or by a softmax within the tile,
    is a map a tile, enlarged to the tile's pixels. Any other map is one image: the run.

    Parameters
    ----------
    run : Run
    item : RunMap
        Of `RunMaps` of the run.
    annotations : sequence of Annotation
        As of `box_coverage`.

    Raises
    ------
    RunError
        When the map is damaged.
    """
    of_tiles = run.record.card.task == "classification" or not item.comparable
    if item.kind != "attention" or not of_tiles:
        values, grid = item.read(None, _READ)
        return box_coverage(values, grid, annotations)
    side = run.record.tile - run.record.overlap

    @lru_cache(_KEPT)
    def mask_of(tile: Window) -> Mask:
        return attention_mask(item.read(run.tiles.region_of(tile))[0], (side, side))

    def has_value(y: float, x: float) -> bool:
        return bool(np.isfinite(item.value_at(y, x)))

    return Coverage(_shares(annotations, run.tiles, mask_of, has_value), by_tile=True)


def _shares(
    annotations: Sequence[Annotation],
    images: Grid,
    mask_of: Callable[[Window], Mask],
    has_value: Callable[[float, float], bool],
) -> Values:
    shares = []
    for item in annotations:
        left, top, right, bottom = item.geometry.bounds
        if bottom > top and right > left and has_value((top + bottom) / 2, (left + right) / 2):
            shares.append(share_in_images((top, left, bottom, right), images, mask_of))
    return np.array(shares, np.float64)
