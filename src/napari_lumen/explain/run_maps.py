"""The maps of a run, and what it says at a point; the model itself is not needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import zarr

from napari_lumen.errors import RunError
from napari_lumen.explain.analysed import Analysed
from napari_lumen.explain.distribution import Distribution
from napari_lumen.explain.entropy import entropy_bits, most_entropy
from napari_lumen.explain.run_map import RunMap, Values, cell_at
from napari_lumen.explain.run_model import known_attention
from napari_lumen.explain.stored_levels import StoredLevels, grids_of
from napari_lumen.explain.titles import full_title, reading_order
from napari_lumen.geometry import Region, Window
from napari_lumen.inference.run import RasterRecord, Run

PROBABILITY, ENTROPY = "probability", "entropy"
TILES = "tiles"  # folder of what is kept a tile


@dataclass(frozen=True)
class PointReading:
    """What a run says at a point.

    Attributes
    ----------
    y, x : float
        Level-0 px.
    analysed : bool
        Whether the model saw it.
    values : mapping of str to float
        Of each map by its name; NaN where nothing was computed.
    percentiles : mapping of str to float
        Which share of the map's values lies below, 0 to 100, of the maps whose distributions were given.
    probabilities : mapping of str to float
        By class, in [0, 1]; empty where the model did not see it.
    class_name : str or None
        Of the label there.
    tile : Region or None
        The tile that answered for it, what it shares with its neighbours included, level-0 px.
    """

    y: float
    x: float
    analysed: bool
    values: Mapping[str, float]
    percentiles: Mapping[str, float]
    probabilities: Mapping[str, float]
    class_name: str | None
    tile: Region | None


class RunMaps:
    """The maps of a run folder; only its files are read.

    Parameters
    ----------
    run : Run

    Attributes
    ----------
    run : Run
    maps : tuple of RunMap
        Attention first, then the probability of each class, then the entropy.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._infos = known_attention(run.record.card)
        self._rasters = {raster.path: StoredLevels(run.path / raster.path) for raster in run.record.rasters}
        self.maps: tuple[RunMap, ...] = tuple(self._found())

    def __getitem__(self, name: str) -> RunMap:
        return self.find(name)

    def find(self, name: str) -> RunMap:
        """Return a map by its name; a class alone names its probability.

        Raises
        ------
        RunError
            When the run has no such map; the message lists those it has, and how to get attention where it
            kept none.
        """
        by_name = {item.name: item for item in self.maps}
        found = by_name.get(name) or by_name.get(f"{PROBABILITY}.{name}")
        if found is None:
            hint = self.hint()
            told = f"{self.run.path} has no map {name!r}; it has {', '.join(by_name)}."
            raise RunError(told if hint is None else f"{told} {hint}")
        return found

    @property
    def attention(self) -> tuple[RunMap, ...]:
        """The maps of attention alone."""
        return tuple(item for item in self.maps if item.kind == "attention")

    @property
    def recorded(self) -> frozenset[str]:
        """Names of all that the network records of a field; none where it is not known here."""
        return frozenset(self._infos)

    def hint(self) -> str | None:
        """Return how to get attention where the run kept none, one sentence; None where it kept some."""
        if self.attention:
            return None
        card = self.run.record.card
        spatial = [info.name for info in self._infos.values() if info.kind == "spatial"]
        if not self._infos:
            return (
                f"{card.title} records no attention: run a model whose network does, or look at its "
                "probability and entropy."
            )
        stages = reading_order([name.partition(".")[0] for name in spatial])
        spatial.sort(key=lambda name: stages.index(name.partition(".")[0]))  # what matters most comes first
        example = ", ".join(f'"{name}"' for name in spatial[:2])
        return (
            f"This run kept no attention, since the card of {card.title} asks for none: explain one field, "
            f'or name maps in the card ("attention": [{example}]) and run again.'
        )

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """Names of the channel gates that the run keeps of each tile."""
        record = self.run.record
        boxes = {file.name for file in record.files if file.kind == "boxes"}  # kept a tile, too
        named = (name for name in record.card.attention if name not in boxes)
        return tuple(name for name in named if (self.run.path / TILES / name).is_dir())

    def gates_at(self, name: str, y: float, x: float) -> npt.NDArray[np.float32] | None:
        """Return the gates (C,) of the tile at a point, level-0 px; None where the run keeps none there.

        Raises
        ------
        RunError
            When they are damaged.
        """
        cell = cell_at(Run.grid(self.run.labels), y, x) if name in self.gates else None
        if cell is None:
            return None
        try:
            stored = zarr.open_array(str(self.run.path / TILES / name / "0"), mode="r")
            values = np.asarray(stored[:, cell.y, cell.x], np.float32)
        except (OSError, ValueError, IndexError) as error:
            raise RunError(
                f"The gates {name!r} of {self.run.path} cannot be read: they are damaged or gone. Run the "
                "model again with that folder."
            ) from error
        return values if np.isfinite(values).any() else None

    def tile_at(self, y: float, x: float) -> Region | None:
        """Return the tile that answers for a point, level-0 px; None beyond the run's grid."""
        record, labels = self.run.record, Run.grid(self.run.labels)
        own = record.tile - record.overlap
        step = (record.model_mpp / record.mpp[0], record.model_mpp / record.mpp[1])
        if cell_at(labels, y, x) is None:
            return None
        margin = record.overlap // 2
        edges = [
            origin + (math.floor((at - origin) / (own * size)) * own - margin) * size
            for at, origin, size in zip((y, x), labels.origin, step, strict=True)
        ]
        return Region(edges[0], edges[1], record.tile * step[0], record.tile * step[1])

    def at(self, y: float, x: float, distributions: Mapping[str, Distribution] | None = None) -> PointReading:
        """Return what the run says at a point.

        Parameters
        ----------
        y, x : float
            Level-0 px.
        distributions : mapping of str to Distribution, optional
            Of the maps whose percentiles are wanted, see `RunMap.distribution`.
        """
        values = {item.name: item.value_at(y, x) for item in self.maps}
        analysed = self.analysed.at(y, x)
        percentiles = {
            name: spread.percentile(values[name]) for name, spread in (distributions or {}).items()
        }
        label = self._label_at(y, x) if analysed else None
        return PointReading(
            y, x, analysed, values, percentiles, self._probabilities(values), label, self.tile_at(y, x)
        )

    @cached_property
    def analysed(self) -> Analysed:
        """Where the model answered, pixel by pixel."""
        return Analysed.of(self.run)

    def _probabilities(self, values: Mapping[str, float]) -> dict[str, float]:
        head = f"{PROBABILITY}."
        return {
            name.removeprefix(head): value
            for name, value in values.items()
            if name.startswith(head) and not math.isnan(value)
        }

    def _label_at(self, y: float, x: float) -> str | None:
        raster = self.run.labels
        window = cell_at(Run.grid(raster), y, x)
        if window is None:
            return None
        value = int(self._stored(raster, 0, window)[0, 0])
        found = next((item for item in self.run.record.classes if item.value == value), None)
        return None if found is None else found.name

    def _found(self) -> Iterator[RunMap]:
        record = self.run.record
        kept = {raster.name for raster in record.rasters if raster.kind == "attention"}
        for raster in record.rasters:
            if raster.kind == "attention":
                yield self._attention(raster, kept)
        probabilities = [raster for raster in record.rasters if raster.kind == "probability"]
        for raster in probabilities:
            yield RunMap(
                f"{PROBABILITY}.{raster.name}",
                f"Probability of {raster.name}",
                raster.description,
                "probability",
                grids_of(raster),
                (0.0, 1.0),
                "fixed",
                True,
                None,
                partial(self._probability, raster),
            )
        if probabilities:
            card = record.card

            def undecided(level: int, window: Window) -> Values:
                every = np.stack([self._probability(raster, level, window) for raster in probabilities])
                return np.asarray(entropy_bits(card, every), np.float32)

            yield RunMap(
                ENTROPY,
                "Entropy",
                "How undecided the model is, in bits.",
                "entropy",
                grids_of(probabilities[0]),
                (0.0, most_entropy(card)),
                "fixed",
                True,
                None,
                undecided,
            )

    def _attention(self, raster: RasterRecord, kept: set[str]) -> RunMap:
        info = self._infos.get(raster.name)
        return RunMap(
            raster.name,
            full_title(raster.name),
            raster.description,
            "attention",
            grids_of(raster),
            None if info is None else info.value_range,
            "min-max" if info is None else info.display,
            info is None or not info.per_tile,
            None if info is None or info.raw not in kept else info.raw,
            lambda level, window: self._stored(raster, level, window).astype(np.float32),
        )

    def _probability(self, raster: RasterRecord, level: int, window: Window) -> Values:
        share = self.analysed.share(level, window)
        steps = self._stored(raster, level, window).astype(np.float32)
        # what was not answered for is stored as 0, and so lowers the mean of a coarser pixel
        values = np.full(share.shape, np.nan, np.float32)
        np.divide(steps, share * np.float32(255), out=values, where=share > 0)
        return np.minimum(values, np.float32(1))

    def _stored(self, raster: RasterRecord, level: int, window: Window) -> npt.NDArray[np.generic]:
        return self._rasters[raster.path].read(raster.name, level, window, raster.channel)
