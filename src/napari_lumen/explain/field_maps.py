"""The maps of one explained field, read as those of a run are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from napari_lumen.errors import RunError
from napari_lumen.explain.distribution import Distribution
from napari_lumen.explain.parts import ExplainedField, Item
from napari_lumen.explain.placing import channel_map
from napari_lumen.explain.run_map import RunMap, Source, Values, reaches_beyond
from napari_lumen.explain.run_maps import ENTROPY, PROBABILITY, PointReading
from napari_lumen.explain.titles import full_title
from napari_lumen.geometry import Region, Window


class FieldMaps:
    """The maps of an explained field.

    Parameters
    ----------
    explained : ExplainedField
    extra : tuple of Item, optional
        Further maps of it, see `with_channel`.

    Attributes
    ----------
    explained : ExplainedField
    extra : tuple of Item
    maps : tuple of RunMap
        In the order of its parts: the network's own cells, which count up to the edges of the field.
    """

    def __init__(self, explained: ExplainedField, extra: tuple[Item, ...] = ()) -> None:
        self.explained = explained
        self.extra = extra
        self.maps: tuple[RunMap, ...] = tuple(
            _map(item, explained.region)
            for item in (*explained.items(), *extra)
            if item.kind == "map" and item.grid is not None
        )

    def __getitem__(self, name: str) -> RunMap:
        return self.find(name)

    def find(self, name: str) -> RunMap:
        """Return a map by its name.

        Raises
        ------
        RunError
            When the field has no such map; the message lists those it has.
        """
        found = next((item for item in self.maps if item.name == name), None)
        if found is None:
            names = ", ".join(item.name for item in self.maps)
            raise RunError(f"The field of {self.explained.title} has no map {name!r}; it has {names}.")
        return found

    def with_channel(self, gate: str, channel: int) -> FieldMaps:
        """Return the maps with one channel before its gate, see `channel_map`.

        Raises
        ------
        RunError
            When the channels of the gate were not kept, or there is no such channel.
        """
        item = channel_map(self.explained, gate, channel)
        known = any(item.name == other.name for other in (*self.explained.items(), *self.extra))
        return self if known else FieldMaps(self.explained, (*self.extra, item))

    def at(self, y: float, x: float, distributions: Mapping[str, Distribution] | None = None) -> PointReading:
        """Return what the field says at a point, as `RunMaps.at` does of a run.

        Where the model answers for the whole field, its probabilities are those of every point.
        """
        region = self.explained.region
        inside = region.y <= y < region.bottom and region.x <= x < region.right
        values = {item.name: item.value_at(y, x) for item in self.maps}
        percentiles = {
            name: spread.percentile(values[name])
            for name, spread in (distributions or {}).items()
            if name in values
        }
        probabilities = dict(self._probabilities(values)) if inside else {}
        best = max(probabilities, key=lambda name: probabilities[name], default=None)
        return PointReading(
            y, x, inside, values, percentiles, probabilities, best, region if inside else None
        )

    def _probabilities(self, values: Mapping[str, float]) -> Iterator[tuple[str, float]]:
        for name, mean in self.explained.probabilities.items():
            value = values.get(f"{PROBABILITY}.{name}", mean)
            if np.isfinite(value):
                yield name, value


def _map(item: Item, region: Region) -> RunMap:
    assert item.grid is not None
    single = np.asarray(item.values, np.float32)
    beyond = reaches_beyond(item.grid, region)

    def read(level: int, window: Window) -> Values:
        return single[window.slices]

    return RunMap(
        item.name,
        _title(item),
        item.description,
        _kind(item.name),
        (item.grid,),
        item.value_range,
        item.display,
        item.comparable,
        item.raw,
        read,
        region if beyond else None,
    )


def _title(item: Item) -> str:
    if item.name.startswith(f"{PROBABILITY}."):
        return f"Probability of {item.title}"
    if item.name == ENTROPY or ".channel." in item.name:
        return item.title
    return full_title(item.name)


def _kind(name: str) -> Source:
    if name.startswith(f"{PROBABILITY}."):
        return "probability"
    return "entropy" if name == ENTROPY else "attention"
