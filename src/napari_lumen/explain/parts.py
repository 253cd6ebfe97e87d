"""What an explained field holds: a tree of the network's parts, with the maps, gates and boxes of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Grid, Region
from napari_lumen.models.attention import Display

Values = npt.NDArray[np.floating[Any]]
Kind = Literal["map", "channels", "boxes", "table", "classes"]


@dataclass(frozen=True, eq=False)
class Item:
    """One thing that a network said of a field, or of itself.

    Attributes
    ----------
    name : str
        As the network records it, e.g. ``d1.0.att0``; of answers ``probability.<class>``, ``entropy`` and
        ``classes``; of one channel ``<gate>.channel.<number>``.
    title : str
        For a list, inside its part.
    description : str
        One sentence for a tooltip.
    kind : {"map", "channels", "boxes", "table", "classes"}
    values : ndarray
        Floats. ``map``: (h, w), NaN where nothing was computed. ``channels``: (C,), a gate a channel.
        ``boxes``: (n, 5): top, left, bottom, right in level-0 px, and a score; best first. ``table``: as
        recorded. ``classes``: (classes,), a probability a class.
    grid : Grid or None
        Of a map: where its cells lie, level-0 px, by their edges. The last row and column may reach beyond
        the field, where the network padded it; see `RunMap.within`.
    value_range : (float, float)
        That the network guarantees; infinite where it guarantees none.
    display : {"fixed", "min-max", "strip", "boxes", "table"}
        See `AttentionInfo`.
    comparable : bool
        Whether values of two tiles can be compared; not those of a softmax over the positions of a tile.
    raw : str or None
        Name of the unnormalised map that can be compared instead, where the network has one.
    labels : tuple of str
        Of the values of ``classes``.
    """

    name: str
    title: str
    description: str
    kind: Kind
    values: Values
    grid: Grid | None = None
    value_range: tuple[float, float] = (0.0, 1.0)
    display: Display = "fixed"
    comparable: bool = True
    raw: str | None = None
    labels: tuple[str, ...] = ()

    @property
    def boxes(self) -> tuple[tuple[Region, float], ...]:
        """Of boxes: each with its score, best first."""
        return tuple(
            (Region(top, left, bottom - top, right - left), score)
            for top, left, bottom, right, score in (self.values.tolist() if self.kind == "boxes" else ())
        )


@dataclass(frozen=True, eq=False)
class Channels:
    """Features before a gate.

    Attributes
    ----------
    values : ndarray
        float32 (C, h, w).
    grid : Grid
        Where their cells lie, level-0 px.
    """

    values: Values
    grid: Grid


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a network: a stage, a block, a branch.

    Attributes
    ----------
    name : str
    title : str
    items : tuple of Item
    parts : tuple of Part
        Inside it.
    """

    name: str
    title: str
    items: tuple[Item, ...] = ()
    parts: tuple[Part, ...] = ()

    def walk(self) -> Iterator[Item]:
        """Yield all items, those of inner parts included."""
        yield from self.items
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True, eq=False)
class ExplainedField:
    """All that a network said of one field of view.

    Attributes
    ----------
    model, title : str
        Name and title of the model.
    region : Region
        What it looked at, level-0 px.
    views : tuple of Grid
        Pixels of each view, the fine one first, level-0 px.
    probabilities : mapping of str to float
        By class, in [0, 1]; of a segmentation the mean over the field.
    entropy : float
        Of the classes, bits; of a segmentation the mean over the field.
    parts : tuple of Part
        The answer first, then the network's parts in the order in which a reader wants them.
    channels : mapping of str to Channels
        Features before their gate, by the name of the gate, of the gates that were asked for.
    seconds : float
        That the forward pass took, recording included.
    of_run : bool
        Whether all of it was taken from a run, see `run_tile`.
    """

    model: str
    title: str
    region: Region
    views: tuple[Grid, ...]
    probabilities: Mapping[str, float]
    entropy: float
    parts: tuple[Part, ...]
    channels: Mapping[str, Channels] = field(default_factory=dict)
    seconds: float = 0.0
    of_run: bool = False

    def items(self) -> Iterator[Item]:
        """Yield all items of all parts."""
        for part in self.parts:
            yield from part.walk()

    def __getitem__(self, name: str) -> Item:
        for item in self.items():
            if item.name == name:
                return item
        raise KeyError(f"no {name!r}; there is {', '.join(item.name for item in self.items())}")

    def __contains__(self, name: object) -> bool:
        return any(item.name == name for item in self.items())
