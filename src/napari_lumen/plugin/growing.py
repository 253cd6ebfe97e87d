"""Layers of a run that is going on: they grow with it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Region, Window, spanned
from napari_lumen.plugin.layers import KEY, Results, RunLayers, result_layers
from napari_lumen.plugin.results import add_below

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.inference import Live
    from napari_lumen.inference.run import RasterRecord
    from napari_lumen.slides import Slide

_BETWEEN = 0.4  # s between two looks at what has grown
_UNFINISHED = " (unfinished)"


class GrowingLevel:
    """One level of a raster that is being written, as napari reads arrays: (h, w)."""

    ndim = 2

    def __init__(self, live: Live, record: RasterRecord, level: int) -> None:
        self._live = live
        self._record = record
        self._level = level
        self.shape = record.shapes[level]
        self.size = self.shape[0] * self.shape[1]
        self.dtype = np.dtype(np.uint8 if record.kind == "labels" else np.float32)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        parts = index if isinstance(index, tuple) else (index,)
        rows, columns = (*parts, slice(None), slice(None))[:2]
        (top, height, within_rows), (left, width, within_columns) = (
            spanned(part, side) for part, side in zip((rows, columns), self.shape, strict=True)
        )
        stored = self._live.read(self._record, self._level, Window(top, left, height, width))
        values = stored.astype(self.dtype)
        if self._record.kind == "probability":
            values /= 255
        part: npt.NDArray[Any] = values[within_rows, within_columns]
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:, :].astype(dtype or self.dtype, copy=False)


def growing_layers(live: Live, slide: Slide, slide_name: str) -> RunLayers:
    """Return the layers of a run that is going on; call it off the GUI thread."""
    facts = {"run": "", "model": live.card.name, "slide": str(slide.path), "fingerprint": slide.fingerprint}

    def levels(record: RasterRecord) -> list[Any]:
        return [GrowingLevel(live, record, level) for level in range(len(record.shapes))]

    return result_layers(
        Results(live.records, live.card.classes, slide.require_mpp(), facts, levels), slide_name
    )


@dataclass
class Growing:
    """A run's layers from its first cell to its end.

    Parameters
    ----------
    viewer : ViewerModel
    live : Live
    layers : list of Layer
        As they were added, bottom to top.
    """

    viewer: ViewerModel
    live: Live
    layers: list[Layer]
    _last: float = field(default_factory=time.monotonic)
    _waiting: list[Region] = field(default_factory=list)

    def refresh(self, view: Region) -> None:
        """Draw anew what has grown in view (level-0 px), now and then; what grows elsewhere costs nothing."""
        now = time.monotonic()
        if now - self._last < _BETWEEN:
            return
        self._last = now
        self._waiting += self.live.changed()
        if any(not region.intersect(view).empty for region in self._waiting):
            for layer in self._present():
                if layer.visible:
                    # a refresh alone would show the coarsest level as napari read it the first time
                    layer.data = list(layer.data) if layer.multiscale else layer.data
        self._waiting.clear()

    def finish(self, shown: RunLayers, slide: Layer) -> list[Layer]:
        """Give the layers the finished result to read, and return those that are still there.

        What is known only at the end is put below them.
        """
        present = self._present()
        if not present:
            return []
        grown = {(layer.metadata[KEY]["kind"], layer.metadata[KEY]["raster"]) for layer in self.layers}
        final = {_raster_of(settings): (data, settings) for data, settings, _ in shown.layers}
        for layer in present:
            data, settings = final[layer.metadata[KEY]["kind"], layer.metadata[KEY]["raster"]]
            layer.data = data
            if "contrast_limits" in settings:  # they were unknown before
                layer.contrast_limits = settings["contrast_limits"]
            run = settings["metadata"][KEY]["run"]
            layer.metadata = {**layer.metadata, KEY: {**layer.metadata[KEY], "run": run}}  # panels hear of it
        late = [data for data in shown.layers if _raster_of(data[1]) not in grown]
        return [*add_below(self.viewer, present[0], slide, late), *present]

    def stop(self) -> None:
        """Say of what has grown that it is not the whole; nothing that has not grown stays."""
        grown = any(np.asarray(layer.data[-1]).any() for layer in self._present() if layer.multiscale)
        for layer in self._present():
            if grown:
                layer.name += _UNFINISHED
            else:
                self.viewer.layers.remove(layer)

    def remove(self) -> None:
        """Take the layers away."""
        for layer in self._present():
            self.viewer.layers.remove(layer)

    def _present(self) -> list[Layer]:
        return [layer for layer in self.layers if layer in self.viewer.layers]


def _raster_of(settings: dict[str, Any]) -> tuple[str, str]:
    facts = settings["metadata"][KEY]
    return facts["kind"], facts["raster"]
