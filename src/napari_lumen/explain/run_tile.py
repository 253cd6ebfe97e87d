"""One tile as a run has answered it: what two stages said of it with the tissue around it in sight."""

from __future__ import annotations

import math

import numpy as np

from napari_lumen.errors import RunError
from napari_lumen.explain.parts import ExplainedField, Item, Part
from napari_lumen.explain.run_map import RunMap
from napari_lumen.explain.run_maps import ENTROPY, PROBABILITY, RunMaps
from napari_lumen.explain.titles import ANSWER, NETWORK, item_title, part_title
from napari_lumen.geometry import Grid, Region


def run_tile(maps: RunMaps, y: float, x: float) -> ExplainedField:
    """Return what a run of a model that classifies a slide in two stages keeps of the tile at a point.

    Explained alone such a tile has another answer: the second stage looks at its neighbours. The model is
    not needed.

    Parameters
    ----------
    maps : RunMaps
    y, x : float
        Level-0 px.

    Returns
    -------
    ExplainedField
        With `of_run` set. Maps have one cell, the tile; those of the network are there where the run keeps
        them.

    Raises
    ------
    RunError
        When the run has no answer there.
    """
    record, said = maps.run.record, maps.at(y, x)
    if said.tile is None or not said.probabilities:
        raise RunError("The run found no tissue there: click on what it has classified.")
    tile = said.tile
    items = {item.name: _item(item, said.values[item.name], tile) for item in maps.maps}
    answer = tuple(item for item in items.values() if _is_answer(item.name))
    network = tuple(item for item in items.values() if not _is_answer(item.name))
    parts = ((ANSWER, answer), (NETWORK, network))
    step = (tile.height / record.tile, tile.width / record.tile)
    return ExplainedField(
        record.card.name,
        record.card.title,
        tile,
        (Grid((record.tile, record.tile), step, (tile.y, tile.x)),),
        said.probabilities,
        said.values[ENTROPY],
        tuple(Part(name, part_title(name), own) for name, own in parts if own),
        of_run=True,
    )


def _is_answer(name: str) -> bool:
    return name == ENTROPY or name.startswith(f"{PROBABILITY}.")


def _item(item: RunMap, value: float, tile: Region) -> Item:
    title = item_title(item.name)
    if _is_answer(item.name):
        title = item.name.removeprefix(f"{PROBABILITY}.") if item.name != ENTROPY else item.title
    return Item(
        item.name,
        title,
        item.description,
        "map",
        np.array([[value]], np.float32),
        Grid((1, 1), (tile.height, tile.width), (tile.y, tile.x)),
        item.value_range or (-math.inf, math.inf),
        item.display,
        item.comparable,
        item.raw,
    )
