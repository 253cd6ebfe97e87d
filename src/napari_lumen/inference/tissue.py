"""Where the tissue is: a coarse mask from the slide's own colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from napari_lumen.geometry import Grid, Pair, Window
from napari_lumen.slides import Slide

Mask = npt.NDArray[np.bool_]

_MPP = 8.0  # µm per pixel of the mask
_MOST_SIDE = 4096  # of the mask; very large slides get a coarser one
_SMALLEST_UM2 = 2500.0  # specks of dirt and holes below this are ignored
_GROWN_UM = 24.0  # so that the pale rim of the tissue belongs to it
# Otsu divides pale from dark where a slide is all tissue; glass never reaches the upper bound
_SATURATION = (0.03, 0.10)
_DARKNESS = (0.04, 0.15)


def tissue_mask(slide: Slide) -> tuple[Mask, Grid]:
    """Find tissue by Otsu's threshold on saturation, or on darkness where nothing is coloured.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.

    Returns
    -------
    mask : ndarray
        bool (h, w), about 8 µm per pixel.
    grid : Grid
        Where the mask lies on the slide.
    """
    grid = _mask_grid(slide.shape, slide.require_mpp())
    rgb = slide.read_grid(grid, Window(0, 0, *grid.shape)).astype(np.float32) / 255
    brightest, darkest = rgb.max(axis=-1), rgb.min(axis=-1)
    # the floor keeps the noise of nearly black pixels (fluorescence) from looking colourful
    mask = _above((brightest - darkest) / np.maximum(brightest, 0.25), *_SATURATION)
    if mask.mean() < 1e-3:
        mask = _above(float(np.median(brightest)) - brightest, *_DARKNESS)
    pixel_um2 = _pixel_um2(grid, slide.require_mpp())
    smallest = max(1, round(_SMALLEST_UM2 / pixel_um2))
    mask = remove_small_objects(mask, max_size=smallest)
    mask = remove_small_holes(mask, max_size=smallest)
    grown = max(1, round(_GROWN_UM / pixel_um2**0.5))
    return np.asarray(binary_dilation(mask, iterations=grown), bool), grid


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
