"""Tiles of a run that could not be read, hatched on the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_lumen.plugin.layers import KEY, MICROMETRES, PLACED, LayerData, run_facts

if TYPE_CHECKING:
    from napari_lumen.inference.run import FailedTile, Run

_LINES = 6  # from side to side of a tile
_MOST = 400  # tiles that are hatched; of more, the rest are framed
_GREY = (0.55, 0.55, 0.55, 0.9)

Corners = npt.NDArray[np.float64]


def unread_tiles(run: Run, stem: str) -> LayerData | None:
    """Return a layer of frames and grey stripes over what a run could not read, None when it read all.

    Parameters
    ----------
    run : Run
    stem : str
        Starts the layer's name.
    """
    record = run.record
    if not record.failed_tiles:
        return None
    paths = [_frame(tile) for tile in record.failed_tiles]
    paths += [line for tile in record.failed_tiles[:_MOST] for line in _stripes(tile)]
    facts = {
        **run_facts(run),
        "kind": "unread",
        "raster": "unread tiles",
        "description": "Tiles that could not be read, so nothing is known of them.",
        PLACED: (record.mpp, (0.0, 0.0)),
    }
    return (
        paths,
        {
            "name": f"{stem} · {len(record.failed_tiles)} unread tiles",
            "shape_type": "path",
            "edge_color": np.tile(_GREY, (len(paths), 1)),
            "edge_width": max(record.failed_tiles[0].height / 80, 1.0),
            "scale": record.mpp,
            "units": MICROMETRES,
            "metadata": {KEY: facts},
        },
        "shapes",
    )


def _frame(tile: FailedTile) -> Corners:
    top, left, bottom, right = tile.y, tile.x, tile.y + tile.height, tile.x + tile.width
    corners = [(top, left), (top, right), (bottom, right), (bottom, left), (top, left)]
    return np.array(corners) - 0.5  # napari counts from the middle of the first pixel


def _stripes(tile: FailedTile) -> list[Corners]:
    """Return lines from lower left to upper right, clipped to the tile."""
    found = []
    for number in range(1, 2 * _LINES):
        across = number / _LINES
        start = (min(across, 1.0), max(across - 1, 0.0))
        end = (max(across - 1, 0.0), min(across, 1.0))
        line = [(tile.y + y * tile.height, tile.x + x * tile.width) for y, x in (start, end)]
        found.append(np.array(line) - 0.5)
    return found
