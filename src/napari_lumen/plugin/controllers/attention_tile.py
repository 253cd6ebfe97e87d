"""The Tile tool without its widget: all that a model said of one field, in pictures and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.jobs import Callbacks, Emit
from napari_lumen.plugin.placing import fingerprint_of

if TYPE_CHECKING:
    from napari_lumen.explain.ranking import Entry
    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.attention_source import FieldSource
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.explainers import Asker, Explainers
    from napari_lumen.slides import Slide

Picture = npt.NDArray[np.uint8]
_SIDE, _CROP = 72, 240  # px: of a map's picture, and of the tissue's
_NEAREST = 8


@dataclass(frozen=True, eq=False)
class TileShown:
    """What is shown of a field.

    Attributes
    ----------
    title : str
    region : Region or None
        Level-0 px; None while nothing is shown.
    said : str
        Place, size and time.
    probabilities : mapping of str to float
    entropy : float
        Bits.
    crop : ndarray or None
        Its tissue, uint8 (h, w, 3).
    maps : tuple of (str, str, ndarray)
        Name, title and picture (h, w, 3) of each map; the title of one cell says its value.
    gates : tuple of (str, ndarray)
        Title and values (C,) of each channel gate.
    nearest : tuple of (Entry, ndarray or None)
        The tiles that are most like it, with their pictures.
    nearest_said : str
        By what they are alike, or why there are none.
    """

    title: str = ""
    region: Region | None = None
    said: str = "Right-click on tissue: the tile there is explained, and all of it comes up here."
    probabilities: Mapping[str, float] = field(default_factory=dict)
    entropy: float = float("nan")
    crop: Picture | None = None
    maps: tuple[tuple[str, str, Picture], ...] = ()
    gates: tuple[tuple[str, npt.NDArray[np.floating]], ...] = ()
    nearest: tuple[tuple[Entry, Picture | None], ...] = ()
    nearest_said: str = ""


class TileController:
    """Shows the field that was explained last, in pictures.

    Parameters
    ----------
    attention : AttentionController
    """

    changed = Signal(object)  # TileShown

    def __init__(self, attention: AttentionController) -> None:
        self._attention = attention
        self.shown = TileShown()
        attention.explained.connect(self._on_explained)

    def show_map(self, name: str) -> None:
        """Show a map of the field on the slide."""
        found = self._attention.field
        if found is not None:
            self._attention.take_field(found, name)

    def go_to_field(self) -> None:
        """Move the view to the field."""
        if self.shown.region is not None:
            self._attention.go_to(self.shown.region)

    def go_to(self, index: int) -> None:
        """Move the view to one of the tiles that are most like it."""
        if 0 <= index < len(self.shown.nearest):
            self._attention.go_to(self.shown.nearest[index][0].region)

    def close(self) -> None:
        """Let go of the panel's controller; may be called twice."""
        self._attention.explained.disconnect(self._on_explained, missing_ok=True)

    # what happens

    def _on_explained(self, found: FieldSource) -> None:
        layer = self._attention.slide_layer
        if layer is None or fingerprint_of(layer) != found.fingerprint:
            return
        slide, explainers = self._attention.slides.slide(layer), self._attention.explainers
        self._attention.jobs.start(
            lambda emit, cancel: _shown(slide, found, explainers, emit, cancel),
            Callbacks(self._set, self._set, notices.show, lambda: None),
        )

    def _set(self, shown: TileShown) -> None:
        self.shown = shown
        self.changed.emit(shown)


def _shown(slide: Slide, found: FieldSource, explainers: Explainers, emit: Emit, cancel: Event) -> TileShown:
    """Read and draw what is shown of a field; what is alike comes last, since it may need the model."""
    from dataclasses import replace

    from napari_lumen.explain.titles import full_title

    explained, region = found.explained, found.explained_region
    um = (region.height * found.mpp[0], region.width * found.mpp[1])
    first = TileShown(
        found.title,
        region,
        f"{um[1]:.0f} × {um[0]:.0f} µm at x {round(region.x)}, y {round(region.y)} px; {_source(found)}",
        explained.probabilities,
        explained.entropy,
        _crop(slide, region),
        tuple((item.name, _titled(item), _drawn(item)) for item in found.maps),
        tuple((full_title(item.name), item.values) for item in explained.items() if item.kind == "channels"),
    )
    if found.asker.run is None:
        return first
    emit(first)
    try:
        nearest, said = _nearest(slide, found.asker, region, explainers, cancel)
    except LumenError as error:
        nearest, said = (), str(error)
    return replace(first, nearest=nearest, nearest_said=said)


def _source(found: FieldSource) -> str:
    """Return where the numbers come from, and what must be known to compare them with a run's."""
    if found.explained.of_run:
        return "the values are the run's own: its model saw this tile with the tissue around it."
    said = f"explained in {found.explained.seconds:.2g} s."
    if found.card.task == "slide":
        said += " The model saw no tissue beyond this field; a run, which sees the slide, can say otherwise."
    return said


def _nearest(
    slide: Slide, asker: Asker, region: Region, explainers: Explainers, cancel: Event
) -> tuple[tuple[tuple[Entry, Picture | None], ...], str]:
    from napari_lumen.explain.gallery import thumbnails
    from napari_lumen.explain.nearest import tile_vectors
    from napari_lumen.explain.run_maps import RunMaps
    from napari_lumen.inference.run import Run

    assert asker.run is not None
    with explainers.use(asker) as explainer:
        vectors = tile_vectors(RunMaps(Run.open(asker.run)), slide, explainer.model)
    if vectors is None:
        return (), "Tiles that are alike: the run stores no vectors of tiles to compare them by."
    found = vectors.nearest(region.y + region.height / 2, region.x + region.width / 2, _NEAREST)
    return tuple(thumbnails(slide, found, _SIDE)), f"Tiles that are alike, by their {vectors.said}:"


def _crop(slide: Slide, region: Region) -> Picture:
    """Read the tissue of a field, its longer side _CROP px."""
    from napari_lumen.geometry import Grid, Window

    step = max(region.height, region.width) / _CROP
    shape = (max(1, round(region.height / step)), max(1, round(region.width / step)))
    grid = Grid(shape, (region.height / shape[0], region.width / shape[1]), (region.y, region.x))
    return slide.read_grid(grid, Window(0, 0, *shape))


def _titled(item: RunMap) -> str:
    """Return the title of a map; with its value where it has one cell, whose picture says nothing."""
    if item.grid.shape != (1, 1):
        return item.title
    return f"{item.title} {float(item.read()[0][0, 0]):.3g}"


def _drawn(item: RunMap) -> Picture:
    """Draw a map small, from its 1st to its 99th percentile."""
    from napari_lumen.explain.colours import colormap
    from napari_lumen.explain.distribution import Distribution
    from napari_lumen.explain.overlay import coloured, on_picture
    from napari_lumen.explain.scaling import Scaling

    values, grid = item.read()
    region = item.region
    step = max(region.height, region.width) / _SIDE
    shape = (max(1, round(region.height / step)), max(1, round(region.width / step)))
    small = on_picture(values, grid, region, shape)
    low, high, _ = Scaling("percentile", "tile").limits(Distribution.of(small), item.value_range)
    return np.ascontiguousarray(coloured(small, (low, high), colormap("viridis"))[..., :3])
