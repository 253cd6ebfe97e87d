"""A field of a model that classifies a slide in two stages: as a run does it, but of the field alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from math import ceil, nan
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference.forward import class_probability
from napari_lumen.models import ModelCard, record_attention
from napari_lumen.models.feature_map import lumps
from napari_lumen.tissue import Mask

_AT_ONCE = 64  # patches in one call of the first stage, as many as the largest field has of 256 px


def tissue_patches(mask: Mask, mask_grid: Grid, field: Grid, patch: int) -> Mask:
    """Return which patches of a field hold tissue, by the rule of a run over all tissue.

    Parameters
    ----------
    mask : ndarray
        bool, see `tissue_mask`.
    mask_grid : Grid
        Where it lies.
    field : Grid
        Pixels of the field.
    patch : int
        Side of a patch, px.

    Returns
    -------
    ndarray
        bool (rows, columns).

    Raises
    ------
    RunError
        When no patch holds tissue.
    """
    found = np.zeros(_cells(field.shape, patch), bool)
    for row, column in np.ndindex(found.shape):
        place = field.region_of(Window(row * patch, column * patch, patch, patch))
        found[row, column] = mask[mask_grid.window_of(place).slices].any()
    if not found.any():
        raise RunError("There is no tissue in this field: choose a place on the tissue.")
    return found


def patches_of(view: npt.NDArray[np.uint8], patch: int) -> npt.NDArray[np.uint8]:
    """Cut a view (h, w, 3) into patches (rows, columns, patch, patch, 3), filled up with white."""
    rows, columns = _cells(view.shape[:2], patch)
    missing = (rows * patch - view.shape[0], columns * patch - view.shape[1])
    filled = np.pad(view, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=255)
    return filled.reshape(rows, patch, columns, patch, 3).swapaxes(1, 2)


def classified(
    network: Any, card: ModelCard, patches: Tensor, tissue: Tensor, maps: tuple[str, ...] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """Classify the patches of a field together.

    Parameters
    ----------
    network : SlideNetwork
    card : ModelCard
    patches : Tensor
        (N, 3, patch, patch), those with tissue, row by row.
    tissue : Tensor
        bool (rows, columns), True N times.
    maps : tuple of str
        Names of the spatial maps that are recorded.

    Returns
    -------
    probability : Tensor
        float32 (classes, rows, columns) on the CPU; NaN where there is no tissue.
    recorded : dict of str to Tensor
        float32 (rows, columns) on the CPU; NaN where there is no tissue.
    """
    cells = tissue.nonzero()
    vectors = torch.cat([network.patch_features(part) for part in torch.split(patches, _AT_ONCE)])
    groups = lumps(cells) if card.slide_map == "lumps" else (torch.arange(len(cells)),)
    probability = torch.full((len(card.classes), *tissue.shape), nan)
    kept = {name: torch.full(tuple(tissue.shape), nan) for name in maps}
    nothing: AbstractContextManager[dict[str, Tensor]] = nullcontext({})
    for group in groups:
        with record_attention(network, *maps) if maps else nothing as recorded:
            laid_out, logits = network.classify(vectors[group], cells[group])
        rows, columns = cells[group].unbind(1)
        probability[:, rows, columns] = class_probability(card, laid_out.gather(logits.float())).cpu().T
        for name in maps:
            kept[name][rows, columns] = laid_out.gather(recorded[name].float())[:, 0].cpu()
    return probability, kept


def _cells(shape: tuple[int, ...], patch: int) -> tuple[int, int]:
    return ceil(shape[0] / patch), ceil(shape[1] / patch)
