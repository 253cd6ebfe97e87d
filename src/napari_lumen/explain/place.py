"""Where a field of view lies: the pixels of each view that a network eats, laid on the slide."""

from __future__ import annotations

from dataclasses import dataclass

from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Pair, Region
from napari_lumen.models import InputSpec
from napari_lumen.slides import Slide

MOST_PIXELS = 2048 * 2048  # of the fine view: all maps of a network at once must fit in memory
_LEAST = 32  # px a side: networks pad by reflection, and of less there is nothing to reflect


@dataclass(frozen=True, slots=True)
class Field:
    """A field of view.

    Attributes
    ----------
    views : tuple of Grid
        The pixels of each view, the fine one first; all share their centre.
    """

    views: tuple[Grid, ...]

    @property
    def grid(self) -> Grid:
        """Pixels of the fine view, on which all maps lie."""
        return self.views[0]

    @property
    def region(self) -> Region:
        """What the fine view covers, level-0 px."""
        return self.grid.region


def field_of(slide: Slide, spec: InputSpec, place: Region | Pair) -> Field:
    """Return the field of view around a point, or over a rectangle.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    spec : InputSpec
        Of the model.
    place : Region or (float, float)
        A point (y, x) gets one tile of the model around it, to whole pixels of the grid that runs have. A
        rectangle gets a field of its extent at the model's pixel size, grown around its middle to 32 px;
        its views keep their ratio of sizes. Level-0 px.

    Raises
    ------
    SlideError
        When the slide's pixel size is unknown.
    RunError
        When the place lies outside the slide, or is larger than 2,048 x 2,048 px of the model.
    """
    mpp, fine = slide.require_mpp(), spec.views[0]
    step = _step(fine.mpp, mpp)
    if isinstance(place, Region):
        shape = (_pixels(place.height / step[0]), _pixels(place.width / step[1]))
        centre = (place.y + place.height / 2, place.x + place.width / 2)
        origin = (centre[0] - shape[0] * step[0] / 2, centre[1] - shape[1] * step[1] / 2)
    else:
        shape = (fine.size, fine.size)
        origin = (
            round(place[0] / step[0] - fine.size / 2) * step[0],
            round(place[1] / step[1] - fine.size / 2) * step[1],
        )
    if shape[0] * shape[1] > max(MOST_PIXELS, fine.size**2):
        raise RunError(
            f"{shape[1]:,} x {shape[0]:,} px at {fine.mpp:g} µm are too many to be explained at once. Zoom "
            "in, or run the model over the region: its maps are stored tile by tile."
        )
    grid = Grid(shape, step, origin)
    slide_region = Region(0, 0, *slide.shape)
    if grid.region.intersect(slide_region).empty:
        raise RunError(
            f"The field lies outside {slide.path.name} ({slide.shape[1]} x {slide.shape[0]} px, width x "
            "height). Choose a place on the slide."
        )
    return Field((grid, *(_around(grid, fine.size, view.size, view.mpp, mpp) for view in spec.views[1:])))


def _around(fine: Grid, of: int, size: int, mpp: float, own: Pair) -> Grid:
    """Return the pixels of a coarser view, which shares its centre with the fine one."""
    step, region = _step(mpp, own), fine.region
    shape = (max(1, round(fine.shape[0] * size / of)), max(1, round(fine.shape[1] * size / of)))
    origin = (
        region.y + (region.height - shape[0] * step[0]) / 2,
        region.x + (region.width - shape[1] * step[1]) / 2,
    )
    return Grid(shape, step, origin)


def _step(mpp: float, own: Pair) -> Pair:
    return mpp / own[0], mpp / own[1]


def _pixels(length: float) -> int:
    return max(_LEAST, round(length))
