"""Where the tissue is: a coarse mask from the slide's own colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import shapely
from scipy.ndimage import binary_dilation, gaussian_filter, label, mean
from shapely.geometry.base import BaseGeometry
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from napari_lumen.annotations.polygonise import polygonise
from napari_lumen.errors import Cancelled, SlideError, first_line
from napari_lumen.geometry import Grid, Pair, Region, Window, windows
from napari_lumen.slides import Slide
from napari_lumen.slides.regrid import GridReader

Mask = npt.NDArray[np.bool_]
Sides = npt.NDArray[np.floating]
_Picture = npt.NDArray[np.uint8]

_MPP = 8.0  # µm per pixel of the mask
_MOST_SIDE = 4096  # of the mask; very large slides get a coarser one
_AT_ONCE = 128  # px of the mask a side that are read together: of a slide of one level, 4,096 px
_SMALLEST_UM2 = 2500.0  # specks of dirt and holes below this are ignored
_GROWN_UM = 24.0  # so that the pale rim of the tissue belongs to it
# Otsu divides pale from dark where a slide is all tissue; glass never reaches the upper bound
_SATURATION = (0.03, 0.10)
_DARKNESS = (0.04, 0.15)
# felt pens: strong colours that stains hardly have. Blue and green ink let less red through than green, by
# far; haematoxylin alone does not. Red ink lets nothing else through; eosin and blood do.
_PEN_SATURATION, _PEN_GREEN_OVER_RED = 0.5, 0.08
_PEN_RED_OVER_OTHERS, _PEN_OTHERS = 0.4, 0.32
_PEN_EDGE_UM = 40.0  # ink bleeds
# trichrome and Alcian blue are as blue as ink: a mark is a lump of its own, and never most of the slide
_PEN_OF_LUMP, _PEN_OF_SLIDE = 0.6, 0.4
# darker and purple inks are as haematoxylin where it is dense: they stay, and are told of
_INKY_RED_OVER_GREEN = 0.06
_STAIN_OF_SLIDE = 0.9  # where nearly all that is coloured has the colour of ink, that is the stain
_IN_A_ROW = 256  # tiles of the slide that cannot be read: is it gone?


@dataclass(frozen=True)
class Tissue:
    """Where the tissue of a slide is.

    Attributes
    ----------
    mask : ndarray
        bool (h, w), about 8 µm per pixel; 24 µm around the tissue belong to it, so that its pale rim does.
    bare : ndarray
        bool (h, w): the same without what it was grown by, to be measured.
    grid : Grid
        Where the masks lie on the slide.
    inky_mm2 : float
        What of it may be ink: lumps of its colours that could as well be tissue of a blue or a dense stain.
    """

    mask: Mask
    bare: Mask
    grid: Grid
    inky_mm2: float

    def shares(self, rows: Sides, columns: Sides) -> npt.NDArray[np.float32]:
        """Return how much of rectangles is tissue, of its area and without the rim.

        Parameters
        ----------
        rows, columns : ndarray
            (n, 2) and (m, 2), level-0 px: upper and lower edges, and left and right ones.

        Returns
        -------
        ndarray
            (n, m) in [0, 1], for each row and column; what lies outside the slide is none.
        """
        along = [
            _parts(sides, side, step, first)
            for sides, side, step, first in zip(
                (rows, columns), self.bare.shape, self.grid.step, self.grid.origin, strict=True
            )
        ]
        return np.asarray(along[0] @ self.bare.astype(np.float32) @ along[1].T)


def tissue_mask(slide: Slide, check: Callable[[], None] = lambda: None) -> tuple[Mask, Grid]:
    """Return the mask and the grid of `find_tissue`, which says what is found and how."""
    found = find_tissue(slide, check)
    return found.mask, found.grid


def find_tissue(slide: Slide, check: Callable[[], None] = lambda: None) -> Tissue:
    """Find tissue by Otsu's threshold on saturation, or on darkness where nothing is coloured.

    Marks of felt pens beside the tissue are left out. Specks and holes below 2,500 µm² are ignored. Where a
    level cannot be decoded a finer one is read; what can be read of none counts as tissue, so that who looks
    there meets the damage.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    check : callable, optional
        Called often; what it raises ends the search.

    Returns
    -------
    Tissue

    Raises
    ------
    SlideError
        When nothing of the slide can be read, or it has gone.
    """
    grid = _mask_grid(slide.shape, slide.require_mpp())
    reader = _Reader(slide)
    rgb = np.empty((*grid.shape, 3), np.uint8)  # of 10 gigapixels all at once, as floats, would be large
    for window in windows(grid.shape, _AT_ONCE):
        check()
        rgb[window.slices] = reader.read(grid, window)
    reader.require_some()
    brightest = rgb.max(axis=-1) / np.float32(255)
    pixel_um2 = _pixel_um2(grid, slide.require_mpp())
    # the floor keeps the noise of nearly black pixels (fluorescence) from looking colourful
    saturation = np.ptp(rgb, axis=-1) / np.float32(255) / np.maximum(brightest, 0.25)
    pen, inky = _pen_marks(rgb, saturation, max(1, round(_PEN_EDGE_UM / pixel_um2**0.5)))
    if pen.any():  # a threshold between tissue and glass, not between ink and the rest
        saturation[pen] = np.median(saturation[~pen])
        brightest[pen] = np.median(brightest[~pen])
    mask = _above(saturation, *_SATURATION) & ~pen
    if mask.mean() < 1e-3:
        mask = _above(float(np.median(brightest)) - brightest, *_DARKNESS) & ~pen
    smallest = max(1, round(_SMALLEST_UM2 / pixel_um2))
    mask = remove_small_objects(mask, max_size=smallest)
    bare = remove_small_holes(mask, max_size=smallest)
    grown = max(1, round(_GROWN_UM / pixel_um2**0.5))
    mask = np.asarray(binary_dilation(bare, iterations=grown) & ~pen, bool)
    for region in reader.lost:
        for one in (bare, mask):
            one[grid.window_of(region).slices] = True
    return Tissue(mask, bare, grid, np.count_nonzero(mask & inky) * pixel_um2 / 1e6)


def mask_geometry(mask: Mask, grid: Grid) -> BaseGeometry:
    """Return the outline of a mask as geometry in (x, y) level-0 px, what `predict` takes as a region.

    Parameters
    ----------
    mask : ndarray
        bool (h, w).
    grid : Grid
        Where the mask lies on the slide.
    """
    return shapely.union_all([outline for _, outline in polygonise(mask, origin=grid.origin, step=grid.step)])


@dataclass
class _Reader:
    """Reads what it can of a slide: tile by tile where one cannot be decoded, and then of finer levels.

    Attributes
    ----------
    lost : list of Region
        What no level could be read of; it comes out white.
    """

    slide: Slide
    lost: list[Region] = field(default_factory=list)
    _some: bool = False
    _row: int = 0
    _error: Exception | None = None

    def read(self, grid: Grid, window: Window) -> _Picture:
        """Return a window of a grid, (h, w, 3)."""
        return self._resampled(len(self.slide.levels), grid, window)

    def require_some(self) -> None:
        """Raise SlideError when nothing could be read."""
        if self._error is None or self._some:
            return
        if isinstance(self._error, SlideError):
            raise self._error
        raise SlideError(
            f"{self.slide.path.name} cannot be read: {first_line(self._error)}. Copy or download it again."
        ) from self._error

    def _resampled(self, levels: int, grid: Grid, window: Window) -> _Picture:
        """Return a window of a grid, resampled from one of the finest so many levels."""
        return GridReader(self.slide.levels[:levels], self._of_level).read(grid, window)

    def _of_level(self, index: int, window: Window) -> _Picture:
        pixels = self._tried(index, window)
        if pixels is not None:
            return pixels
        level = self.slide.levels[index]
        out = np.full((window.height, window.width, 3), 255, np.uint8)
        for _, _, part in level.cells(window.intersect(Window(0, 0, *level.shape))):
            tile = self._tried(index, part)
            if tile is None and index:
                tile = self._resampled(index, level.grid, part)
            if tile is None:
                self._lose(level.grid.region_of(part))
            else:
                place = Window(part.y - window.y, part.x - window.x, part.height, part.width)
                out[place.slices] = tile
        return out

    def _tried(self, index: int, window: Window) -> _Picture | None:
        """Return a window of a level; None where it cannot be decoded."""
        try:
            pixels = self.slide.read(window.y, window.x, window.height, window.width, index)
        except (Cancelled, MemoryError):
            raise
        except Exception as error:  # readers and codecs raise types of their own
            self._error = error
            return None
        self._some, self._row = True, 0
        return pixels

    def _lose(self, region: Region) -> None:
        self.lost.append(region)
        self._row += 1
        if self._row % _IN_A_ROW == 0:
            self.require_some()
            self.slide.fingerprint_now()  # raises when it is gone


def _pen_marks(rgb: _Picture, saturation: npt.NDArray[np.floating], edge: int) -> tuple[Mask, Mask]:
    """Return where felt pens have marked the glass, their blurred edge of so many pixels included.

    Returns
    -------
    pen, inky : ndarray
        bool (h, w): what is ink, and lumps beside it that may be ink, or stain.
    """
    red, green, blue = np.moveaxis(rgb, -1, 0)
    others = np.maximum(green, blue)
    strong = saturation > _PEN_SATURATION
    cold = strong & (_over(green, red) > _PEN_GREEN_OVER_RED * 255)
    ink = cold | ((_over(red, others) > _PEN_RED_OVER_OTHERS * 255) & (others < _PEN_OTHERS * 255))
    coloured = saturation > _SATURATION[1]
    inky = ink | (strong & (blue > red) & (_over(red, green) < _INKY_RED_OVER_GREEN * 255))
    nowhere = np.zeros(ink.shape, bool)
    if not inky.any():
        return nowhere, nowhere
    lumps, count = label(coloured | ink)

    def mostly(what: Mask) -> Mask:
        share = np.asarray(mean(what, lumps, np.arange(count + 1)))
        share[0] = 0
        return np.asarray((share > _PEN_OF_LUMP)[lumps], bool)

    if not ink.any() or ink.sum() > _PEN_OF_SLIDE * coloured.sum():
        pen = nowhere
    else:
        pen = np.asarray(binary_dilation(mostly(ink), iterations=edge), bool)
    inky = mostly(inky)
    if inky.sum() > _STAIN_OF_SLIDE * coloured.sum():
        return pen, nowhere
    return pen, inky & ~pen


def _parts(sides: Sides, count: int, step: float, first: float) -> npt.NDArray[np.float32]:
    """Return which part of each side (n, 2) lies in each of so many pixels: (n, count)."""
    edges = first + step * np.arange(count + 1)
    start, stop = sides[:, :1], sides[:, 1:]
    within = np.minimum(stop, edges[1:]) - np.maximum(start, edges[:-1])
    return np.asarray(np.maximum(within, 0) / (stop - start), np.float32)


def _over(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    return np.subtract(one, other, dtype=np.int16)


def _mask_grid(shape: tuple[int, int], mpp: Pair) -> Grid:
    step = max(_MPP / max(mpp), max(shape) / _MOST_SIDE, 1.0)
    size = (max(1, round(shape[0] / step)), max(1, round(shape[1] / step)))
    return Grid(size, (shape[0] / size[0], shape[1] / size[1]))


def _pixel_um2(grid: Grid, mpp: Pair) -> float:
    height, width = grid.scale(mpp)
    return height * width


def _above(values: npt.NDArray[np.float32], low: float, high: float) -> Mask:
    smooth = gaussian_filter(values, 1.0)
    if float(np.ptp(smooth)) < 1e-6:
        return np.zeros(smooth.shape, bool)
    return np.asarray(smooth > np.clip(threshold_otsu(smooth), low, high), bool)
