"""What a gallery ranks: the tiles of a run by a map, or the instances of a run or of a field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_lumen.geometry import Pair, Region

if TYPE_CHECKING:
    from napari_lumen.explain.ranking import Entry
    from napari_lumen.plugin.attention_source import MapSource

TILES = "tiles"
_SEEN = 1.6  # of its side, in the view that is gone to
_LEAST_UM = 80.0  # of what is seen of an instance


@dataclass(frozen=True)
class Wanted:
    """What a gallery is asked for.

    Attributes
    ----------
    source : MapSource
    kind : str
        `TILES`, or a source of instances.
    name, title : str
        Of the map that tiles are ranked by; "" of instances.
    lowest : bool
    count : int
    class_name : str or None
        Only of this class.
    """

    source: MapSource
    kind: str
    name: str
    title: str
    lowest: bool
    count: int
    class_name: str | None

    def heading(self, found: int) -> str:
        """Return what is shown, above the pictures, e.g. ``Tumour probability: the 100 highest tiles``."""
        of = f" of {self.class_name}" if self.class_name else ""
        end = "lowest" if self.lowest else "highest"
        first = f"all {found:,}" if found < self.count else f"the {found:,} {end}"
        after = f", {end} first" if found < self.count else ""
        if self.kind == TILES:
            return f"{self.title}: {first} tiles{of}{after}"
        return f"{dict(kinds_of(self.source))[self.kind]}{of}: {first} by score{after}"


def kinds_of(source: MapSource) -> tuple[tuple[str, str], ...]:
    """Return what of a source can be ranked: key and title; nothing of a field without boxes."""
    from napari_lumen.explain.ranking import OBJECTS, instance_sources
    from napari_lumen.explain.titles import item_title

    if source.run is not None:
        found = [
            (name, "Objects" if name == OBJECTS else _boxes(name)) for name in instance_sources(source.run)
        ]
        return ((TILES, "Tiles"), *found)
    items = () if source.explained is None else source.explained.items()
    return tuple((item.name, item_title(item.name)) for item in items if item.kind == "boxes")


def entries_of(wanted: Wanted, check: Callable[[], None]) -> tuple[Entry, ...]:
    """Return the places with their values, in order; reads the run: not for the GUI thread.

    Parameters
    ----------
    wanted : Wanted
    check : callable
        Called often; what it raises ends the work.

    Raises
    ------
    RunError
        When the run cannot be read.
    """
    from napari_lumen.explain.ranking import Entry, ranked_instances, ranked_tiles

    source, options = wanted.source, {"lowest": wanted.lowest, "class_name": wanted.class_name}
    if source.run is None:
        boxes = () if source.explained is None else source.explained[wanted.kind].boxes
        ordered = sorted(boxes, key=lambda box: box[1], reverse=not wanted.lowest)[: wanted.count]
        return tuple(Entry(rank, score, region) for rank, (region, score) in enumerate(ordered, start=1))
    if wanted.kind == TILES:
        return ranked_tiles(source, wanted.name, wanted.count, check=check, **options)  # type: ignore[arg-type]
    return ranked_instances(source.run, wanted.kind, wanted.count, **options)  # type: ignore[arg-type]


def nothing_found(wanted: Wanted) -> str:
    """Return why a gallery is empty and what to do, one sentence."""
    if wanted.class_name is not None:
        return f"Nothing here is of the class {wanted.class_name}: choose another, or all classes."
    if wanted.kind == TILES:
        return f"{wanted.title} has no values here: nothing was computed, or nothing was kept."
    return "The model found no such instances here."


def shown_side(wanted: Wanted) -> float:
    """Return the side of what a picture shows over that of its entry."""
    from napari_lumen.explain.gallery import AROUND_INSTANCE

    return 1.0 if wanted.kind == TILES else AROUND_INSTANCE


def view_of(region: Region, mpp: Pair) -> Region:
    """Return what to look at to judge an entry: it and its surroundings, level-0 px."""
    height = max(region.height * _SEEN, _LEAST_UM / mpp[0])
    width = max(region.width * _SEEN, _LEAST_UM / mpp[1])
    return Region(
        region.y + (region.height - height) / 2, region.x + (region.width - width) / 2, height, width
    )


def _boxes(name: str) -> str:
    from napari_lumen.explain.titles import item_title

    return item_title(name)
