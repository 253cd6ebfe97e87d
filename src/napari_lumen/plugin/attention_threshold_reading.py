"""Reading a map so that areas above any value, and outlines, are there while a slider moves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from napari_lumen.errors import Cancelled, LumenError
from napari_lumen.geometry import Region
from napari_lumen.plugin.jobs import Emit

if TYPE_CHECKING:
    import numpy as np

    from napari_lumen.explain.area_above import AreaAbove
    from napari_lumen.geometry import Grid
    from napari_lumen.plugin.controllers.attention_state import ChosenMap
    from napari_lumen.slides import Slide

_COUNTED = 4_000_000  # values of which the area is told: all of a map, or of a coarser level
_DRAWN = 500_000  # values that are outlined while the slider moves


@dataclass(frozen=True, eq=False)
class Tissue:
    """Where a slide has tissue.

    Attributes
    ----------
    fingerprint : str
        Of the slide.
    found : (ndarray of bool, Grid) or None
        See `napari_lumen.tissue.tissue_mask`; None where it could not be found.
    why : str
        It could not; "" where it could.
    """

    fingerprint: str
    found: tuple[npt.NDArray[np.bool_], Grid] | None
    why: str = ""


@dataclass(frozen=True, eq=False)
class Reading:
    """A map that is read.

    Attributes
    ----------
    chosen : ChosenMap
    values : ndarray
        float32 (h, w).
    grid : Grid
        Where they lie.
    drawn, drawn_grid
        The same, coarser where that is needed to outline it quickly.
    above : AreaAbove
    tissue : Tissue or None
        None while it is being looked for.
    """

    chosen: ChosenMap
    values: npt.NDArray[np.float32]
    grid: Grid
    drawn: npt.NDArray[np.float32]
    drawn_grid: Grid
    above: AreaAbove
    tissue: Tissue | None

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value that a threshold can have: the network's own, else what there is."""
        item = self.chosen.item
        ends = item.value_range
        if item.display == "fixed" and ends is not None and all(map(math.isfinite, ends)):
            return ends
        return float(self.above.ordered[0]), float(self.above.ordered[-1])

    @property
    def problem(self) -> str | None:
        """Why nothing can be outlined, one sentence; None where something can."""
        values, title = self.above.ordered, self.chosen.title
        if not len(values):
            return f"{title} has no values here: there is nothing to outline."
        if values[0] == values[-1]:
            return f"All values of {title} are {values[0]:.4g}: there is nothing to outline."
        return None

    @property
    def note(self) -> str:
        """What must be known of area and outline; "" where there is nothing."""
        finest, mpp = self.chosen.item.grid, self.chosen.source.mpp
        said = []
        if not self.chosen.item.comparable:
            said.append("Normalised in each tile: one threshold does not mean the same in two tiles.")
        if self.grid.step != finest.step:
            said.append(f"Area and annotations are of cells of {_um(self.grid, mpp)}; the map is finer.")
        if self.drawn_grid.step != self.grid.step:
            said.append(f"The outline is drawn of cells of {_um(self.drawn_grid, mpp)}, to be quick.")
        if self.tissue is not None and self.tissue.why:
            said.append(f"The share of tissue is not known: {self.tissue.why}")
        return " ".join(said)


def areas_above(found: Reading, threshold: float, least_um2: float) -> int:
    """Return how many areas of at least a size lie at or above a value, joined by edges of cells.

    They are those that `napari_lumen.explain.contour` outlines along the cells, counted in a fraction of the
    time.

    Parameters
    ----------
    found : Reading
    threshold : float
    least_um2 : float
    """
    import numpy as np
    from scipy.ndimage import label

    from napari_lumen.explain.run_map import shares_within

    pieces, _ = label(np.isfinite(found.values) & (found.values >= threshold))
    cell, within = math.prod(found.grid.scale(found.chosen.source.mpp)), found.chosen.item.within
    counted = None if within is None else np.outer(*shares_within(found.grid, within)).ravel()
    return int(np.count_nonzero(np.bincount(pieces.ravel(), counted)[1:] * cell >= least_um2))


def read_map(chosen: ChosenMap, slide: Slide, known: Tissue | None, emit: Emit, cancel: Event) -> Reading:
    """Read a map and find the tissue of its slide; not for the GUI thread.

    Parameters
    ----------
    chosen : ChosenMap
    slide : Slide
    known : Tissue or None
        That was found before, on this slide or another one.
    emit : callable
        Is given the `Reading` without tissue as soon as it is there.
    cancel : Event

    Raises
    ------
    RunError
        When the map cannot be read.
    Cancelled
    """
    from napari_lumen.explain.area_above import AreaAbove

    def check() -> None:
        if cancel.is_set():
            raise Cancelled("The map was not read to its end.")

    item, mpp = chosen.item, chosen.source.mpp
    run = chosen.source.run
    asked = None if run is None else run.record.region  # nothing was computed beyond it
    region = None if asked is None else Region(*asked)
    values, grid = item.read(region, _COUNTED)
    check()
    drawn, drawn_grid = (values, grid) if values.size <= _DRAWN else item.read(region, _DRAWN)
    check()
    above = AreaAbove.of(values, grid, mpp, within=item.within)
    found = Reading(chosen, values, grid, drawn, drawn_grid, above, None)
    if found.problem is not None:
        return found
    emit(found)
    tissue = known if known is not None and known.fingerprint == slide.fingerprint else _tissue(slide, check)
    if tissue.found is not None:
        above = AreaAbove.of(values, grid, mpp, tissue.found, item.within)
    return replace(found, above=above, tissue=tissue)


def _tissue(slide: Slide, check: Any) -> Tissue:
    from napari_lumen.tissue import tissue_mask

    if not slide.is_rgb:
        return Tissue(slide.fingerprint, None, "the slide is no colour picture.")
    try:
        return Tissue(slide.fingerprint, tissue_mask(slide, check))
    except Cancelled:
        raise
    except LumenError as error:
        return Tissue(slide.fingerprint, None, str(error))


def _um(grid: Grid, mpp: tuple[float, float]) -> str:
    return f"{max(grid.scale(mpp)):.3g} µm"
