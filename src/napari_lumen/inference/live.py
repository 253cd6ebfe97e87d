"""A run that is going on, as those see it who show it."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from napari_lumen.geometry import Region, Window
from napari_lumen.inference.rasters import LiveRaster, Pixels
from napari_lumen.inference.run import RasterRecord
from napari_lumen.models import ModelCard


class Live:
    """The rasters of a run while they grow; safe from several threads.

    Parameters
    ----------
    card : ModelCard
        Of the model that runs.
    records : tuple of RasterRecord
        What there will be.
    rasters : mapping of str to LiveRaster
        By their paths in the folder.
    """

    def __init__(
        self, card: ModelCard, records: tuple[RasterRecord, ...], rasters: Mapping[str, LiveRaster]
    ) -> None:
        self.card = card
        self.records = records
        self._rasters = rasters
        self._changed: list[Region] = []
        self._lock = Lock()

    def read(self, record: RasterRecord, level: int, window: Window) -> Pixels:
        """Return a window of a level of a raster as it is stored, (h, w), as far as it is known."""
        values = self._rasters[record.path].read(level, window)
        return values if record.channel is None else values[record.channel]

    def changed(self) -> list[Region]:
        """Return the parts of the slide, in level-0 px, that were answered since the last call."""
        with self._lock:
            regions, self._changed = self._changed, []
        return regions

    def add(self, region: Region) -> None:
        """Note that a part of the slide was answered."""
        with self._lock:
            self._changed.append(region)
