"""The fields of a run that could be corrected next, and what is measured of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.corrections import CorrectedLabels, CorrectionStore
from napari_lumen.corrections.changes import part_of
from napari_lumen.corrections.proposals import By, Proposal, entropy, spread
from napari_lumen.errors import Cancelled, RunError
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference.run import RasterRecord, Run

if TYPE_CHECKING:
    from napari_lumen.slides import Slide

_LEAST_SIDE = 8  # px of the labels, where a pixel is a whole tile
_MOST = 64_000_000  # px that are read of each raster: of larger ones a coarser level
_BINS = 8  # of the histogram of a probability
_COLOR_MPP = 4.0  # µm: enough for a mean colour

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CandidateField:
    """A candidate.

    Attributes
    ----------
    window : Window
        In pixels of the level that is read.
    region : Region
        Level-0 px.
    corrected : bool
        Whether a person has corrected it already.
    """

    window: Window
    region: Region
    corrected: bool


class CandidateFields:
    """The fields of a run that were analysed, and what is measured of each."""

    """The fields of a run, side by side, that it has analysed.

    Parameters
    ----------
    run : Run
    field_um : float
        Side of a field, µm.
    cancel : Event

    Attributes
    ----------
    fields : tuple of CandidateField

    Raises
    ------
    RunError
        When the run holds no probabilities.
    Cancelled
        When cancelled, here and later.
    """

    def __init__(self, run: Run, field_um: float, cancel: Event) -> None:
        self.run = run
        self._cancel = cancel
        self._probability = [raster for raster in run.record.rasters if raster.kind == "probability"]
        if not self._probability:
            raise RunError(f"{run.path} holds no probabilities to choose fields by. Run the model again.")
        labels = run.labels
        self._level = _level_of(labels)
        grid = run.grid(labels)
        step = grid.scale(run.record.mpp)
        side = max(_LEAST_SIDE, round(field_um / step[0]))
        self._side = max(1, -(-side // 2**self._level))
        self._grid = Grid(labels.shapes[self._level], grid.coarsened(2**self._level).step, grid.origin)
        self.fields = self._find()

    def check(self) -> None:
        """Raise when cancelled."""
        if self._cancel.is_set():
            raise Cancelled

    def proposal(self, index: int, score: float, by: By, reason: str) -> Proposal:
        """Return a field as a proposal."""
        return Proposal(self.fields[index].region, float(score), by, reason)

    def unsure(self, wanted: Sequence[int]) -> dict[int, float]:
        """Return the mean entropy of fields."""
        scores = {}
        for row, strip in self._strips(wanted):
            unsure = entropy(self._read(strip))
            scores.update({index: float(part.mean()) for index, part in self._parts(row, strip, unsure)})
        return scores

    def attention(self, wanted: Sequence[int]) -> dict[int, float]:
        """Return how far attention varies over each field, by the first of the run's maps."""
        raster = next((x for x in self.run.record.rasters if x.kind == "attention"), None)
        if raster is None:
            raise RunError(f"{self.run.record.model_title} has no attention to choose fields by.")
        own, finest = self.run.grid(raster), self.run.levels(raster)[0]
        scores = {}
        for index in wanted:
            self.check()
            window = own.window_of(self.fields[index].region)
            scores[index] = (
                spread(np.asarray(finest[window.slices])) if window.height and window.width else 0.0
            )
        return scores

    def disagreement(self, wanted: Sequence[int], other: Run) -> dict[int, float]:
        """Return on what share of each field another run says another class."""
        if other.record.fingerprint != self.run.record.fingerprint:
            raise RunError(f"{other.path} is a run over another slide than {self.run.path}.")
        theirs = {item.value: item.name for item in other.record.classes}
        ours = {item.name: item.value for item in self.run.record.classes}
        table = np.zeros(256, np.int16)
        for value, name in theirs.items():
            table[value] = ours.get(name, 256 + value)  # a class that this run does not know
        second = CorrectedLabels(other.levels(other.labels), other.grid(other.labels))
        own = self.run.levels(self.run.labels)[self._level]
        scores = {}
        for row, strip in self._strips(wanted):
            differ = np.asarray(own[strip.slices]) != table[second.on(part_of(self._grid, strip))]
            scores.update({index: float(part.mean()) for index, part in self._parts(row, strip, differ)})
        return scores

    def features(self, slide: Slide | None) -> npt.NDArray[np.float64]:
        """Return a row a field: histograms of probabilities, and with the slide mean and spread of colour."""
        everyone = range(len(self.fields))
        found: dict[int, list[float]] = {}
        for row, strip in self._strips(everyone):
            probability = self._read(strip)
            for index, part in self._parts(row, strip, probability):
                bins = [np.histogram(of, _BINS, (0, 1))[0] / of.size for of in part]
                found[index] = np.concatenate(bins).tolist()
        if slide is not None:
            for index in everyone:
                self.check()
                found[index] += _color(slide, self.fields[index].region)
        return np.array([found[index] for index in everyone], np.float64)

    def _find(self) -> tuple[CandidateField, ...]:
        height, width = self.run.record.slide_shape
        windows = CorrectionStore(self.run.path).windows
        rows, columns = (-(-extent // self._side) for extent in self._grid.shape)
        fields = []
        for row in range(rows):
            self.check()
            strip = self._strip(row)
            seen = self._read(strip).max(axis=0) > 0
            for column in range(columns):
                window = Window(strip.y, column * self._side, strip.height, self._side)
                window = window.intersect(Window(0, 0, *self._grid.shape))
                region = self._grid.region_of(window).intersect(Region(0, 0, height, width))
                if region.empty or not seen[:, window.x : window.x + window.width].any():
                    continue
                y, x = region.y + region.height / 2, region.x + region.width / 2
                done = any(w.y <= y < w.y + w.height and w.x <= x < w.x + w.width for w in windows)
                fields.append(CandidateField(window, region, done))
        return tuple(fields)

    def _strip(self, row: int) -> Window:
        whole = Window(0, 0, *self._grid.shape)
        return Window(row * self._side, 0, self._side, whole.width).intersect(whole)

    def _strips(self, wanted: Sequence[int]) -> list[tuple[list[int], Window]]:
        """Return rows of fields: which of those wanted lie in each, and its pixels."""
        by_row: dict[int, list[int]] = {}
        for index in wanted:
            by_row.setdefault(self.fields[index].window.y // self._side, []).append(index)
        return [(indices, self._strip(row)) for row, indices in by_row.items()]

    def _parts(
        self, indices: Sequence[int], strip: Window, values: npt.NDArray[Any]
    ) -> list[tuple[int, npt.NDArray[Any]]]:
        """Cut values (..., h, w) of a strip into those of its fields."""
        self.check()
        windows = {index: self.fields[index].window for index in indices}
        return [
            (index, values[..., : window.height, window.x : window.x + window.width])
            for index, window in windows.items()
        ]

    def _read(self, window: Window) -> Values:
        """Return the probabilities (C, h, w) of a window."""
        levels = (self.run.levels(raster)[self._level] for raster in self._probability)
        return np.stack([np.asarray(level[window.slices], np.float32) for level in levels])


def _level_of(raster: RasterRecord) -> int:
    """Return the finest level that is small enough to be read whole."""
    sizes = [height * width for height, width in raster.shapes]
    return next((level for level, size in enumerate(sizes) if size <= _MOST), len(sizes) - 1)


def _color(slide: Slide, region: Region) -> list[float]:
    """Return mean and deviation of red, green and blue of a field."""
    mpp = slide.require_mpp()
    shape = [
        max(1, round(side * size / _COLOR_MPP))
        for side, size in zip((region.height, region.width), mpp, strict=True)
    ]
    grid = Grid(
        (shape[0], shape[1]), (region.height / shape[0], region.width / shape[1]), (region.y, region.x)
    )
    pixels = slide.read_grid(grid, Window(0, 0, *grid.shape)).reshape(-1, 3) / 255
    return [*pixels.mean(axis=0).tolist(), *pixels.std(axis=0).tolist()]
