"""Where the tissue is: a coarse mask from the slide's own colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import shapely
from scipy.ndimage import binary_dilation, gaussian_filter, label, mean
from shapely.geometry.base import BaseGeometry
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from napari_lumen.annotations.polygonise import polygonise
from napari_lumen.geometry import Grid, Pair, windows
from napari_lumen.slides import Slide

Mask = npt.NDArray[np.bool_]

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


def tissue_mask(slide: Slide, check: Callable[[], None] = lambda: None) -> tuple[Mask, Grid]:
    """Find tissue by Otsu's threshold on saturation, or on darkness where nothing is coloured.

    Marks of felt pens beside the tissue are left out. Specks and holes below 2,500 µm² are ignored.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    check : callable, optional
        Called often; what it raises ends the search.

    Returns
    -------
    mask : ndarray
        bool (h, w), about 8 µm per pixel.
    grid : Grid
        Where the mask lies on the slide.
    """
    grid = _mask_grid(slide.shape, slide.require_mpp())
    rgb = np.empty((*grid.shape, 3), np.uint8)  # of 10 gigapixels all at once, as floats, would be large
    for window in windows(grid.shape, _AT_ONCE):
        check()
        rgb[window.slices] = slide.read_grid(grid, window)
    brightest = rgb.max(axis=-1) / np.float32(255)
    pixel_um2 = _pixel_um2(grid, slide.require_mpp())
    # the floor keeps the noise of nearly black pixels (fluorescence) from looking colourful
    saturation = np.ptp(rgb, axis=-1) / np.float32(255) / np.maximum(brightest, 0.25)
    pen = _pen_marks(rgb, saturation, max(1, round(_PEN_EDGE_UM / pixel_um2**0.5)))
    if pen.any():  # a threshold between tissue and glass, not between ink and the rest
        saturation[pen] = np.median(saturation[~pen])
        brightest[pen] = np.median(brightest[~pen])
    mask = _above(saturation, *_SATURATION) & ~pen
    if mask.mean() < 1e-3:
        mask = _above(float(np.median(brightest)) - brightest, *_DARKNESS) & ~pen
    smallest = max(1, round(_SMALLEST_UM2 / pixel_um2))
    mask = remove_small_objects(mask, max_size=smallest)
    mask = remove_small_holes(mask, max_size=smallest)
    grown = max(1, round(_GROWN_UM / pixel_um2**0.5))
    return np.asarray(binary_dilation(mask, iterations=grown) & ~pen, bool), grid


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


def _pen_marks(rgb: npt.NDArray[np.uint8], saturation: npt.NDArray[np.floating], edge: int) -> Mask:
    """Return where felt pens have marked the glass, their blurred edge of so many pixels included."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    others = np.maximum(green, blue)
    cold = (saturation > _PEN_SATURATION) & (_over(green, red) > _PEN_GREEN_OVER_RED * 255)
    ink = cold | ((_over(red, others) > _PEN_RED_OVER_OTHERS * 255) & (others < _PEN_OTHERS * 255))
    coloured = saturation > _SATURATION[1]
    if not ink.any() or ink.sum() > _PEN_OF_SLIDE * coloured.sum():
        return np.zeros(ink.shape, bool)
    lumps, count = label(coloured | ink)
    share = np.asarray(mean(ink, lumps, np.arange(count + 1)))
    share[0] = 0
    return np.asarray(binary_dilation(share[lumps] > _PEN_OF_LUMP, iterations=edge), bool)


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
