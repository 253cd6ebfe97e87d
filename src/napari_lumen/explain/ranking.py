"""The tiles and instances of a run, in the order of a map or of their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import Color
from napari_lumen.annotations.geojson import read_geojson
from napari_lumen.errors import RunError
from napari_lumen.explain.analysed import Analysed
from napari_lumen.explain.run_classes import RunClasses
from napari_lumen.explain.run_map import RunMap
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference.run import FileRecord, Run

By = Literal["mean", "max"]
OBJECTS = "objects"  # the source of what a segmentation found
_ACROSS = 16  # values along a side of a tile that suffice for its mean
_AT_ONCE = 4_000_000  # values that are read together
_LARGE = 1000  # from there on a value is said without fractions
_EDGES = ("top_px", "left_px", "bottom_px", "right_px")


class Ranked(Protocol):
    """Maps whose tiles can be ranked, as `RunMaps`."""

    @property
    def run(self) -> Run | None:
        """The run that they are of; None of a field, which is one tile."""
        ...

    def find(self, name: str) -> RunMap:
        """Return a map by its name; raises `RunError` where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One tile or instance of a run.

    Attributes
    ----------
    rank : int
        From 1, the first in the order that was asked for.
    value : float
    region : Region
        Of a tile the part that is its own, without what it shares; of an instance its box. Level-0 px.
    class_name : str or None
    color : (int, int, int) or None
        Of its class.
    """

    rank: int
    value: float
    region: Region
    class_name: str | None = None
    color: Color | None = None

    @property
    def value_said(self) -> str:
        """The value with three digits; a large one, as the attention summed over an instance, in full."""
        return value_said(self.value)


def value_said(value: float) -> str:
    """Return a value with three digits, without an exponent where it is large: ``0.0213``, ``12,345``."""
    return f"{value:,.0f}" if abs(value) >= _LARGE else f"{value:.3g}"


def tile_values(
    run: Run, item: RunMap, by: By = "mean", check: Callable[[], None] = lambda: None
) -> npt.NDArray[np.float64]:
    """Return one value a tile of `Run.tiles`, NaN where the model did not answer.

    A value of the map belongs to the tile in which its middle lies.

    Parameters
    ----------
    run : Run
    item : RunMap
    by : {"mean", "max"}
        What becomes of a tile's values. For means a level with 16 values along a tile is read.
    check : callable, optional
        Called often; what it raises ends the work.
    """
    tiles = run.tiles
    grid = _level(item, tiles, by)
    level = item.grids.index(grid)
    found = np.full(tiles.shape, np.nan)
    rows, columns = (_tile_of(grid, tiles, axis) for axis in (0, 1))
    for first, last in _bands(rows, grid.shape[1]):
        check()
        values = item.reader(level, Window(first, 0, last - first, grid.shape[1]))
        at, to = rows[first:last], columns
        starts = [np.flatnonzero(np.diff(index, prepend=index[0] - 1)) for index in (at, to)]
        place = np.ix_(at[starts[0]], to[starts[1]])
        with np.errstate(invalid="ignore"):
            found[place] = _reduced(values, starts, by)
    return found


def ranked_tiles(
    maps: Ranked,
    name: str,
    count: int = 100,
    *,
    lowest: bool = False,
    by: By = "mean",
    class_name: str | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Entry, ...]:
    """Return the tiles with the highest or lowest values of a map, of those that the model answered.

    Parameters
    ----------
    maps : Ranked
        `RunMaps`, or whatever else has a run and its maps.
    name : str
        Of the map, see `RunMaps.find`.
    count : int
        At most so many; fewer where the model answered fewer.
    lowest : bool
        The lowest first, instead of the highest.
    by : {"mean", "max"}
        See `tile_values`.
    class_name : str, optional
        Only tiles of this class, by most of their labels.
    check : callable, optional
        Called often; what it raises ends the work.

    Raises
    ------
    RunError
        When the run has no such map or class, or the maps are of no run.
    """
    run = maps.run
    if run is None:
        raise RunError("A field is one tile: run the model over more of the slide to rank tiles.")
    _require_class(run, class_name)
    values, grid = tile_values(run, maps.find(name), by, check), run.tiles
    classes, analysed = RunClasses(run), Analysed.of(run)
    entries: list[Entry] = []
    for index in _ordered(values.ravel(), lowest):
        if len(entries) == count:
            break
        check()
        row, column = divmod(int(index), grid.shape[1])
        region = grid.region_of(Window(row, column, 1, 1))
        if not analysed.has_tile(region):
            continue
        found = classes.most(region)
        if class_name in (None, found):
            value = float(values[row, column])
            entries.append(Entry(len(entries) + 1, value, region, found, classes.color(found)))
    return tuple(entries)


def instance_sources(run: Run) -> tuple[str, ...]:
    """Return where a run has instances: names of attention with boxes, and ``objects``."""
    return tuple(
        OBJECTS if file.kind == OBJECTS else file.name
        for file in run.record.files
        if file.kind in ("boxes", OBJECTS)
    )


def ranked_instances(
    run: Run, source: str, count: int = 100, *, lowest: bool = False, class_name: str | None = None
) -> tuple[Entry, ...]:
    """Return the instances with the highest or lowest scores.

    Parameters
    ----------
    run : Run
    source : str
        One of `instance_sources`: boxes by their score, objects by their mean probability.
    count, lowest, class_name
        As of `ranked_tiles`.

    Raises
    ------
    RunError
        When the run has no such instances or class.
    """
    _require_class(run, class_name)
    sources = instance_sources(run)
    if source not in sources:
        raise RunError(
            f"{run.path} has no instances {source!r}; it has {', '.join(sources) or 'none'}: they come from "
            "models that find objects or lay boxes."
        )
    values, boxes, names = _objects(run) if source == OBJECTS else _boxes(run, _file(run, source))
    colors = RunClasses(run)
    chosen = [index for index in _ordered(values, lowest) if class_name in (None, names[index])][:count]
    return tuple(
        Entry(rank, float(values[index]), _region(boxes[index]), names[index], colors.color(names[index]))
        for rank, index in enumerate(chosen, start=1)
    )


Instances = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[str | None]]


def _objects(run: Run) -> Instances:
    table = run.objects(["class", "mean_probability", *_EDGES])
    names: list[str | None] = table["class"].tolist()
    return table["mean_probability"].to_numpy(float), table[list(_EDGES)].to_numpy(float), names


def _boxes(run: Run, file: FileRecord) -> Instances:
    found = read_geojson(run.path / file.path)
    edges = np.array([item.geometry.bounds for item in found]).reshape(-1, 4)[:, [1, 0, 3, 2]]
    scores = np.array([item.measurements["Score"] for item in found], float)
    return scores, edges, [item.class_name for item in found]


def _file(run: Run, name: str) -> FileRecord:
    return next(file for file in run.record.files if file.kind == "boxes" and file.name == name)


def _region(edges: npt.NDArray[np.float64]) -> Region:
    top, left, bottom, right = edges.tolist()
    return Region(top, left, bottom - top, right - left)


def _ordered(values: npt.NDArray[np.float64], lowest: bool) -> npt.NDArray[np.intp]:
    """Return the indices of the finite values in order, equal ones as they come."""
    order = np.argsort(values if lowest else -values, kind="stable")
    return np.asarray(order[np.isfinite(values[order])], np.intp)


def _require_class(run: Run, name: str | None) -> None:
    if name is not None and name not in run.record.classes:
        known = ", ".join(item.name for item in run.record.classes)
        raise RunError(f"{run.path} has no class {name!r}; it has {known}.")


def _level(item: RunMap, tiles: Grid, by: By) -> Grid:
    """Return the coarsest level that says enough of a tile."""
    if by == "max":
        return item.grid
    fitting = [
        grid
        for grid in item.grids
        if all(step * _ACROSS <= side for step, side in zip(grid.step, tiles.step, strict=True))
    ]
    return fitting[-1] if fitting else item.grid


def _tile_of(grid: Grid, tiles: Grid, axis: int) -> npt.NDArray[np.intp]:
    """Return for each row or column of a map the tile in which its middle lies."""
    middles = grid.origin[axis] + (np.arange(grid.shape[axis]) + 0.5) * grid.step[axis]
    index = np.floor((middles - tiles.origin[axis]) / tiles.step[axis] + 1e-9).astype(np.intp)
    return np.asarray(np.clip(index, 0, tiles.shape[axis] - 1), np.intp)


def _bands(rows: npt.NDArray[np.intp], width: int) -> Iterator[tuple[int, int]]:
    """Yield first and last rows of a map that hold whole tiles and no more values than are read at once."""
    starts = [*np.flatnonzero(np.diff(rows, prepend=rows[0] - 1)).tolist(), len(rows)]
    first = 0
    for last, after in zip(starts[1:], [*starts[2:], None], strict=True):
        if after is None or (after - first) * width > _AT_ONCE:
            yield first, last
            first = last


def _reduced(values: npt.NDArray[np.float32], starts: list[npt.NDArray[np.intp]], by: By) -> Any:
    known = np.isfinite(values)
    if by == "max":
        filled = np.where(known, values, -np.inf)
        most = np.maximum.reduceat(np.maximum.reduceat(filled, starts[0], axis=0), starts[1], axis=1)
        return np.where(np.isfinite(most), most, np.nan)
    total, count = (
        np.add.reduceat(np.add.reduceat(part, starts[0], axis=0), starts[1], axis=1)
        for part in (np.where(known, values, 0).astype(np.float64), known.astype(np.float64))
    )
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
