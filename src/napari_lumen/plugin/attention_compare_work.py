"""Comparing two maps off the GUI thread: how far they agree, and how each is coloured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.plugin.controllers.attention_compare_state import Compared
from napari_lumen.plugin.controllers.attention_state import Legend

if TYPE_CHECKING:
    from napari_lumen.explain.distribution import Distribution
    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.explain.scaling import Over
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.attention_source import MapSource
    from napari_lumen.plugin.controllers.attention_state import Look

_MOST = 4_000_000  # values of each map that are compared
_SAMPLED = 1_000_000  # values that tell the colours
_HIGH = 90.0  # percentile from which on a map without a threshold of its own counts as high
_PER_TILE = (
    "Normalised in each tile: the numbers speak of places within tiles, not of one tile beside another."
)
Values = npt.NDArray[np.floating[Any]]
Chosen = tuple["MapSource", "RunMap"]


def compared(first: Chosen, second: Chosen, region: Region | None, look: Look) -> Compared:
    """Compare two maps of one slide.

    Parameters
    ----------
    first, second : (MapSource, RunMap)
    region : Region or None
        Level-0 px; None for what both cover.
    look : Look
        How maps are coloured.

    Raises
    ------
    RunError
        When the two lie on different slides, cover nothing in common, or have no value in common.
    """
    from napari_lumen.errors import RunError
    from napari_lumen.explain.agreement import compare_values
    from napari_lumen.explain.distribution import Distribution

    if first[0].fingerprint != second[0].fingerprint:
        raise RunError("The two maps are of different slides: choose maps of one slide.")
    a, b = first[1], second[1]
    common = a.region.intersect(b.region)
    part = common if region is None else common.intersect(region)
    read = [item.read(part, _MOST) for item in (a, b)]
    agreement = compare_values(*read, comparable=a.comparable and b.comparable, within=common)
    cells = int(np.count_nonzero(np.isfinite(agreement.first) & np.isfinite(agreement.second)))
    if not cells:
        raise RunError("There is no place where both maps have a value: choose another part, or other maps.")
    one, other, less = (
        Distribution.of(_sampled(values))
        for values in (agreement.first, agreement.second, agreement.difference)
    )
    alike = a.name == b.name or (a.kind == b.kind and a.kind != "attention")
    if alike:  # one colour means one value
        one = other = Distribution.of(np.concatenate([one.ordered, other.ordered]))
    over: Over = "slide" if region is None else "selection"
    if first[0].run is None and second[0].run is None:
        over = "tile"
    titles = _titles(first, second)
    legends = (
        _legend(f"First: {titles[0]}", a, one, look, over),
        _legend(f"Second: {titles[1]}", b, other, look, over),
        _difference(titles, less),
    )
    extents = (one.extent, other.extent)
    return Compared(
        agreement,
        titles,
        cells,
        first[0].mpp,
        legends,
        (_threshold(a, one), _threshold(b, other)),
        (min(low for low, _ in extents), max(high for _, high in extents)),
        _note(first, second, alike=alike),
    )


def _titles(first: Chosen, second: Chosen) -> tuple[str, str]:
    """Return what tells the two apart, short enough for the canvas: the map, the model, or the run."""
    for names in (
        [item.title for _, item in (first, second)],
        [source.card.title for source, _ in (first, second)],
    ):
        if names[0] != names[1]:
            return names[0], names[1]
    return place_said(first[0]), place_said(second[0])


def place_said(source: MapSource) -> str:
    """Return what tells a run from others of its model, its folder, and a field from others, its place."""
    if source.run is not None:
        path = source.run.path
        return f"{path.parent.name}/{path.name}"
    region = None if source.explained is None else source.explained.region
    return source.title if region is None else f"field y {region.y:.0f}, x {region.x:.0f}"


def _legend(title: str, item: RunMap, spread: Distribution, look: Look, over: Over) -> Legend:
    from napari_lumen.explain.colours import colormap
    from napari_lumen.explain.scaling import Scaling

    scaling = Scaling(look.mode, over, look.low, look.high)
    low, high, said = scaling.limits(spread, item.value_range)
    return Legend(title, (low, high), said, colormap(look.colormap).colors)


def _difference(titles: tuple[str, str], spread: Distribution) -> Legend:
    """Return the legend of the difference: as far below nothing as above it."""
    from napari_lumen.explain.colours import DIFFERENCE

    most = max(abs(spread.quantile(1.0)), abs(spread.quantile(99.0))) or max(map(abs, spread.extent))
    if not most:
        return Legend("First less second", (-1.0, 1.0), "the two are equal everywhere", DIFFERENCE.colors)
    said = f"red where {titles[0]} is higher, blue where {titles[1]} is; clear where they are equal"
    return Legend("First less second", (-most, most), said, DIFFERENCE.colors)


def _threshold(item: RunMap, spread: Distribution) -> float:
    return 0.5 if item.kind == "probability" else spread.quantile(_HIGH)


def _note(first: Chosen, second: Chosen, *, alike: bool) -> str:
    notes = []
    if any(source.run is not None and not item.comparable for source, item in (first, second)):
        notes.append(_PER_TILE)
    if not alike:
        notes.append("The two measure different things: read the correlations rather than the difference.")
    return " ".join(notes)


def _sampled(values: Values) -> Values:
    step = max(1, int(np.ceil(np.sqrt(values.size / _SAMPLED))))
    return values[::step, ::step]
